package org.modegpt.cli;

import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import org.jspecify.annotations.Nullable;
import org.modegpt.Futures;
import org.modegpt.calibrate.CalibrationData;
import org.modegpt.compress.CompressionText;
import org.modegpt.compress.Recipe;
import org.modegpt.model.Transformer;
import org.modegpt.text.TextMix;
import picocli.CommandLine.Option;

/// What a model is calibrated on.
final class CalibrationOptions {
  /// The demonstration is to end in a minute on two cores.
  private static final int DEMONSTRATION_SEQUENCES = 32;

  @Option(
      names = {"--calibration", "--dataset"},
      paramLabel = "FILE",
      description =
          "Calibration text, .txt or .jsonl (FILE:FIELD names the field); repeatable; FILE=WEIGHT gives each its share of the sequences (default: the built-in Wikipedia text).")
  private List<String> files = List.of();

  @Option(
      names = {"--num-calibration-samples", "--cal-nsamples"},
      paramLabel = "N",
      description =
          "Sequences to calibrate on (default: 128, or what the text has; 32 for the demonstration model).")
  private @Nullable Integer samples;

  @Option(
      names = "--max-seq-length",
      paramLabel = "N",
      description = "Tokens of a calibration sequence (default: 2048, or the model's context).")
  private @Nullable Integer length;

  @Option(
      names = "--own-text",
      paramLabel = "SHARE",
      description =
          "Share of the sequences that the model writes itself, which makes the result depend less on the kind of text (default: the recipe's; 0.33 for statistics).")
  private @Nullable Double ownText;

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
        samples == null ? base.sequences() : samples,
        length == null ? base.length() : length,
        ownText == null ? base.ownText() : ownText);
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
    if (ownText != null) {
      parameters.put("calibration_own_text", ownText);
    }
    return parameters;
  }

  /// Whether the text is the user's choice.
  boolean given() {
    return !files.isEmpty();
  }

  /// The text, read and tokenised.
  private record Reading(TextMix mix, TextMix.Tokens tokens) {}

  /// Of the one model of a command.
  private @Nullable Future<Reading> reading;

  /// Begins to read and tokenise the text beside what the caller does next; what is wrong with it
  /// is thrown where it is used.
  void readAhead(Transformer model) {
    FutureTask<Reading> task = new FutureTask<>(() -> read(model));
    reading = task;
    Thread.ofVirtual().start(task);
  }

  private Reading read(Transformer model) {
    TextMix mix =
        TextMix.read(files.isEmpty() ? List.of(Demo.calibrationText().toString()) : files);
    return new Reading(mix, mix.tokens(model.directory().tokenizer()));
  }

  private Reading reading(Transformer model) {
    Future<Reading> begun = reading;
    if (begun == null) {
      readAhead(model);
      return reading(model);
    }
    return Futures.await(begun, "reading the calibration text");
  }

  /// All tokens of the text.
  List<int[]> tokens(Transformer model) {
    return reading(model).tokens.all();
  }

  /// What a recipe looks at besides the statistics: sequences to measure on, drawn with another
  /// seed, and sequences as calibration draws them.
  CompressionText text(Transformer model, Recipe recipe) {
    boolean measures = recipe.allocation().byCurves();
    int refits = recipe.refit().sequences();
    if (!measures && refits == 0) {
      return CompressionText.NONE;
    }
    TextMix.Tokens tokens = reading(model).tokens;
    int probe = recipe.probe().length();
    int length = recipe.calibration().length();
    return new CompressionText(
        measures ? sample(model, tokens, probe, recipe.probe().sequences(), 1) : List.of(),
        refits > 0 ? sample(model, tokens, length, refits, 0) : List.of());
  }

  /// As many sequences as there are, of as many tokens as there are, up to the given numbers.
  private List<int[]> sample(
      Transformer model, TextMix.Tokens tokens, int most, int count, int salt) {
    int length = Math.min(most, Math.min(tokens.shortest(), model.config().contextLength()));
    int drawn = Math.min(count, Math.max(1, tokens.available(length)));
    return tokens.sample(length, drawn, seed + salt, model.config().vocabSize());
  }

  /// Reads and tokenises the text and draws the sequences.
  CalibrationData data(Transformer model, Recipe recipe, OutputOptions output) {
    Reading reading = reading(model);
    TextMix mix = reading.mix;
    TextMix.Tokens tokens = reading.tokens;
    Recipe.Calibration wanted = settings(recipe.calibration());
    int tokensEach =
        length != null ? length : Math.min(wanted.length(), model.config().contextLength());
    int count =
        samples == null && Demo.is(model.directory().path())
            ? DEMONSTRATION_SEQUENCES
            : wanted.sequences();
    int available = tokens.available(tokensEach);
    if (samples == null && available < count && available > 0) {
      count = available;
      output.say(
          mix.name() + " has " + count + " sequences of " + tokensEach + " tokens; all are used");
    }
    return new CalibrationData(
        tokens.sample(tokensEach, count, seed, model.config().vocabSize()),
        mix.sha256(),
        mix.name(),
        seed,
        wanted.ownText(),
        recipe.needsGradients());
  }
}
