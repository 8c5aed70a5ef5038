package org.modegpt.backend;

import java.lang.foreign.Arena;
import java.util.function.Consumer;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// The inverse of a large triangular matrix by halves, so that nearly all of its work is in
/// products: those run at the rate of the hardware, cuSOLVER's own inverse of 11,008 rows at a
/// twelfth of it.
final class BlockedInverse {
  /// Triangular operands are worked on in so many bands, which leaves out most of their zeros.
  private static final int BANDS = 4;

  private final Backend backend;
  private final Consumer<Tensor> library;
  private final long small;

  /// @param library inverts matrices of up to `small` rows, at least 64, in place
  BlockedInverse(Backend backend, Consumer<Tensor> library, long small) {
    this.backend = backend;
    this.library = library;
    this.small = small;
  }

  /// See {@link Backend#triangularInverse}.
  void invert(Tensor l) {
    long n = l.rows();
    if (n <= small) {
      library.accept(l);
      return;
    }
    long half = (n / 2 + 31) / 32 * 32;
    Tensor first = l.rows(0, half).columns(0, half);
    Tensor below = l.rows(half, n).columns(0, half);
    Tensor last = l.rows(half, n).columns(half, n);
    invert(first);
    invert(last);
    backend.clearUpper(first);
    backend.clearUpper(last);
    try (Arena call = Arena.ofConfined()) {
      Tensor product = backend.allocate(call, DType.F64, n - half, half);
      // below · first⁻¹, whose columns begin at the diagonal
      Bands.each(
          half,
          BANDS,
          (from, to) -> {
            Tensor left = below.columns(from, half);
            Tensor right = first.rows(from, half).columns(from, to);
            backend.gemm(false, false, 1, left, right, 0, product.columns(from, to));
          });
      // −last⁻¹ · that; its rows end at the diagonal
      Bands.each(
          n - half,
          BANDS,
          (from, to) -> {
            Tensor left = last.rows(from, to).columns(0, to);
            backend.gemm(false, false, -1, left, product.rows(0, to), 0, below.rows(from, to));
          });
    }
  }
}
