package org.modegpt.compress;

import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import org.modegpt.calibrate.Statistics;
import org.modegpt.io.ModelDirectory;

/// The `README.md` of a compressed model, with the front matter model hubs read.
final class ModelCard {
  private ModelCard() {}

  static String of(
      ModelDirectory original, Recipe recipe, CompressionReport report, Statistics statistics) {
    Map<String, String> calibration = statistics.metadata();
    StringBuilder card = new StringBuilder();
    card.append(
        """
        ---
        base_model: %1$s
        library_name: transformers
        pipeline_tag: text-generation
        tags:
        - modegpt
        - compressed
        ---
        # %1$s, %2$s %% smaller

        Made from `%1$s` by modular decomposition (MoDeGPT, https://arxiv.org/abs/2408.09632) without fine-tuning.

        | | original | this model |
        |---|---:|---:|
        | parameters | %3$,d | %4$,d |
        | block matrix parameters | %5$,d | %6$,d |
        | size of the weights | %7$,d bytes | %8$,d bytes |

        Recipe `%9$s`, calibrated on %10$s x %11$s tokens of %12$s (SHA-256 `%13$s`, seed %14$s). `recipe.json` has every setting,
        `report.json` what each layer kept and what that cost on the calibration text.

        | layer | qk | vo | mlp | kept |
        |---:|---:|---:|---:|---:|
        """
            .formatted(
                original.name(),
                String.format(Locale.ROOT, "%.1f", 100 * report.reachedRatio()),
                report.parametersBefore(),
                report.parametersAfter(),
                report.matrixParametersBefore(),
                report.matrixParametersAfter(),
                report.bytesBefore(),
                report.bytesAfter(),
                recipe.name(),
                calibration.get("sequences"),
                calibration.get("sequence_length"),
                calibration.get("source"),
                calibration.get("text_sha256"),
                calibration.get("seed")));
    for (CompressionReport.Layer layer : report.layers()) {
      LayerRanks ranks = layer.ranks();
      card.append(
          String.format(
              Locale.ROOT,
              "| %d | %d | %d | %d | %.1f %% |%n",
              layer.layer(),
              ranks.qkRank(),
              ranks.voRank(),
              ranks.mlpWidth(),
              100 * layer.kept()));
    }
    List<CompressionReport.Cost> costliest = report.costliest(5);
    if (!costliest.isEmpty()) {
      card.append("\nPredicted to cost most: ");
      card.append(
          costliest.stream()
              .map(c ->
                  String.format(
                      Locale.ROOT,
                      "%s of layer %d (%.0f %% of all)",
                      c.module().label(),
                      c.layer(),
                      100 * c.share()))
              .collect(Collectors.joining(", ")));
      card.append(".\n");
    }
    return card.toString();
  }
}
