package org.modegpt.compress;

import java.util.List;

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
    List<Layer> layers) {

  /// One block: its ranks, the share of its matrix parameters that is kept, its block influence,
  /// and the cost per module.
  public record Layer(
      int layer,
      LayerRanks ranks,
      double kept,
      double blockInfluence,
      List<ModuleReport> modules) {}

  public CompressionReport {
    layers = List.copyOf(layers);
  }

  public String toJson() {
    return Json.write(this);
  }
}
