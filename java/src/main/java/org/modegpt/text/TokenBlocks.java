package org.modegpt.text;

import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.stream.IntStream;
import org.modegpt.UserException;

/// Sequences of equal length cut from a stream of tokens: block `i` is tokens `i * length` to `(i +
/// 1)
/// * length`; what is left at the end, fewer than `length` tokens, is not used. Immutable.
public final class TokenBlocks {
  private final int[] tokens;
  private final int length;
  private final int[] chosen;

  private TokenBlocks(int[] tokens, int length, int[] chosen) {
    this.tokens = tokens;
    this.length = length;
    this.chosen = chosen;
  }

  /// All blocks in order, for evaluation.
  ///
  /// @param name the text, for errors
  /// @throws UserException if there is not one whole block
  public static TokenBlocks all(String name, int[] tokens, int length) {
    Objects.checkIndex(0, length);
    int available = tokens.length / length;
    if (available == 0) {
      throw new UserException(
          "%s has %,d tokens, fewer than one block of %,d: give more text or a shorter block"
              .formatted(name, tokens.length, length));
    }
    int[] chosen = new int[available];
    Arrays.setAll(chosen, i -> i);
    return new TokenBlocks(tokens.clone(), length, chosen);
  }

  /// `count` different blocks for calibration, drawn without replacement by a generator started
  /// with `seed` and put in the order of the text. The same arguments give the same blocks on every
  /// machine and Java version.
  ///
  /// @throws UserException if there are fewer than `count` blocks
  public static TokenBlocks sample(String name, int[] tokens, int length, int count, long seed) {
    Objects.checkIndex(0, length);
    Objects.checkIndex(0, count);
    int available = tokens.length / length;
    if (available < count) {
      throw new UserException(
          "%s has %,d tokens, but %,d sequences of %,d tokens need %,d: give more text, or %s"
              .formatted(
                  name,
                  tokens.length,
                  count,
                  length,
                  (long) count * length,
                  available == 0
                      ? "ask for shorter sequences"
                      : "ask for at most %,d sequences".formatted(available)));
    }
    int[] order = new int[available];
    Arrays.setAll(order, i -> i);
    Random random = new Random(seed); // its algorithm is part of the platform's specification
    for (int i = 0; i < count; i++) {
      int j = i + random.nextInt(available - i);
      int swap = order[i];
      order[i] = order[j];
      order[j] = swap;
    }
    int[] chosen = Arrays.copyOf(order, count);
    Arrays.sort(chosen);
    return new TokenBlocks(tokens.clone(), length, chosen);
  }

  /// Checks that every id is below `vocabSize`, the rows of the model's embedding.
  ///
  /// @throws UserException naming the first that is not
  public TokenBlocks requireIdsBelow(int vocabSize) {
    for (int block : chosen) {
      for (int i = 0; i < length; i++) {
        int id = tokens[block * length + i];
        if (id < 0 || id >= vocabSize) {
          throw new UserException(
              "token id %d is beyond the model's vocabulary of %d: the tokenizer belongs to another model"
                  .formatted(id, vocabSize));
        }
      }
    }
    return this;
  }

  /// Number of blocks.
  public int count() {
    return chosen.length;
  }

  /// Tokens per block.
  public int length() {
    return length;
  }

  /// Copies of all blocks.
  public List<int[]> all() {
    return IntStream.range(0, count()).mapToObj(this::block).toList();
  }

  /// A copy of block `i`.
  public int[] block(int i) {
    int start = chosen[i] * length;
    return Arrays.copyOfRange(tokens, start, start + length);
  }
}
