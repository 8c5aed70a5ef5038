package org.modegpt.backend;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// The dense factorisations of cuSOLVER, on row-major F64 device tensors. cuSOLVER is column-major,
/// where a row-major matrix is its transpose: the lower triangle is passed as the upper one, and
/// nothing is copied but by {@link #cholesky}. Not thread-safe.
final class CuSolver implements AutoCloseable {
  private static final int LOWER = 0;
  private static final int UPPER = 1;
  private static final int VECTORS = 1;
  private static final int NON_UNIT = 0;
  private static final int REAL_64 = 1;

  private final SymbolLookup library;

  // cusolverDnCreate(cusolverDnHandle_t *handle);
  private final MethodHandle create = bind("cusolverDnCreate", ADDRESS);

  // cusolverDnDestroy(handle);
  private final MethodHandle destroy = bind("cusolverDnDestroy", ADDRESS);

  // cusolverDnSetStream(handle, cudaStream_t);
  private final MethodHandle setStream = bind("cusolverDnSetStream", ADDRESS, ADDRESS);

  // cusolverDnDpotrf_bufferSize(handle, uplo, n, A, lda, int *lwork);
  private final MethodHandle potrfSize =
      bind("cusolverDnDpotrf_bufferSize", ADDRESS, JAVA_INT, JAVA_INT, ADDRESS, JAVA_INT, ADDRESS);

  // cusolverDnDpotrf(handle, uplo, n, A, lda, work, lwork, int *info);
  private final MethodHandle potrf =
      bind(
          "cusolverDnDpotrf",
          ADDRESS,
          JAVA_INT,
          JAVA_INT,
          ADDRESS,
          JAVA_INT,
          ADDRESS,
          JAVA_INT,
          ADDRESS);

  // cusolverDnXtrtri_bufferSize(handle, uplo, diag, int64 n, type, A, int64 lda, size_t *device,
  // size_t *host);
  private final MethodHandle trtriSize =
      bind(
          "cusolverDnXtrtri_bufferSize",
          ADDRESS,
          JAVA_INT,
          JAVA_INT,
          JAVA_LONG,
          JAVA_INT,
          ADDRESS,
          JAVA_LONG,
          ADDRESS,
          ADDRESS);

  // cusolverDnXtrtri(handle, uplo, diag, int64 n, type, A, int64 lda, device, size_t, host, size_t,
  // int *info);
  private final MethodHandle trtri =
      bind(
          "cusolverDnXtrtri",
          ADDRESS,
          JAVA_INT,
          JAVA_INT,
          JAVA_LONG,
          JAVA_INT,
          ADDRESS,
          JAVA_LONG,
          ADDRESS,
          JAVA_LONG,
          ADDRESS,
          JAVA_LONG,
          ADDRESS);

  // cusolverDnDsyevd_bufferSize(handle, jobz, uplo, n, A, lda, W, int *lwork);
  private final MethodHandle syevdSize =
      bind(
          "cusolverDnDsyevd_bufferSize",
          ADDRESS,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          ADDRESS,
          JAVA_INT,
          ADDRESS,
          ADDRESS);

  // cusolverDnDsyevd(handle, jobz, uplo, n, A, lda, W, work, lwork, int *info);
  private final MethodHandle syevd =
      bind(
          "cusolverDnDsyevd",
          ADDRESS,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          ADDRESS,
          JAVA_INT,
          ADDRESS,
          ADDRESS,
          JAVA_INT,
          ADDRESS);

  // cusolverDnCreateGesvdjInfo(gesvdjInfo_t *);
  private final MethodHandle createJacobi = bind("cusolverDnCreateGesvdjInfo", ADDRESS);

  // cusolverDnDestroyGesvdjInfo(gesvdjInfo_t);
  private final MethodHandle destroyJacobi = bind("cusolverDnDestroyGesvdjInfo", ADDRESS);

