package org.modegpt.cli;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.modegpt.calibrate.CalibrationData;
import org.modegpt.compress.CompressionText;
import org.modegpt.compress.Recipe;
import org.modegpt.model.Transformer;
import org.modegpt.text.TextDataset;
import org.modegpt.text.TokenBlocks;
import picocli.CommandLine.Option;

/// What a model is calibrated on.
final class CalibrationOptions {
  /// The demonstration is to end in a minute on two cores.
  private static final int DEMONSTRATION_SEQUENCES = 32;

  @Option(
      names = {"--calibration", "--dataset"},
      paramLabel = "FILE",
      description =
          "Calibration text, .txt or .jsonl (FILE:FIELD names the field); repeatable (default: the built-in Wikipedia text).")
  private List<String> files = List.of();

  @Option(
      names = {"--num-calibration-samples", "--cal-nsamples"},
      paramLabel = "N",
      description = "Sequences to calibrate on (default: 128, or what the text has; 32 for the demonstration model).")
  private @Nullable Integer samples;

  @Option(
      names = "--max-seq-length",
      paramLabel = "N",
      description = "Tokens of a calibration sequence (default: 2048, or the model's context).")
  private @Nullable Integer length;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "0",
      description = "Seed of the choice of sequences (default: ${DEFAULT-VALUE}).")
  private long seed;

  long seed() {
    return seed;
  }

  Recipe.Calibration settings(Recipe.Calibration base) {
    return new Recipe.Calibration(
        samples == null ? base.sequences() : samples, length == null ? base.length() : length);
  }

  /// These options among a run's parameters.
  Map<String, Object> parameters(Map<String, Object> parameters) {
    parameters.put("calibration", files.isEmpty() ? "built-in" : String.join(", ", files));
    parameters.put("seed", seed);
    if (samples != null) {
      parameters.put("calibration_samples", samples);
    }
    if (length != null) {
      parameters.put("calibration_length", length);
    }
    return parameters;
  }

  private TextDataset text() {
    return TextDataset.read(files.isEmpty() ? List.of(Demo.calibrationText().toString()) : files);
  }

  /// What a recipe looks at besides the statistics: sequences to measure on, drawn with another
  /// seed, and the first of the calibration sequences.
  CompressionText text(Transformer model, Recipe recipe) {
    boolean measures = recipe.allocation().byCurves();
    int refits = recipe.refit().sequences();
    if (!measures && refits == 0) {
      return CompressionText.NONE;
    }
    TextDataset text = text();
    int[] ids = model.directory().tokenizer().encode(text.text());
    int context = Math.min(ids.length, model.config().contextLength());
    Recipe.Probe probe = recipe.probe();
    return new CompressionText(
        measures
            ? sample(model, text, ids, Math.min(probe.length(), context), probe.sequences(), 1)
            : List.of(),
        refits > 0
            ? sample(model, text, ids, Math.min(recipe.calibration().length(), context), refits, 0)
            : List.of());
  }

  private List<int[]> sample(
      Transformer model, TextDataset text, int[] ids, int tokens, int count, int salt) {
    int available = Math.max(1, ids.length / tokens);
    return TokenBlocks.sample(text.name(), ids, tokens, Math.min(count, available), seed + salt)
        .requireIdsBelow(model.config().vocabSize())
        .all();
  }

  /// Reads and tokenises the text and draws the sequences.
  CalibrationData data(Transformer model, OutputOptions output) {
    TextDataset text = text();
    int[] ids = model.directory().tokenizer().encode(text.text());
    Recipe.Calibration wanted = settings(Recipe.DEFAULT.calibration());
    int tokens =
        length != null ? length : Math.min(wanted.length(), model.config().contextLength());
    int count =
        samples == null && Demo.is(model.directory().path())
            ? DEMONSTRATION_SEQUENCES
            : wanted.sequences();
    if (samples == null && ids.length / tokens < count && ids.length >= tokens) {
      count = ids.length / tokens;
      output.say(
          text.name() + " has " + count + " sequences of " + tokens + " tokens; all are used");
    }
    TokenBlocks blocks =
        TokenBlocks.sample(text.name(), ids, tokens, count, seed)
            .requireIdsBelow(model.config().vocabSize());
    return new CalibrationData(blocks.all(), text.sha256(), text.name(), seed);
  }
}
