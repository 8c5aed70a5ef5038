package org.modegpt.backend;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// An NVIDIA GPU: our kernels, cuBLAS for products and cuSOLVER for factorisations, all on one
/// stream. Device memory is freed with the arena it was allocated in, in the order of the stream,
/// so an arena may be closed while work that uses it is still queued.
final class CudaBackend extends NativeBackend {

  /// Up to this many rows a product is bound by reading the weights, which the kernel does once.
  private static final int FEW_ROWS = 8;

  /// Up to this many rows the kernel's tensor cores, which take weights as they are stored, are
  /// better than a product of weights that must be converted for it.
  private static final int SOME_ROWS = 64;

  /// Rows that join one float32 sum before it is added to float64 statistics.
  private static final long SUM_ROWS = 16384;

  /// Gram matrices are computed in this many bands, each up to the diagonal: 9/16 of the products.
  private static final int BANDS = 8;

  /// Up to this many columns a Gram matrix is one product.
  private static final long ONE_BAND = 1024;

  private static final int HOST_TO_DEVICE = 0;
  private static final int DEVICE_TO_HOST = 1;
  private static final int DEVICE_TO_DEVICE = 2;

  private final int device;
  private final Products products;
  private final MemorySegment stream;

  /// Of a side stream not before they are asked for: opening them takes time and device memory.
  private @Nullable CuBlas blas;

  private @Nullable CuSolver solver;

  /// Addresses of allocations that are not freed yet.
  private final Set<Long> live = ConcurrentHashMap.newKeySet();

  private final MemorySegment result = arena.allocate(16, 16);

  /// @throws BackendException when there is no driver or card, or one of NVIDIA's libraries is
  ///   missing
  static CudaBackend open(Kernels kernels, int device, Products products) {
    CudaBackend backend = new CudaBackend(kernels, device, products);
    try {
      backend.blas();
      backend.solver();
      return backend;
    } catch (RuntimeException e) {
      backend.close();
      throw e;
    }
  }

  private CudaBackend(Kernels kernels, int device, Products products) {
    super(kernels, device, 0, null);
    this.device = device;
    this.products = products;
    call("stream", () -> (int) kernels.stream.invokeExact(context, result));
    this.stream = result.get(ADDRESS, 0);
    int fast = products == Products.BF16 ? 1 : 0;
    call("setPrecision", () -> (int) kernels.setPrecision.invokeExact(context, fast));
  }

  private CuBlas blas() {
    CuBlas known = blas;
    if (known == null) {
      known = CuBlasBindings.open(() -> new FfmCuBlas(CudaLibraries.load().cublas, stream), stream);
      blas = known;
    }
    return known;
  }

  private CuSolver solver() {
    CuSolver known = solver;
    if (known == null) {
      known = new CuSolver(CudaLibraries.load().cusolver, this, stream);
      solver = known;
    }
    return known;
  }

  @Override
  public String name() {
    return "cuda:" + device;
  }

  @Override
  public String describe() {
    return super.describe()
        + "; cuBLAS by "
        + blas().name()
        + "; products in "
        + products.name().toLowerCase(java.util.Locale.ROOT);
  }

  @Override
  public boolean unifiedMemory() {
    return false;
  }

  @Override
  public Products products() {
    return products;
  }

  @Override
  public DType operandType() {
    return products == Products.BF16 ? DType.BF16 : DType.F32;
  }

  @Override
  public DType operandType(long rows) {
    return rows <= FEW_ROWS ? DType.F32 : operandType();
  }

  @Override
  public int passRows() {
    return (int) SUM_ROWS;
  }

  @Override
  public Backend sideStream() {
    return new CudaBackend(kernels, device, products);
  }

  @Override
  public long freeMemory() {
    MemorySegment free = result.asSlice(0, 8);
    MemorySegment total = result.asSlice(8, 8);
    call("memory", () -> (int) kernels.memory.invokeExact(context, free, total));
    return free.get(JAVA_LONG, 0);
  }

  // ---- memory

  @Override
  public Tensor allocate(Arena arena, DType dtype, long rows, long cols) {
    long bytes = Math.multiplyExact(rows, dtype.bytes(cols));
    call("allocate", () -> (int) kernels.alloc.invokeExact(context, bytes, result));
    long address = result.get(ADDRESS, 0).address();
    live.add(address);
    MemorySegment memory = Downcalls.owned(address, 0, arena, () -> free(address));
    return new Tensor(dtype, rows, cols, cols, memory, true);
  }

