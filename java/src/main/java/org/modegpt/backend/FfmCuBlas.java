package org.modegpt.backend;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/// cuBLAS bound by the Foreign Function & Memory API.
final class FfmCuBlas implements CuBlas {
  private static final int DEFAULT_ALGORITHM = -1;

  private final SymbolLookup library;

  // cublasCreate_v2(cublasHandle_t *handle);
  private final MethodHandle create = bind("cublasCreate_v2", ADDRESS);

  // cublasDestroy_v2(handle);
  private final MethodHandle destroy = bind("cublasDestroy_v2", ADDRESS);

  // cublasSetStream_v2(handle, cudaStream_t);
  private final MethodHandle setStream = bind("cublasSetStream_v2", ADDRESS, ADDRESS);

  // cublasGemmEx(handle, transa, transb, m, n, k, alpha, A, Atype, lda, B, Btype, ldb, beta, C,
  // Ctype, ldc, compute, algo);
  private final MethodHandle gemmEx =
      bind(
          "cublasGemmEx",
          ADDRESS,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          ADDRESS,
          ADDRESS,
          JAVA_INT,
          JAVA_INT,
          ADDRESS,
          JAVA_INT,
          JAVA_INT,
          ADDRESS,
          ADDRESS,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT);

  // cublasGemmStridedBatchedEx: the same with a long long stride after each leading dimension, and
  // batchCount before compute.
  private final MethodHandle gemmBatched =
      bind(
          "cublasGemmStridedBatchedEx",
          ADDRESS,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          ADDRESS,
          ADDRESS,
          JAVA_INT,
          JAVA_INT,
          JAVA_LONG,
          ADDRESS,
          JAVA_INT,
          JAVA_INT,
          JAVA_LONG,
          ADDRESS,
          ADDRESS,
          JAVA_INT,
          JAVA_INT,
          JAVA_LONG,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT);

  // cublasDtrsm_v2(handle, side, uplo, trans, diag, m, n, alpha, A, lda, B, ldb);
  private final MethodHandle dtrsm =
      bind(
          "cublasDtrsm_v2",
          ADDRESS,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          ADDRESS,
          ADDRESS,
          JAVA_INT,
          ADDRESS,
          JAVA_INT);

  private final Arena arena = Arena.ofShared();
  private final MemorySegment scalars = arena.allocate(16, 16);
  private final MemorySegment handle;

  /// @param stream a `cudaStream_t`
  FfmCuBlas(SymbolLookup library, MemorySegment stream) {
    this.library = library;
    super();
    try {
      MemorySegment out = arena.allocate(ADDRESS);
      check("creating a handle", (int) create.invokeExact(out));
      handle = out.get(ADDRESS, 0);
      check("setting the stream", (int) setStream.invokeExact(handle, stream));
    } catch (Throwable e) {
      arena.close();
      throw Downcalls.failed(e);
    }
  }

  private MethodHandle bind(String name, MemoryLayout... arguments) {
    return Downcalls.bind(library, name, FunctionDescriptor.of(JAVA_INT, arguments));
  }

  private static void check(String what, int status) {
    if (status != 0) {
      throw new BackendException("cuBLAS: " + what + " failed: " + reason(status));
    }
  }

  private static String reason(int status) {
    return switch (status) {
      case 1 -> "not initialised (1): is the driver new enough, and memory left on the card?";
      case 3 -> "out of memory (3): use a smaller batch or context length";
      case 7 -> "bad argument (7)";
      case 13 -> "execution failed (13)";
      case 15 -> "not supported (15)";
      default -> "status " + status;
    };
  }

  @Override
  public String name() {
    return "ffm";
  }

  /// alpha and beta have the type of the sums.
  private MemorySegment scalar(int index, double value, int compute) {
    MemorySegment s = scalars.asSlice(8L * index, 8);
    if (compute == COMPUTE_F64) {
      s.set(ValueLayout.JAVA_DOUBLE, 0, value);
    } else {
      s.set(ValueLayout.JAVA_FLOAT, 0, (float) value);
    }
    return s;
  }

  private static MemorySegment at(Matrix matrix) {
    return MemorySegment.ofAddress(matrix.address());
  }

  private static int flag(boolean value) {
    return value ? 1 : 0;
  }

  @Override
  public void gemm(
      boolean transposeA,
      boolean transposeB,
      int m,
      int n,
      int k,
      double alpha,
      Matrix a,
      Matrix b,
      double beta,
      Matrix c,
      int batch,
      int compute) {
    MemorySegment one = scalar(0, alpha, compute);
    MemorySegment two = scalar(1, beta, compute);
    int ta = flag(transposeA);
    int tb = flag(transposeB);
    try {
      int status;
      if (batch == 1) {
        status =
            (int)
                gemmEx.invokeExact(
                    handle,
                    ta,
                    tb,
                    m,
                    n,
                    k,
                    one,
                    at(a),
                    a.type(),
                    a.lead(),
                    at(b),
                    b.type(),
                    b.lead(),
                    two,
                    at(c),
                    c.type(),
                    c.lead(),
                    compute,
                    DEFAULT_ALGORITHM);
      } else {
        status =
            (int)
                gemmBatched.invokeExact(
                    handle,
                    ta,
                    tb,
                    m,
                    n,
                    k,
                    one,
                    at(a),
                    a.type(),
                    a.lead(),
                    a.step(),
                    at(b),
                    b.type(),
                    b.lead(),
                    b.step(),
                    two,
                    at(c),
                    c.type(),
                    c.lead(),
                    c.step(),
                    batch,
                    compute,
                    DEFAULT_ALGORITHM);
      }
      check("gemm [" + m + ", " + k + "] x [" + k + ", " + n + "]", status);
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }

  @Override
  public void triangularSolve(
      boolean left, boolean upper, boolean transpose, int m, int n, Matrix a, Matrix b) {
    try {
      check(
          "triangular solve [" + m + ", " + n + "]",
          (int)
              dtrsm.invokeExact(
                  handle,
                  flag(!left),
                  flag(upper),
                  flag(transpose),
                  0,
                  m,
                  n,
                  scalar(0, 1, COMPUTE_F64),
                  at(a),
                  a.lead(),
                  at(b),
                  b.lead()));
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }

  @Override
  public void close() {
    try {
      check("destroying the handle", (int) destroy.invokeExact(handle));
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    } finally {
      arena.close();
    }
  }
}
