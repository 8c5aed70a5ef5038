package org.modegpt.model;

import java.lang.foreign.Arena;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// What a token puts into the residual stream: its embedding, scaled, and where the model has them
/// the embedding of its position. Tensors are borrowed.
///
/// @param table `[vocab, d]`
/// @param positions learned positions, row 0 for position 0
public record TokenEmbedding(
    Backend backend, Tensor table, @Nullable Tensor positions, float scale) {

  /// Fills rows of the residual stream.
  ///
  /// @param places position of each token in its sequence
  public void embed(int[] ids, int[] places, Tensor out) {
    check(IntStream.of(places).max().orElse(0) + 1);
    try (Arena call = Arena.ofShared()) {
      embed(Residents.ints(backend, call, ids), Residents.ints(backend, call, places), out);
      backend.sync();
    }
  }

  /// The same for one sequence whose first token stands at position `from`.
  public void embed(int[] ids, int from, Tensor out) {
    embed(ids, IntStream.range(from, from + ids.length).toArray(), out);
  }

  /// The same with I32 `[1, N]` tensors of the back-end, whose sequences passed {@link #check}.
  void embed(Tensor ids, Tensor places, Tensor out) {
    backend.embed(table, ids, out);
    if (scale != 1) {
      backend.scale(scale, 0, out);
    }
    if (positions != null) {
      try (Arena call = Arena.ofShared()) {
        Tensor added = backend.allocate(call, DType.F32, out.rows(), out.cols());
        backend.embed(positions, places, added);
        backend.add(1f, added, out);
      }
    }
  }

  /// Refuses a sequence of more tokens than there are learned positions.
  void check(int tokens) {
    if (positions != null && tokens > positions.rows()) {
      throw new UserException(
          "a sequence of %d tokens is longer than the %d positions that the model knows"
              .formatted(tokens, positions.rows()));
    }
  }
}
