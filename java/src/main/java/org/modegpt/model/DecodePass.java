package org.modegpt.model;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import org.modegpt.backend.Backend;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Rows that go through the blocks together: the next tokens of some sequences of a cache. Of
/// several sequences those with one token come first, for their attention is one call.
///
/// @param ids I32 `[1, rows]` tokens
/// @param positions I32 `[1, rows]` their places in their sequences
/// @param places I32 `[1, rows]` their rows in the cache
/// @param spans I32 `[2, singles]` keys in the cache of the sequences with one token
/// @param longest most of these keys
/// @param others the sequences that are not among `spans`
/// @param last I32 `[1, inputs]` the row of each input's last token
record DecodePass(
    Tensor ids,
    Tensor positions,
    Tensor places,
    Tensor spans,
    int longest,
    List<Piece> others,
    Tensor last) {

  /// Rows `row` to `row + tokens`, whose sequence has `end` tokens with them and lies in the cache
  /// from `cacheRow` on.
  record Piece(int row, int tokens, int end, int cacheRow) {}

  /// Lays out inputs and brings that to the device.
  static DecodePass of(Backend backend, Arena arena, KvCache cache, List<Decoder.Tokens> inputs) {
    int rows = inputs.stream().mapToInt(t -> t.ids().length).sum();
    Tensor table = Tensor.allocate(arena, DType.I32, 6, rows);
    List<Integer> ordered =
        IntStream.range(0, inputs.size())
            .boxed()
            .sorted(Comparator.comparing(i -> inputs.get(i).ids().length > 1))
            .toList();
    List<Piece> others = new ArrayList<>();
    int singles = 0;
    int longest = 0;
    int row = 0;
    for (int index : ordered) {
      Decoder.Tokens input = inputs.get(index);
      int from = cache.length(input.sequence());
      int cacheRow = cache.row(input.sequence());
      int end = from + input.ids().length;
      if (inputs.size() > 1 && input.ids().length == 1) {
        table.set(3, singles, cacheRow);
        table.set(4, singles++, end);
        longest = Math.max(longest, end);
      } else {
        others.add(new Piece(row, input.ids().length, end, cacheRow));
      }
      for (int i = 0; i < input.ids().length; i++) {
        table.set(0, row, input.ids()[i]);
        table.set(1, row, from + i);
        table.set(2, row++, cacheRow + from + i);
      }
      table.set(5, index, row - 1);
    }
    Tensor there = Residents.upload(backend, arena, table);
    return new DecodePass(
        there.rows(0, 1),
        there.rows(1, 2),
        there.rows(2, 3),
        there.rows(3, 5).columns(0, singles),
        longest,
        others,
        there.rows(5, 6).columns(0, inputs.size()));
  }

  int rows() {
    return (int) ids.cols();
  }

  /// Sequences with one token.
  int singles() {
    return (int) spans.cols();
  }
}
