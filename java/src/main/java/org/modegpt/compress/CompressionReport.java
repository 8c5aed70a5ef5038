package org.modegpt.compress;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// What a compression run did, written as `report.json` next to the model.
///
/// @param model name of the original
/// @param recipe name of the recipe
/// @param requestedRatio share of block matrix parameters that was to go; for a parameter target
///   the share that amounts to
/// @param reachedRatio share that went
/// @param matrixParametersBefore parameters of the compressible block matrices
/// @param parametersBefore of the whole model, tied weights once
/// @param bytesBefore of the stored tensors
/// @param seconds of decomposing and writing
/// @param divergence of the model from the original on the probe text as the plan was made, in nats
///   per token; null when the recipe does not measure it
public record CompressionReport(
    String model,
    String recipe,
    double requestedRatio,
    double reachedRatio,
    long matrixParametersBefore,
    long matrixParametersAfter,
    long parametersBefore,
    long parametersAfter,
    long bytesBefore,
    long bytesAfter,
    double seconds,
    @Nullable Double divergence,
    List<Layer> layers) {

  /// One block: its ranks, the share of its matrix parameters that is kept, its block influence,
  /// and the cost per module.
  ///
  /// @param predicted what the removal curves expect each module's share to cost; null without
  public record Layer(
      int layer,
      LayerRanks ranks,
      double kept,
      double blockInfluence,
      RankPlan.@Nullable ModuleCosts predicted,
      List<ModuleReport> modules) {}

  public CompressionReport {
    layers = List.copyOf(layers);
  }

  /// One module of one layer and its part in all predicted costs.
  public record Cost(int layer, Module module, double share) {}

  /// The modules that are predicted to cost most, in that order; empty without predictions.
  public List<Cost> costliest(int count) {
    List<Cost> costs = new ArrayList<>();
    double total = 0;
    for (Layer layer : layers) {
      if (layer.predicted != null) {
        for (Module module : Module.values()) {
          costs.add(new Cost(layer.layer, module, layer.predicted.of(module)));
          total += layer.predicted.of(module);
        }
      }
    }
    double sum = total > 0 ? total : 1;
    return costs.stream()
        .sorted(Comparator.comparingDouble((Cost c) -> -c.share))
        .limit(count)
        .map(c -> new Cost(c.layer, c.module, c.share / sum))
        .toList();
  }

  public String toJson() {
    return RecordJson.write(this);
  }
}
