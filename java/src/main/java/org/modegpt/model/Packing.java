package org.modegpt.model;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/// How sequences of any lengths are laid out as rows, without padding and with every shared
/// beginning once: in lexicographic order each sequence only adds the tokens by which it differs
/// from the one before it, so the choices of a question share its rows, and questions those of
/// their examples.
///
/// @param tokens the token of every row
/// @param positions its position in its sequence
/// @param chunks the rows in pieces that go through a block at once
/// @param scored for every sequence the rows of its positions from `scoredFrom` to its end
/// @param longest tokens of the longest sequence
public record Packing(
    int[] tokens, int[] positions, List<Chunk> chunks, int[][] scored, int longest) {

  /// A sequence of tokens; the predictions after its positions from `scoredFrom` on are wanted.
  public record Sequence(int[] tokens, int scoredFrom) {
    public Sequence {
      if (tokens.length == 0 || scoredFrom < 0 || scoredFrom >= tokens.length) {
        throw new IllegalArgumentException(
            "no position of " + tokens.length + " tokens from " + scoredFrom + " on");
      }
    }
  }

  /// Rows `row` to `row + tokens` of a chunk, which stand at `position` and after it.
  public record Span(int row, int position, int tokens) {}

  /// Rows `from` (inclusive) to `to` (exclusive) of all.
  public record Chunk(int from, int to, List<Span> spans) {}

  /// The order in which sequences share most.
  public static int compare(Sequence a, Sequence b) {
    return Arrays.compare(a.tokens, b.tokens);
  }

  /// Rows that `next` adds after `previous`.
  public static int added(Sequence previous, Sequence next) {
    return next.tokens.length - shared(previous.tokens, next.tokens);
  }

  private static int shared(int[] previous, int[] next) {
    int at = Arrays.mismatch(previous, next);
    return at < 0 ? next.length : at;
  }

  /// Lays out sequences that are in the order of {@link #compare}.
  ///
  /// @param chunkRows most rows of a chunk
  public static Packing of(List<Sequence> ordered, int chunkRows) {
    int total = 0;
    int longest = 0;
    int[] previous = {};
    for (Sequence s : ordered) {
      total += s.tokens.length - shared(previous, s.tokens);
      longest = Math.max(longest, s.tokens.length);
      previous = s.tokens;
    }
    int[] tokens = new int[total];
    int[] positions = new int[total];
    int[][] scored = new int[ordered.size()][];
    int[] rowAt = new int[longest];
    List<Chunk> chunks = new ArrayList<>();
    List<Span> spans = new ArrayList<>();
    int row = 0;
    int chunkStart = 0;
    previous = new int[0];
    for (int s = 0; s < ordered.size(); s++) {
      int[] ids = ordered.get(s).tokens;
      int position = shared(previous, ids);
      previous = ids;
      while (position < ids.length) {
        int count = Math.min(ids.length - position, chunkStart + chunkRows - row);
        spans.add(new Span(row - chunkStart, position, count));
        for (int i = 0; i < count; i++) {
          tokens[row] = ids[position];
          positions[row] = position;
          rowAt[position++] = row++;
        }
        if (row == chunkStart + chunkRows) {
          chunks.add(new Chunk(chunkStart, row, List.copyOf(spans)));
          spans.clear();
          chunkStart = row;
        }
      }
      scored[s] = Arrays.copyOfRange(rowAt, ordered.get(s).scoredFrom, ids.length);
    }
    if (row > chunkStart) {
      chunks.add(new Chunk(chunkStart, row, List.copyOf(spans)));
    }
    return new Packing(tokens, positions, chunks, scored, longest);
  }

  public int rows() {
    return tokens.length;
  }

  /// Rows of the largest chunk.
  int longestChunk() {
    return chunks.stream().mapToInt(c -> c.to() - c.from()).max().orElse(0);
  }
}
