package org.modegpt.backend;

import java.lang.foreign.Arena;
import org.jspecify.annotations.Nullable;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// The CPU: our kernels, and OpenBLAS for dense linear algebra.
final class CpuBackend extends NativeBackend {

  /// Up to this many rows a product is bound by reading the weights, which the kernel does once and
  /// without widening them.
  static final int FEW_ROWS = 8;

  /// Weights that are not F32 are widened for GEMM in panels of rows of at most this many bytes.
  private static final long PANEL_BYTES = 8L << 20;

  private final OpenBlas blas;

  /// For products with many rows; null for float32 ones.
  private final @Nullable OneDnn dnn;

  private final int threads;
  private @Nullable Tensor panel;

  /// @param isa upper limit of the instruction set, or null for the best there is
  CpuBackend(Kernels kernels, OpenBlas blas, int threads, @Nullable String isa) {
    this(kernels, blas, null, threads, isa);
  }

  CpuBackend(
      Kernels kernels, OpenBlas blas, @Nullable OneDnn dnn, int threads, @Nullable String isa) {
    super(kernels, 0, threads, isa);
    this.blas = blas;
    this.dnn = dnn;
    this.threads = threads;
  }

  @Override
  public String name() {
    return "cpu";
  }

  @Override
  public String describe() {
    return super.describe()
        + "; OpenBLAS "
        + blas.coreName()
        + (dnn == null ? "" : "; bf16 products by oneDNN");
  }

  @Override
  public boolean unifiedMemory() {
    return true;
  }

  @Override
  public Products products() {
    return dnn == null ? Products.F32 : Products.BF16;
  }

  @Override
  public Tensor allocate(Arena arena, DType dtype, long rows, long cols) {
    return Tensor.allocate(arena, dtype, rows, cols);
  }

  @Override
  public void copy(Tensor source, Tensor destination) {
    destination.copyFrom(source);
  }

  @Override
  public void linear(Tensor x, Tensor w, @Nullable Tensor bias, Tensor y) {
    if (y.elements() == 0) {
      return;
    }
    if (x.cols() > 0 && x.rows() <= FEW_ROWS) {
      fewRows(x, w, bias, y);
      return;
    }
    if (x.cols() == 0) {
      fillZero(y);
    } else {
      manyRows(x, w, y);
    }
    if (bias != null) {
      add(1, bias, y);
    }
  }

  /// The kernel, which reads the weights once and never widens them.
  void fewRows(Tensor x, Tensor w, @Nullable Tensor bias, Tensor y) {
    super.linear(x, w, bias, y);
  }

  /// GEMM, after widening the weights panel by panel.
  void manyRows(Tensor x, Tensor w, Tensor y) {
    if (dnn != null) {
      rounded(dnn, x, w, y);
      return;
    }
    if (w.dtype() == DType.F32) {
      blas.gemm(threads, false, true, 1, x, w, 0, y);
      return;
    }
    long step = Math.max(1, PANEL_BYTES / 4 / x.cols());
    for (long from = 0; from < w.rows(); from += step) {
      long to = Math.min(w.rows(), from + step);
      Tensor wide = panel(to - from, x.cols());
      cast(w.rows(from, to), wide);
      blas.gemm(threads, false, true, 1, x, wide, 0, y.columns(from, to));
    }
  }

  /// Both sides rounded to BF16, panels of the weights at a time.
  private void rounded(OneDnn by, Tensor x, Tensor w, Tensor y) {
    try (Arena call = Arena.ofConfined()) {
      Tensor source = Tensor.allocate(call, DType.BF16, x.rows(), x.cols());
      cast(x, source);
      if (w.dtype() == DType.BF16) {
        by.product(source, w, y);
        return;
      }
      long step = Math.max(1, PANEL_BYTES / 2 / x.cols());
      for (long from = 0; from < w.rows(); from += step) {
        long to = Math.min(w.rows(), from + step);
        Tensor weights =
            Tensor.host(DType.BF16, to - from, x.cols(), panel(to - from, x.cols()).data());
        cast(w.rows(from, to), weights);
        by.product(source, weights, y.columns(from, to));
      }
    }
  }

  private Tensor panel(long rows, long cols) {
    Tensor memory = panel;
    if (memory == null || memory.cols() < rows * cols) {
      memory = Tensor.allocate(arena, DType.F32, 1, Math.max(rows * cols, PANEL_BYTES / 4));
      panel = memory;
    }
    return Tensor.host(DType.F32, rows, cols, memory.data());
  }

  @Override
  public void gemm(
      boolean transposeA,
      boolean transposeB,
      double alpha,
      Tensor a,
      Tensor b,
      double beta,
      Tensor c) {
    blas.gemm(threads, transposeA, transposeB, alpha, a, b, beta, c);
  }

  @Override
  public long cholesky(Tensor a) {
    return blas.cholesky(threads, a);
  }

  @Override
  public void triangularSolve(Tensor l, boolean left, boolean transpose, Tensor b) {
    blas.triangularSolve(threads, l, left, transpose, b);
  }

  @Override
  public void triangularInverse(Tensor l) {
    blas.triangularInverse(threads, l);
  }

  @Override
  public void symmetricEigen(Tensor a, Tensor values) {
    blas.symmetricEigen(threads, a, values);
  }

  @Override
  public void svd(Tensor a, Tensor u, Tensor s, Tensor vt) {
    blas.svd(threads, a, u, s, vt);
  }
}
