package org.modegpt.model;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.modegpt.backend.Backend;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// The spans of a chunk, for a device on which calls cost more than copies: the keys that a span
/// sees, those of the tokens it continues among them, are put one after another, so that attention
/// of many spans is one call in which every token is a sequence of one query.
///
/// Keys come from the rows of a store. Its first rows are the path: row `p` belongs to position `p`
/// of the sequence at hand. The rows of the chunk follow.
///
/// @param pathFrom first position of the path that is another one after this chunk
/// @param path I32 `[1, n]` rows of the store that it has from there on
record GatheredChunk(List<Group> groups, int pathFrom, Tensor path) {
  /// Keys seen by all queries of a span together from which it is a call of its own: reading each
  /// key once for many queries then saves more than the call costs.
  private static final int WORTH_A_CALL = 1 << 15;

  /// Rows `from` to `to` of the chunk, whose attention is one call.
  ///
  /// @param keys I32 `[1, n]` rows of the store to put together
  /// @param spans I32 `[2, to - from]` of each row the first of its keys among those, and their
  ///   number; null for one sequence that ends with these rows
  /// @param longest most keys of a row
  record Group(int from, int to, Tensor keys, @Nullable Tensor spans, int longest) {}

  /// @param pathRows of the store
  /// @param mostKeys that are put together, unless one span has more
  static GatheredChunk of(
      Backend backend, Arena arena, Packing.Chunk chunk, int pathRows, long mostKeys) {
    int[] rowAt = IntStream.range(0, pathRows).toArray();
    List<Group> groups = new ArrayList<>();
    Open open = new Open(0);
    int pathFrom = pathRows;
    int end = 0;
    for (Packing.Span span : chunk.spans()) {
      end = span.position() + span.tokens();
      pathFrom = Math.min(pathFrom, span.position());
      for (int i = 0; i < span.tokens(); i++) {
        rowAt[span.position() + i] = pathRows + span.row() + i;
      }
      boolean alone = span.tokens() * (long) end >= WORTH_A_CALL;
      if (alone || open.keys.size() + end > mostKeys) {
        open.close(backend, arena, false, groups);
        open = new Open(span.row());
      }
      open.add(span, rowAt);
      if (alone) {
        open.close(backend, arena, true, groups);
        open = new Open(open.to);
      }
    }
    open.close(backend, arena, false, groups);
    Tensor path = Residents.ints(backend, arena, Arrays.copyOfRange(rowAt, pathFrom, end));
    return new GatheredChunk(groups, pathFrom, path);
  }

  /// A group to which spans are added.
  private static final class Open {
    final int from;
    final List<Integer> keys = new ArrayList<>();
    final List<Integer> first = new ArrayList<>();
    final List<Integer> count = new ArrayList<>();
    int to;
    int longest;

    Open(int from) {
      this.from = from;
      this.to = from;
    }

    void add(Packing.Span span, int[] rowAt) {
      int end = span.position() + span.tokens();
      for (int i = 0; i < span.tokens(); i++) {
        first.add(keys.size());
        count.add(span.position() + i + 1);
      }
      for (int p = 0; p < end; p++) {
        keys.add(rowAt[p]);
      }
      to = span.row() + span.tokens();
      longest = Math.max(longest, end);
    }

    /// @param alone whether the group is one span that is a call of its own
    void close(Backend backend, Arena arena, boolean alone, List<Group> groups) {
      if (to > from) {
        int[] rows = keys.stream().mapToInt(Integer::intValue).toArray();
        Tensor together = Residents.ints(backend, arena, rows);
        groups.add(new Group(from, to, together, alone ? null : spans(backend, arena), longest));
      }
    }

    private Tensor spans(Backend backend, Arena arena) {
      Tensor spans = Tensor.allocate(arena, DType.I32, 2, to - from);
      for (int i = 0; i < to - from; i++) {
        spans.set(0, i, first.get(i));
        spans.set(1, i, count.get(i));
      }
      return Residents.upload(backend, arena, spans);
    }
  }
}
