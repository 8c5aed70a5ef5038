package org.modegpt.backend;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.jspecify.annotations.Nullable;
import org.modegpt.Settings;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// OpenBLAS on row-major tensors. LAPACK is column-major: a row-major matrix is its transpose
/// there, so the lower triangle is passed as the upper one and left singular vectors as right ones;
/// nothing is copied. Thread-safe; loaded once per process.
final class OpenBlas {

  private static final int ROW_MAJOR = 101;
  private static final int NO_TRANS = 111;
  private static final int TRANS = 112;
  private static final int LOWER = 122;
  private static final int NON_UNIT = 131;
  private static final int LEFT = 141;
  private static final int RIGHT = 142;

  /// In the order in which they are loaded: each needs the ones before.
  private static final List<String> FILES =
      List.of("libgcc_s.so.1", "libquadmath.so.0", "libgfortran.so.5", "libopenblas.so.0");

  private static @Nullable OpenBlas loaded;

  private final SymbolLookup library;
  private volatile int threads;

  /// Calls hold it together, the end of the process alone and for good. The library's exit handler
  /// joins its workers; with a call in flight one can miss that it is to end, and a process stopped
  /// by a signal waits for it forever.
  private final ReentrantReadWriteLock running = new ReentrantReadWriteLock();

  // void cblas_sgemm(order, transA, transB, m, n, k, float alpha, a, lda, b, ldb, float beta, c,
  // ldc);
  private final MethodHandle sgemm = bind("cblas_sgemm", gemmType(JAVA_FLOAT));
  private final MethodHandle dgemm = bind("cblas_dgemm", gemmType(JAVA_DOUBLE));

  // void cblas_dtrsm(order, side, uplo, trans, diag, m, n, double alpha, a, lda, b, ldb);
  private final MethodHandle dtrsm =
      procedure(
          "cblas_dtrsm",
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          JAVA_DOUBLE,
          ADDRESS,
          JAVA_INT,
          ADDRESS,
          JAVA_INT);

  // void dpotrf_(uplo, n, a, lda, info, size_t length of uplo);
  private final MethodHandle dpotrf =
      procedure("dpotrf_", ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG);

  // void dtrtri_(uplo, diag, n, a, lda, info, size_t, size_t);
  private final MethodHandle dtrtri =
      procedure(
          "dtrtri_", ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, JAVA_LONG);

  // void dsyevd_(jobz, uplo, n, a, lda, w, work, lwork, iwork, liwork, info, size_t, size_t);
  private final MethodHandle dsyevd =
      procedure(
          "dsyevd_", ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS,
          ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, JAVA_LONG);

  // void dgesdd_(jobz, m, n, a, lda, s, u, ldu, vt, ldvt, work, lwork, iwork, info, size_t);
  private final MethodHandle dgesdd =
      procedure(
          "dgesdd_", ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS,
          ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG);

  // void openblas_set_num_threads(int);
  private final MethodHandle setThreads = procedure("openblas_set_num_threads", JAVA_INT);

  // char *openblas_get_corename(void);
  private final MethodHandle coreName =
      bind("openblas_get_corename", FunctionDescriptor.of(ADDRESS));

  private OpenBlas(SymbolLookup library) {
    this.library = library;
    super();
  }

  /// Loads the library on the first call: the file of the setting `openblas`, else the one in the
  /// jars.
  ///
  /// @throws BackendException with the reason when there is none
  static synchronized OpenBlas load() {
    OpenBlas blas = loaded;
    if (blas == null) {
      // Both variables make it choose kernels for another processor than this one, at half the
      // speed.
      Downcalls.environment("OPENBLAS_CORETYPE", null);
      Downcalls.environment("OPENBLAS_L2_SIZE", null);
      // Idle workers spin 2^4 instead of 2^26 rounds, so that they leave the cores to our own
      // threads.
      Downcalls.environment("OPENBLAS_THREAD_TIMEOUT", "4");
      blas = new OpenBlas(open());
      Runtime.getRuntime()
          .addShutdownHook(new Thread(blas.running.writeLock()::lock, "openblas-end"));
      loaded = blas;
    }
    return blas;
  }

  private static SymbolLookup open() {
    String own = Settings.get("openblas");
    if (own != null) {
      return Downcalls.open(Path.of(own));
    }
    Path folder =
        NativeLibrary.extract(
            "openblas", "org/bytedeco/openblas/" + NativeLibrary.platform() + "/", FILES);
    SymbolLookup last = null;
    for (String file : FILES) {
      last = Downcalls.open(folder.resolve(file));
    }
    return last;
  }