  /// Pinned; to be freed before this is closed.
  @Override
  public MemorySegment hostMemory(Arena arena, long bytes) {
    call("hostMemory", () -> (int) kernels.hostAlloc.invokeExact(context, bytes, result));
    MemorySegment pinned = result.get(ADDRESS, 0);
    return Downcalls.owned(
        pinned.address(),
        bytes,
        arena,
        () -> call("free", () -> (int) kernels.hostFree.invokeExact(context, pinned)));
  }

  private void free(long address) {
    if (live.remove(address)) {
      MemorySegment memory = MemorySegment.ofAddress(address);
      call("free", () -> (int) kernels.free.invokeExact(context, memory));
    }
  }

  @Override
  public void copy(Tensor source, Tensor destination) {
    if (source.elements() == 0) {
      return;
    }
    if (source.contiguous() && destination.contiguous()) {
      move(source, destination);
    } else if (source.onDevice() && destination.onDevice()) {
      copyRows(source, destination);
    } else if (destination.onDevice()) {
      try (Arena call = Arena.ofConfined()) {
        Tensor packed = Tensor.allocate(call, source.dtype(), source.rows(), source.cols());
        packed.copyFrom(source);
        if (destination.contiguous()) {
          move(packed, destination);
        } else {
          Tensor there = allocate(call, source.dtype(), source.rows(), source.cols());
          move(packed, there);
          copyRows(there, destination);
        }
      }
    } else {
      try (Arena call = Arena.ofConfined()) {
        Tensor there = source;
        if (!source.contiguous()) {
          there = allocate(call, source.dtype(), source.rows(), source.cols());
          copyRows(source, there);
        }
        if (destination.contiguous()) {
          move(there, destination);
        } else {
          Tensor packed = Tensor.allocate(call, source.dtype(), source.rows(), source.cols());
          move(there, packed);
          destination.copyFrom(packed);
        }
      }
    }
  }

  /// Both on the device, with gaps between rows.
  private void copyRows(Tensor source, Tensor destination) {
    if (source.dtype() == DType.F32 || source.dtype() == DType.F64) {
      cast(source, destination);
      return;
    }
    for (long i = 0; i < source.rows(); i++) {
      move(source.rows(i, i + 1), destination.rows(i, i + 1));
    }
  }

  /// Both without gaps.
  private void move(Tensor source, Tensor destination) {
    int kind =
        !destination.onDevice()
            ? DEVICE_TO_HOST
            : source.onDevice() ? DEVICE_TO_DEVICE : HOST_TO_DEVICE;
    long bytes = source.bytes();
    call(
        "copy",
        () ->
            (int)
                kernels.copy.invokeExact(context, destination.data(), source.data(), bytes, kind));
  }

  // ---- products

  @Override
  public void linear(Tensor x, Tensor w, @Nullable Tensor bias, Tensor y) {
    if (y.elements() == 0) {
      return;
    }
    if (x.cols() > 0 && (few(x) || asStored(x, w))) {
      super.linear(x, w, bias, y);
      return;
    }
    if (x.cols() == 0) {
      fillZero(y);
    } else {
      try (Arena call = Arena.ofConfined()) {
        product(false, true, operand(call, x), operand(call, w), 0, y);
      }
    }
    if (bias != null) {
      add(1, bias, y);
    }
  }

  @Override
  public void project(Tensor x, List<Projection> projections) {
    if (few(x) && x.cols() > 0 && projections.size() <= TOGETHER) {
      together(x, projections);
    } else {
      super.project(x, projections);
    }
  }

  private static boolean few(Tensor x) {
    return x.rows() <= FEW_ROWS && x.dtype() == DType.F32;
  }

  /// Whether some rows are multiplied by the kernel that reads weights of any type.
  private boolean asStored(Tensor x, Tensor w) {
    return x.rows() <= SOME_ROWS
        && w.dtype() != operandType()
        && x.cols() % 8 == 0
        && aligned(x)
        && (w.dtype().quantised() || aligned(w));
  }

  private static boolean aligned(Tensor t) {
    return t.data().address() % 16 == 0 && t.dtype().bytes(t.stride()) % 16 == 0;
  }

  /// `t` in the type of operands.
  private Tensor operand(Arena call, Tensor t) {
    return converted(call, t, operandType());
  }

  private Tensor converted(Arena call, Tensor t, DType dtype) {
    if (t.dtype() == dtype) {
      return t;
    }
    Tensor converted = allocate(call, dtype, t.rows(), t.cols());
    cast(t, converted);
    return converted;
  }