  // cusolverDnDgesvdj_bufferSize(handle, jobz, econ, m, n, A, lda, S, U, ldu, V, ldv, int *lwork,
  // info);
  private final MethodHandle gesvdjSize =
      bind(
          "cusolverDnDgesvdj_bufferSize",
          ADDRESS,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          ADDRESS,
          JAVA_INT,
          ADDRESS,
          ADDRESS,
          JAVA_INT,
          ADDRESS,
          JAVA_INT,
          ADDRESS,
          ADDRESS);

  // cusolverDnDgesvdj(handle, jobz, econ, m, n, A, lda, S, U, ldu, V, ldv, work, lwork, int *info,
  // info);
  private final MethodHandle gesvdj =
      bind(
          "cusolverDnDgesvdj",
          ADDRESS,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          ADDRESS,
          JAVA_INT,
          ADDRESS,
          ADDRESS,
          JAVA_INT,
          ADDRESS,
          JAVA_INT,
          ADDRESS,
          JAVA_INT,
          ADDRESS,
          ADDRESS);

  private final CudaBackend backend;
  private final Arena arena = Arena.ofShared();
  private final MemorySegment handle;
  private final MemorySegment jacobi;
  private final MemorySegment sizes = arena.allocate(16, 16);
  private final Tensor info;

  /// @param backend whose memory and stream are used
  CuSolver(SymbolLookup library, CudaBackend backend, MemorySegment stream) {
    this.library = library;
    super();
    this.backend = backend;
    try {
      MemorySegment out = arena.allocate(ADDRESS);
      check("creating a handle", (int) create.invokeExact(out));
      handle = out.get(ADDRESS, 0);
      check("setting the stream", (int) setStream.invokeExact(handle, stream));
      check("setting up the SVD", (int) createJacobi.invokeExact(out));
      jacobi = out.get(ADDRESS, 0);
      info = backend.allocate(arena, DType.I32, 1, 1);
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
      throw new BackendException(
          "cuSOLVER: " + what + " failed with status " + status + reason(status));
    }
  }

  private static String reason(int status) {
    return switch (status) {
      case 1 -> " (not initialised: is there memory left on the card?)";
      case 2 -> " (out of memory: use a smaller batch or context length)";
      case 3 -> " (bad argument)";
      case 6 -> " (execution failed)";
      default -> "";
    };
  }

  private Tensor bytes(Arena call, long count) {
    return backend.allocate(call, DType.F64, 1, Math.max(1, Math.ceilDiv(count, 8)));
  }

  private Tensor doubles(Arena call) {
    return backend.allocate(call, DType.F64, 1, Math.max(1, sizes.get(JAVA_INT, 0)));
  }

  /// What the last factorisation reported; waits.
  private int info(String op) {
    int value = backend.ints(info)[0];
    if (value < 0) {
      throw new BackendException(op + ": cuSOLVER refused argument " + -value);
    }
    return value;
  }

  private static int lead(Tensor t) {
    return Math.toIntExact(Math.max(1, t.stride()));
  }

  private static int size(long n) {
    return Math.toIntExact(n);
  }

  /// From so many rows on, two transpositions cost less than they gain.
  private static final long TURNED_ROWS = 256;

  /// Rows of the transpose begin at multiples of this.
  private static final long ALIGNMENT = 16;

  /// See {@link Backend#cholesky}. cuSOLVER needs half the time for the lower triangle of a
  /// column-major matrix (14 ms instead of 25 for 11,008 rows on an H100), so large ones are
  /// turned.
  long cholesky(Tensor a) {
    long n = a.rows();
    if (n < TURNED_ROWS) {
      return cholesky(a, UPPER);
    }
    try (Arena call = Arena.ofConfined()) {
      long lead = Math.ceilDiv(n, ALIGNMENT) * ALIGNMENT;
      Tensor turned = backend.allocate(call, DType.F64, n, lead).columns(0, n);
      backend.transpose(a, turned);
      long failed = cholesky(turned, LOWER);
      backend.transpose(turned, a);
      return failed;
    }
  }

