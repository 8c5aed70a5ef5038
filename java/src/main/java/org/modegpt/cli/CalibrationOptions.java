package org.modegpt.cli;

import java.util.List;
import org.jspecify.annotations.Nullable;
import org.modegpt.calibrate.CalibrationData;
import org.modegpt.compress.Recipe;
import org.modegpt.model.Transformer;
import org.modegpt.text.TextDataset;
import org.modegpt.text.TokenBlocks;
import picocli.CommandLine.Option;

/// What a model is calibrated on.
final class CalibrationOptions {
  private static final int PROBE_TOKENS = 1024;

  @Option(
      names = {"--calibration", "--dataset"},
      paramLabel = "FILE",
      description =
          "Calibration text, .txt or .jsonl (FILE:FIELD names the field); repeatable (default: the built-in Wikipedia text).")
  private List<String> files = List.of();

  @Option(
      names = {"--num-calibration-samples", "--cal-nsamples"},
      paramLabel = "N",
      description = "Sequences to calibrate on (default: 128, or what the text has).")
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

  private TextDataset text() {
    return TextDataset.read(files.isEmpty() ? List.of(Demo.calibrationText().toString()) : files);
  }

  /// A sequence of the same text to measure removals on, drawn with another seed.
  List<int[]> probe(Transformer model) {
    TextDataset text = text();
    int[] ids = model.directory().tokenizer().encode(text.text());
    int tokens = Math.min(PROBE_TOKENS, Math.min(ids.length, model.config().contextLength()));
    TokenBlocks blocks =
        TokenBlocks.sample(text.name(), ids, tokens, 1, seed + 1)
            .requireIdsBelow(model.config().vocabSize());
    return List.of(blocks.block(0));
  }

  /// Reads and tokenises the text and draws the sequences.
  CalibrationData data(Transformer model, OutputOptions output) {
    TextDataset text = text();
    int[] ids = model.directory().tokenizer().encode(text.text());
    Recipe.Calibration wanted = settings(Recipe.DEFAULT.calibration());
    int tokens =
        length != null ? length : Math.min(wanted.length(), model.config().contextLength());
    int count = wanted.sequences();
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