  /// `c = op(a) op(b) + beta c`, row-major, F32 sums.
  private void product(
      boolean transposeA, boolean transposeB, Tensor a, Tensor b, double beta, Tensor c) {
    int compute = products == Products.TF32 ? CuBlas.COMPUTE_TF32 : CuBlas.COMPUTE_F32;
    product(transposeA, transposeB, 1, a, b, beta, c, compute);
  }

  /// A row-major product is the transposed one, column-major.
  private void product(
      boolean transposeA,
      boolean transposeB,
      double alpha,
      Tensor a,
      Tensor b,
      double beta,
      Tensor c,
      int compute) {
    blas()
        .gemm(
            transposeB,
            transposeA,
            size("gemm", c.cols()),
            size("gemm", c.rows()),
            size("gemm", transposeA ? a.rows() : a.cols()),
            alpha,
            matrix(b),
            matrix(a),
            beta,
            matrix(c),
            1,
            compute);
  }

  private static CuBlas.Matrix matrix(Tensor t) {
    int type =
        switch (t.dtype()) {
          case F32 -> CuBlas.F32;
          case F64 -> CuBlas.F64;
          case BF16 -> CuBlas.BF16;
          default -> throw new IllegalArgumentException("no products of " + t.describe());
        };
    return new CuBlas.Matrix(t.data().address(), type, Math.max(1, size("product", t.stride())));
  }

  private static int size(String op, long n) {
    if (n > Integer.MAX_VALUE) {
      throw new IllegalArgumentException(
          op + ": a dimension of " + n + " is beyond the 2^31 - 1 of cuBLAS");
    }
    return (int) n;
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
    if (c.elements() == 0) {
      return;
    }
    long inner = transposeA ? a.rows() : a.cols();
    if (inner == 0) {
      if (beta == 0) {
        fillZero(c);
      } else if (beta != 1) {
        scale((float) beta, 0, c);
      }
      return;
    }
    int compute = c.dtype() == DType.F64 ? CuBlas.COMPUTE_F64 : CuBlas.COMPUTE_F32;
    product(transposeA, transposeB, alpha, a, b, beta, c, compute);
  }

  // ---- statistics: float32 sums of chunks of rows, added to float64

  @Override
  public void gram(Tensor x, Tensor c) {
    if (x.elements() == 0) {
      return;
    }
    try (Arena call = Arena.ofConfined()) {
      Tensor operand = operand(call, x);
      long n = x.cols();
      int bands = n <= ONE_BAND ? 1 : BANDS;
      for (long from = 0; from < x.rows(); from += sumRows()) {
        Tensor rows = operand.rows(from, Math.min(x.rows(), from + sumRows()));
        Bands.each(
            n,
            bands,
            (first, last) -> {
              Tensor sum = allocate(call, DType.F32, last - first, last);
              sum(rows.columns(first, last), rows.columns(0, last), sum);
              if (first > 0) {
                accumulate(sum.columns(0, first), false, c.rows(first, last).columns(0, first));
              }
              Tensor target = c.rows(first, last).columns(first, last);
              accumulate(sum.columns(first, last), true, target);
            });
      }
    }
  }

  /// `sum = xᵀ y`.
  private void sum(Tensor x, Tensor y, Tensor sum) {
    product(true, false, 1, x, y, 0, sum, CuBlas.COMPUTE_F32);
  }

  /// Float32 products of float32 operands err with the number of terms; bfloat16 ones err more by
  /// themselves.
  private long sumRows() {
    return operandType() == DType.BF16 ? SUM_ROWS : 512;
  }

  /// Operands stay float32, for one may be no activation; only TF32 and bfloat16 products round
  /// them, to TF32.
  @Override
  public void crossGram(Tensor x, Tensor y, Tensor c) {
    if (products == Products.F32 || x.elements() == 0 || y.elements() == 0) {
      super.crossGram(x, y, c);
      return;
    }
    try (Arena call = Arena.ofConfined()) {
      Tensor left = converted(call, x, DType.F32);
      Tensor right = converted(call, y, DType.F32);
      Tensor sum = allocate(call, DType.F32, c.rows(), c.cols());
      for (long from = 0; from < x.rows(); from += SUM_ROWS) {
        long to = Math.min(x.rows(), from + SUM_ROWS);
        Tensor a = left.rows(from, to);
        product(true, false, 1, a, right.rows(from, to), 0, sum, CuBlas.COMPUTE_TF32);
        accumulate(sum, false, c);
      }
    }
  }

  private void accumulate(Tensor x, boolean lower, Tensor c) {
    MemorySegment a = operand(0, x);
    MemorySegment b = operand(1, c);
    int flag = lower ? 1 : 0;
    call("accumulate", () -> (int) kernels.accumulate.invokeExact(context, a, flag, b));
  }

