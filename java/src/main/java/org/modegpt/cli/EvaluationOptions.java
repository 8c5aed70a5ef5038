package org.modegpt.cli;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalInt;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.evaluate.Perplexity;
import org.modegpt.model.Transformer;
import org.modegpt.text.TextDataset;
import org.modegpt.text.TextDifference;
import org.modegpt.text.Tokenizer;
import picocli.CommandLine.Option;

/// What perplexity is measured on.
final class EvaluationOptions {
  /// Blocks measured before and after a compression unless the user says otherwise.
  private static final int QUICK_BLOCKS = 32;

  @Option(
      names = {"-f", "--file"},
      paramLabel = "FILE",
      description =
          "Text for perplexity, .txt or .jsonl (FILE:FIELD names the field); repeatable (default: the built-in WikiText-2 test).")
  private List<String> files = List.of();

  @Option(
      names = {"-c", "--ctx-size"},
      paramLabel = "N",
      description = "Tokens of a block (default: 2048, or the model's context).")
  private @Nullable Integer blockLength;

  @Option(
      names = "--chunks",
      paramLabel = "N",
      description = "Measure only the first N blocks; 0 for all.")
  private @Nullable Integer chunks;

  @Option(
      names = "--bos",
      description = "Put the model's BOS token in the place of each block's first token.")
  private boolean bos;

  private @Nullable TextDataset text;
  private int usedBlocks;
  private int usedLength;

  boolean bos() {
    return bos;
  }

  String source() {
    return text().name();
  }

  /// The whole text unless `--chunks` says less.
  Perplexity measureAll(Transformer model, Backend backend, OutputOptions output) {
    return measure(model, backend, output, chunks == null ? 0 : chunks);
  }

  /// The first blocks of the text, or as many as `--chunks` says.
  Perplexity measure(Transformer model, Backend backend, OutputOptions output) {
    return measure(model, backend, output, chunks == null ? QUICK_BLOCKS : chunks);
  }

  private Perplexity measure(Transformer model, Backend backend, OutputOptions output, int blocks) {
    int length = blockLength != null ? blockLength : Math.min(2048, model.config().contextLength());
    if (length < 2 || length > model.config().contextLength()) {
      throw new UserException(
          "--ctx-size must be between 2 and the model's context of "
              + model.config().contextLength()
              + ", not "
              + length);
    }
    Tokenizer tokenizer = model.directory().tokenizer();
    int[] ids = tokenizer.encode(text().text());
    OptionalInt first = bos ? tokenizer.bosId() : OptionalInt.empty();
    if (bos && first.isEmpty()) {
      throw new UserException("the model has no BOS token; leave out --bos");
    }
    Perplexity result =
        Perplexity.of(
            model,
            backend,
            new Perplexity.Text(ids, text().utf8Bytes(), length, blocks, first),
            output.progress());
    usedBlocks = result.blocks();
    usedLength = result.blockLength();
    return result;
  }

  /// How far the text is from one that was calibrated on, in one line.
  String difference(Transformer model, List<int[]> calibration) {
    int[] ids = model.directory().tokenizer().encode(text().text());
    TextDifference difference = TextDifference.of(calibration, List.of(ids));
    return String.format(
        Locale.ROOT,
        "calibration text: its token frequencies are %.2f bits from this text's (0: the same, 1: nothing in common); %.1f %% of this text's tokens do not occur in it",
        difference.divergence(),
        100 * difference.unseen());
  }

  private TextDataset text() {
    if (text == null) {
      text = TextDataset.read(files.isEmpty() ? List.of(Demo.evaluationText().toString()) : files);
    }
    return text;
  }

  /// Tags that tell this perplexity from one of another text or length.
  Map<String, String> tags() {
    String dataset =
        Arrays.stream(source().split(", "))
            .map(f -> f.substring(f.lastIndexOf('/') + 1))
            .collect(Collectors.joining("+"));
    Map<String, String> tags =
        new TreeMap<>(Map.of("dataset", dataset, "tokens", usedBlocks + "x" + usedLength));
    if (bos) {
      tags.put("bos", "yes");
    }
    return tags;
  }

  /// What was measured, for the line under a table.
  String describe() {
    return "first " + usedBlocks + " blocks of " + source() + (bos ? ", with BOS" : ", no BOS");
  }
}
