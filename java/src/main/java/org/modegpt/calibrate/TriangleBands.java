package org.modegpt.calibrate;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.LongAdder;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Bands;
import org.modegpt.model.Residents;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// The lower triangle of a square matrix in little more than half its memory.
///
/// @param bands of rows, F64, one below the other, each up to the column where the diagonal leaves
///   it
record TriangleBands(List<Tensor> bands) {
  /// The matrix takes 17/32 of its memory.
  private static final int BANDS = 16;

  TriangleBands {
    bands = List.copyOf(bands);
  }

  /// A copy of the lower triangle of `square`, in `arena`.
  static TriangleBands of(Backend backend, Arena arena, Tensor square) {
    List<Tensor> bands = new ArrayList<>();
    Bands.each(
        square.rows(),
        BANDS,
        (from, to) -> {
          Tensor band = backend.allocate(arena, DType.F64, to - from, to);
          backend.copy(square.rows(from, to).columns(0, to), band);
          bands.add(band);
        });
    return new TriangleBands(bands);
  }

  /// The matrix of a lower triangle that has zeros above its diagonal, in `arena`.
  Tensor square(Backend backend, Arena arena) {
    long size = bands.getLast().cols();
    Tensor square = Residents.zeros(backend, arena, size, size);
    long from = 0;
    for (Tensor band : bands) {
      long to = band.cols();
      backend.copy(band, square.rows(from, to).columns(0, to));
      from = to;
    }
    return square;
  }

  /// What the bands of a matrix of so many rows take.
  static long bytes(long size) {
    LongAdder elements = new LongAdder();
    Bands.each(size, BANDS, (from, to) -> elements.add((to - from) * to));
    return DType.F64.bytes(elements.sum());
  }
}