  private static FunctionDescriptor gemmType(MemoryLayout real) {
    return FunctionDescriptor.ofVoid(
        JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, real, ADDRESS, JAVA_INT,
        ADDRESS, JAVA_INT, real, ADDRESS, JAVA_INT);
  }

  private MethodHandle procedure(String name, MemoryLayout... arguments) {
    return bind(name, FunctionDescriptor.ofVoid(arguments));
  }

  private MethodHandle bind(String name, FunctionDescriptor type) {
    return Downcalls.bind(library, name, type);
  }

  /// The processor family whose kernels it chose, such as `Cooperlake`.
  String coreName() {
    try {
      return Downcalls.string((MemorySegment) coreName.invokeExact());
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }

  /// A call into the library, until it is closed.
  private interface Call extends AutoCloseable {
    @Override
    void close();
  }

  /// Begins a call. The number of threads is a setting for the whole process, so it is checked
  /// before every one.
  private Call call(int wanted) throws Throwable {
    running.readLock().lock();
    if (threads != wanted) {
      synchronized (this) {
        setThreads.invokeExact(wanted);
        threads = wanted;
      }
    }
    return running.readLock()::unlock;
  }

  private static int size(String op, long n) {
    if (n > Integer.MAX_VALUE) {
      throw new IllegalArgumentException(
          op + ": a dimension of " + n + " is beyond the 2^31 - 1 of OpenBLAS");
    }
    return (int) n;
  }

  /// `c = alpha op(a) op(b) + beta c`, F32 or F64.
  void gemm(
      int useThreads,
      boolean transA,
      boolean transB,
      double alpha,
      Tensor a,
      Tensor b,
      double beta,
      Tensor c) {
    if (c.elements() == 0) {
      return;
    }
    int ta = transA ? TRANS : NO_TRANS;
    int tb = transB ? TRANS : NO_TRANS;
    int m = size("gemm", c.rows());
    int n = size("gemm", c.cols());
    int k = size("gemm", transA ? a.rows() : a.cols());
    int lda = Math.max(1, size("gemm", a.stride()));
    int ldb = Math.max(1, size("gemm", b.stride()));
    int ldc = size("gemm", c.stride());
    try (Call _ = call(useThreads)) {
      if (c.dtype() == DType.F32) {
        sgemm.invokeExact(
            ROW_MAJOR,
            ta,
            tb,
            m,
            n,
            k,
            (float) alpha,
            a.data(),
            lda,
            b.data(),
            ldb,
            (float) beta,
            c.data(),
            ldc);
      } else {
        dgemm.invokeExact(
            ROW_MAJOR, ta, tb, m, n, k, alpha, a.data(), lda, b.data(), ldb, beta, c.data(), ldc);
      }
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }

  /// See {@link Backend#triangularSolve}.
  void triangularSolve(int useThreads, Tensor l, boolean left, boolean transpose, Tensor b) {
    if (b.elements() == 0) {
      return;
    }
    int side = left ? LEFT : RIGHT;
    int trans = transpose ? TRANS : NO_TRANS;
    int m = size("triangularSolve", b.rows());
    int n = size("triangularSolve", b.cols());
    int lda = size("triangularSolve", l.stride());
    int ldb = size("triangularSolve", b.stride());
    try (Call _ = call(useThreads)) {
      dtrsm.invokeExact(
          ROW_MAJOR, side, LOWER, trans, NON_UNIT, m, n, 1.0, l.data(), lda, b.data(), ldb);
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }

  /// See {@link Backend#cholesky}.
  long cholesky(int useThreads, Tensor a) {
    if (a.rows() == 0) {
      return 0;
    }
    try (Call _ = call(useThreads);
        Arguments args = new Arguments("cholesky")) {
      dpotrf.invokeExact(
          args.flag('U'), args.size(a.rows()), a.data(), args.size(a.stride()), args.info, 1L);
      int failed = args.info();
      for (long i = 0; failed == 0 && i < a.rows(); i++) {
        failed = Double.isNaN(a.get(i, i)) ? (int) i + 1 : 0; // its pivot test lets NaN through
      }
      return failed;
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }

  /// See {@link Backend#triangularInverse}.
  void triangularInverse(int useThreads, Tensor l) {
    if (l.rows() == 0) {
      return;
    }
    try (Call _ = call(useThreads);
        Arguments args = new Arguments("triangularInverse")) {
      dtrtri.invokeExact(
          args.flag('U'),
          args.flag('N'),
          args.size(l.rows()),
          l.data(),
          args.size(l.stride()),
          args.info,
          1L,
          1L);
      if (args.info() != 0) {
        throw new IllegalArgumentException(
            "triangularInverse: the diagonal of l is zero at row " + args.info());
      }
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }

  /// See {@link Backend#symmetricEigen}: divide and conquer.
  void symmetricEigen(int useThreads, Tensor a, Tensor values) {
    if (a.rows() == 0) {
      return;
    }
    try (Call _ = call(useThreads);
        Arguments args = new Arguments("symmetricEigen")) {
      MemorySegment n = args.size(a.rows());
      MemorySegment lda = args.size(a.stride());
      for (Workspace work = args.query(1); ; work = args.allocate(work)) {
        dsyevd.invokeExact(
            args.flag('V'),
            args.flag('U'),
            n,
            a.data(),
            lda,
            values.data(),
            work.reals(),
            work.realCount(),
            work.integers(),
            work.integerCount(),
            args.info,
            1L,
            1L);
        if (args.finished(work)) {
          return;
        }
      }
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }

  /// See {@link Backend#svd}: divide and conquer on the transpose.
  void svd(int useThreads, Tensor a, Tensor u, Tensor s, Tensor vt) {
    if (a.elements() == 0) {
      return;
    }
    try (Call _ = call(useThreads);
        Arguments args = new Arguments("svd")) {
      MemorySegment m = args.size(a.cols());
      MemorySegment n = args.size(a.rows());
      MemorySegment lda = args.size(a.stride());
      MemorySegment ldu = args.size(vt.stride());
      MemorySegment ldvt = args.size(u.stride());
      for (Workspace work = args.query(8 * s.cols()); ; work = args.allocate(work)) {
        dgesdd.invokeExact(
            args.flag('S'),
            m,
            n,
            a.data(),
            lda,
            s.data(),
            vt.data(),
            ldu,
            u.data(),
            ldvt,
            work.reals(),
            work.realCount(),
            work.integers(),
            args.info,
            1L);
        if (args.finished(work)) {
          return;
        }
      }
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }

  /// Work memory of a LAPACK routine; counts of -1 ask for the sizes.
  private record Workspace(
      MemorySegment reals,
      MemorySegment realCount,
      MemorySegment integers,
      MemorySegment integerCount) {}

  /// The arguments of one LAPACK call, which takes everything by address.
  private static final class Arguments implements AutoCloseable {
    private final String op;
    private final Arena arena = Arena.ofConfined();
    final MemorySegment info = arena.allocate(JAVA_INT);

    Arguments(String op) {
      this.op = op;
    }

    MemorySegment flag(char value) {
      return arena.allocateFrom(JAVA_BYTE, (byte) value);
    }

    MemorySegment size(long n) {
      return arena.allocateFrom(JAVA_INT, OpenBlas.size(op, n));
    }

    int info() {
      int value = info.get(JAVA_INT, 0);
      if (value < 0) {
        throw new BackendException(op + ": LAPACK refused argument " + -value);
      }
      return value;
    }

    /// A work space that asks how large it must be, with room for `integers` integers.
    Workspace query(long integers) {
      return new Workspace(
          arena.allocate(JAVA_DOUBLE),
          size(-1),
          arena.allocate(JAVA_INT, integers),
          arena.allocateFrom(JAVA_INT, -1));
    }

    /// The work space that the answer to a query asks for.
    Workspace allocate(Workspace query) {
      long reals = (long) query.reals().get(JAVA_DOUBLE, 0);
      int integers = query.integers().get(JAVA_INT, 0);
      return new Workspace(
          arena.allocate(8 * Math.max(1, reals), 64),
          size(reals),
          query.integers().byteSize() > 4
              ? query.integers()
              : arena.allocate(JAVA_INT, Math.max(1, integers)),
          arena.allocateFrom(JAVA_INT, integers));
    }

    /// Whether the call computed and did not only answer a query.
    boolean finished(Workspace work) {
      if (info() > 0) {
        throw new BackendException(op + ": LAPACK did not converge");
      }
      return work.realCount().get(JAVA_INT, 0) != -1;
    }

    @Override
    public void close() {
      arena.close();
    }
  }
}
