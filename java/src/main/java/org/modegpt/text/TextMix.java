package org.modegpt.text;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.modegpt.UserException;

/// Texts to draw sequences from, each for a share of them. Immutable.
public final class TextMix {
  private record Part(TextDataset text, double share) {}

  private final List<Part> parts;

  private TextMix(List<Part> parts) {
    this.parts = parts;
  }

  /// Reads files as {@link TextDataset#read}. With weights (`FILE=2`, 1 where others have one) each
  /// file gives its share of the sequences; without, they are one text.
  public static TextMix read(List<String> files) {
    if (files.stream().allMatch(f -> weight(f) < 0)) {
      return new TextMix(List.of(new Part(TextDataset.read(files), 1)));
    }
    double sum = files.stream().mapToDouble(f -> Math.abs(weight(f))).sum();
    return new TextMix(
        files.stream()
            .map(f -> new Part(TextDataset.read(List.of(path(f))), Math.abs(weight(f)) / sum))
            .toList());
  }

  /// The weight behind the last `=`, or -1.
  private static double weight(String file) {
    String number = file.substring(file.lastIndexOf('=') + 1);
    if (!file.contains("=") || !number.matches("[0-9]*\\.?[0-9]+")) {
      return -1;
    }
    double weight = Double.parseDouble(number);
    if (weight == 0) {
      throw new UserException(file + ": a weight of 0 leaves the text out; leave out the file");
    }
    return weight;
  }

  private static String path(String file) {
    return weight(file) < 0 ? file : file.substring(0, file.lastIndexOf('='));
  }

  /// File names, with their shares when there are several.
  public String name() {
    return parts.size() == 1
        ? parts.getFirst().text.name()
        : parts.stream()
            .map(p -> String.format(Locale.ROOT, "%s (%.0f %%)", p.text.name(), 100 * p.share))
            .collect(Collectors.joining(", "));
  }

  /// Identifies texts and shares; of a single text its SHA-256.
  public String sha256() {
    if (parts.size() == 1) {
      return parts.getFirst().text.sha256();
    }
    String all =
        parts.stream().map(p -> p.text.sha256() + " " + p.share).collect(Collectors.joining("\n"));
    return TextDataset.of("mix", all.getBytes(StandardCharsets.UTF_8)).sha256();
  }

  /// The texts as token ids.
  public Tokens tokens(Tokenizer tokenizer) {
    return new Tokens(parts.stream().map(p -> tokenizer.encode(p.text.text())).toList());
  }

  /// Token ids of every text.
  public final class Tokens {
    private final List<int[]> ids;

    private Tokens(List<int[]> ids) {
      this.ids = ids;
    }

    /// All of them.
    public List<int[]> all() {
      return ids.stream().map(int[]::clone).toList();
    }

    /// Most sequences of `length` tokens that can be drawn in the shares.
    public int available(int length) {
      double least = Double.POSITIVE_INFINITY;
      for (int i = 0; i < parts.size(); i++) {
        int whole = ids.get(i).length / length;
        least = Math.min(least, whole / parts.get(i).share);
      }
      return (int) least;
    }

    /// Tokens of the shortest text.
    public int shortest() {
      return ids.stream().mapToInt(i -> i.length).min().orElseThrow();
    }

    /// Draws sequences as {@link TokenBlocks#sample} does, from each text its share.
    public List<int[]> sample(int length, int count, long seed, int vocabSize) {
      int[] counts = counts(count);
      List<int[]> drawn = new ArrayList<>();
      for (int i = 0; i < counts.length; i++) {
        if (counts[i] > 0) {
          String name = parts.get(i).text.name();
          drawn.addAll(
              TokenBlocks.sample(name, ids.get(i), length, counts[i], seed)
                  .requireIdsBelow(vocabSize)
                  .all());
        }
      }
      return drawn;
    }

    /// Whole numbers in the shares, by largest remainder.
    private int[] counts(int count) {
      int[] counts = new int[parts.size()];
      Arrays.setAll(counts, i -> (int) (count * parts.get(i).share));
      int left = count - Arrays.stream(counts).sum();
      IntStream.range(0, counts.length)
          .boxed()
          .sorted(Comparator.comparingDouble(i -> counts[i] - count * parts.get(i).share))
          .limit(left)
          .forEach(i -> counts[i]++);
      return counts;
    }
  }
}