  private long cholesky(Tensor a, int triangle) {
    int n = size(a.rows());
    try (Arena call = Arena.ofConfined()) {
      check("cholesky", (int) potrfSize.invokeExact(handle, triangle, n, a.data(), lead(a), sizes));
      Tensor work = doubles(call);
      check(
          "cholesky",
          (int)
              potrf.invokeExact(
                  handle,
                  triangle,
                  n,
                  a.data(),
                  lead(a),
                  work.data(),
                  size(work.cols()),
                  info.data()));
      return info("cholesky");
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }

  /// See {@link Backend#triangularInverse}.
  void triangularInverse(Tensor l) {
    long n = l.rows();
    long lead = lead(l);
    try (Arena call = Arena.ofConfined()) {
      check(
          "triangularInverse",
          (int)
              trtriSize.invokeExact(
                  handle,
                  UPPER,
                  NON_UNIT,
                  n,
                  REAL_64,
                  l.data(),
                  lead,
                  sizes.asSlice(0, 8),
                  sizes.asSlice(8, 8)));
      long deviceBytes = sizes.get(JAVA_LONG, 0);
      long hostBytes = sizes.get(JAVA_LONG, 8);
      Tensor work = bytes(call, deviceBytes);
      MemorySegment host = call.allocate(Math.max(8, hostBytes), 64);
      check(
          "triangularInverse",
          (int)
              trtri.invokeExact(
                  handle,
                  UPPER,
                  NON_UNIT,
                  n,
                  REAL_64,
                  l.data(),
                  lead,
                  work.data(),
                  deviceBytes,
                  host,
                  hostBytes,
                  info.data()));
      int zero = info("triangularInverse");
      if (zero != 0) {
        throw new IllegalArgumentException(
            "triangularInverse: the diagonal of l is zero at row " + zero);
      }
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }

  /// See {@link Backend#symmetricEigen}.
  void symmetricEigen(Tensor a, Tensor values) {
    int n = size(a.rows());
    try (Arena call = Arena.ofConfined()) {
      check(
          "symmetricEigen",
          (int)
              syevdSize.invokeExact(
                  handle, VECTORS, UPPER, n, a.data(), lead(a), values.data(), sizes));
      Tensor work = doubles(call);
      check(
          "symmetricEigen",
          (int)
              syevd.invokeExact(
                  handle,
                  VECTORS,
                  UPPER,
                  n,
                  a.data(),
                  lead(a),
                  values.data(),
                  work.data(),
                  size(work.cols()),
                  info.data()));
      converged("symmetricEigen");
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }

  /// See {@link Backend#svd}: Jacobi. Its V is not transposed, so `u` comes by way of a copy.
  void svd(Tensor a, Tensor u, Tensor s, Tensor vt) {
    int m = size(a.cols()); // column-major, a is its transpose [n, m]
    int n = size(a.rows());
    try (Arena call = Arena.ofConfined()) {
      Tensor v = backend.allocate(call, DType.F64, /* rows= */ u.cols(), /* cols= */ u.rows());
      check(
          "svd",
          (int)
              gesvdjSize.invokeExact(
                  handle, VECTORS, 1, m, n, a.data(), lead(a), s.data(), vt.data(), lead(vt),
                  v.data(), lead(v), sizes, jacobi));
      Tensor work = doubles(call);
      check(
          "svd",
          (int)
              gesvdj.invokeExact(
                  handle,
                  VECTORS,
                  1,
                  m,
                  n,
                  a.data(),
                  lead(a),
                  s.data(),
                  vt.data(),
                  lead(vt),
                  v.data(),
                  lead(v),
                  work.data(),
                  size(work.cols()),
                  info.data(),
                  jacobi));
      converged("svd");
      backend.transpose(v, u);
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }

  private void converged(String op) {
    if (info(op) > 0) {
      throw new BackendException(op + ": cuSOLVER did not converge");
    }
  }

  @Override
  public void close() {
    try {
      check("closing the SVD", (int) destroyJacobi.invokeExact(jacobi));
      check("destroying the handle", (int) destroy.invokeExact(handle));
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    } finally {
      arena.close();
    }
  }
}