  @Override
  public void headGram(Tensor x, int heads, Tensor c) {
    if (operandType() != DType.BF16 || x.elements() == 0) {
      super.headGram(x, heads, c);
      return;
    }
    try (Arena call = Arena.ofConfined()) {
      Tensor operand = operand(call, x);
      int h = size("headGram", x.cols() / heads);
      Tensor sums = allocate(call, DType.F32, c.rows(), h);
      for (long from = 0; from < x.rows(); from += sumRows()) {
        Tensor rows = operand.rows(from, Math.min(x.rows(), from + sumRows()));
        CuBlas.Matrix head =
            new CuBlas.Matrix(
                rows.data().address(), CuBlas.BF16, size("headGram", rows.stride()), h);
        CuBlas.Matrix out = new CuBlas.Matrix(sums.data().address(), CuBlas.F32, h, (long) h * h);
        // Row-major [N, h] is column-major [h, N]; the result is symmetric.
        blas()
            .gemm(
                false,
                true,
                h,
                h,
                (int) rows.rows(),
                1,
                head,
                head,
                0,
                out,
                heads,
                CuBlas.COMPUTE_F32);
        accumulate(sums, false, c);
      }
    }
  }

  // ---- factorisations

  @Override
  public long cholesky(Tensor a) {
    if (a.rows() == 0) {
      return 0;
    }
    long failed = solver().cholesky(a);
    if (failed == 0) {
      Tensor diagonal = new Tensor(a.dtype(), a.rows(), 1, a.stride() + 1, a.data(), true);
      return countNonFinite(diagonal) > 0 ? 1 : 0; // NaN passes its test of the pivots
    }
    return failed;
  }

  @Override
  public void triangularSolve(Tensor l, boolean left, boolean transpose, Tensor b) {
    if (b.elements() == 0) {
      return;
    }
    blas()
        .triangularSolve(
            !left,
            true,
            transpose,
            size("triangularSolve", b.cols()),
            size("triangularSolve", b.rows()),
            matrix(l),
            matrix(b));
  }

  /// Rows up to which cuSOLVER's inverse is good enough.
  private static final long LIBRARY_ROWS = 512;

  @Override
  public void triangularInverse(Tensor l) {
    if (l.rows() > 0) {
      new BlockedInverse(this, solver()::triangularInverse, LIBRARY_ROWS).invert(l);
    }
  }

  @Override
  public void symmetricEigen(Tensor a, Tensor values) {
    if (a.rows() > 0) {
      solver().symmetricEigen(a, values);
    }
  }

  @Override
  public void svd(Tensor a, Tensor u, Tensor s, Tensor vt) {
    if (a.elements() > 0) {
      solver().svd(a, u, s, vt);
    }
  }

  /// What the kernels of many small matrices take.
  private static final int BATCHED_COLUMNS = 256;

  @Override
  public long[] choleskyBatch(Tensor a, Tensor inverse) {
    if (a.cols() > BATCHED_COLUMNS) {
      return super.choleskyBatch(a, inverse);
    }
    try (Arena call = Arena.ofConfined()) {
      Tensor failed = allocate(call, DType.I32, 1, a.rows() / a.cols());
      MemorySegment factor = operand(0, a);
      MemorySegment inverted = operand(1, inverse);
      MemorySegment flags = operand(2, failed);
      call(
          "choleskyBatch",
          () -> (int) kernels.choleskyBatch.invokeExact(context, factor, inverted, flags));
      return IntStream.of(ints(failed)).asLongStream().toArray();
    }
  }

  /// The values of an I32 tensor on the device; waits.
  int[] ints(Tensor t) {
    try (Arena call = Arena.ofConfined()) {
      Tensor host = Tensor.allocate(call, DType.I32, t.rows(), t.cols());
      copy(t, host);
      return host.toInts();
    }
  }

  @Override
  public void svdBatch(Tensor a, Tensor u, Tensor s, Tensor vt) {
    if (a.cols() > BATCHED_COLUMNS) {
      super.svdBatch(a, u, s, vt);
      return;
    }
    MemorySegment in = operand(0, a);
    MemorySegment left = operand(1, u);
    MemorySegment values = operand(2, s);
    MemorySegment right = operand(3, vt);
    call("svdBatch", () -> (int) kernels.svdBatch.invokeExact(context, in, left, values, right));
  }

  /// Frees what arenas have not freed yet: they may be closed later.
  @Override
  public void close() {
    if (solver != null) {
      solver.close();
    }
    if (blas != null) {
      blas.close();
    }
    Set.copyOf(live).forEach(this::free);
    super.close();
  }
}
