package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.DoubleSupplier;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Bands;
import org.modegpt.model.Residents;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Scratch matrices in a back-end's memory, and the compositions over {@link Backend} that the
/// decompositions share.
///
/// Scratch is one block of memory cut into pieces and taken back as a whole by {@link #reset()};
/// after the first block of a model it has its final size. One serial stream, like the back-end.
final class Workspace implements AutoCloseable {
  /// Pieces start at multiples of 64 bytes.
  private static final long ALIGNMENT = 8;

  final Backend backend;
  private Memory slabMemory = new Memory();
  private Memory callMemory = new Memory();
  private final Map<Class<?>, Lasting> lasting = new HashMap<>();
  private final Memory keptMemory = new Memory();
  private @Nullable Memory making;
  private boolean keepLasting;
  private @Nullable Tensor slab;
  private long used;
  private long live;
  private long wanted;

  Workspace(Backend backend) {
    this.backend = backend;
  }

  /// Ends the life of every scratch tensor. What did not fit into the block of memory since the
  /// last reset makes it larger.
  void reset() {
    backend.sync();
    callMemory.close();
    callMemory = new Memory();
    if (wanted > (slab == null ? 0 : slab.cols())) {
      slabMemory.close();
      slabMemory = new Memory();
      slab = backend.allocate(slabMemory.arena, DType.F64, 1, wanted);
    }
    used = 0;
    live = 0;
    wanted = 0;
  }

  /// Runs `work` and takes back every scratch tensor made meanwhile.
  double scoped(DoubleSupplier work) {
    long usedBefore = used;
    long liveBefore = live;
    Memory outer = callMemory;
    callMemory = new Memory();
    try {
      return work.getAsDouble();
    } finally {
      backend.sync();
      callMemory.close();
      callMemory = outer;
      used = usedBefore;
      live = liveBefore;
    }
  }

  /// A contiguous F64 `[rows, cols]`, contents undefined, until the next {@link #reset()}.
  Tensor matrix(long rows, long cols) {
    if (making != null) {
      return backend.allocate(making.arena, DType.F64, rows, cols);
    }
    long elements = Math.multiplyExact(rows, cols);
    long padded = Math.ceilDiv(Math.max(elements, 1), ALIGNMENT) * ALIGNMENT;
    live += padded;
    wanted = Math.max(wanted, live);
    if (slab == null || used + padded > slab.cols()) {
      return backend.allocate(callMemory.arena, DType.F64, rows, cols);
    }
    Tensor piece = slab.columns(used, used + padded);
    used += padded;
    return new Tensor(DType.F64, rows, cols, cols, piece.data(), piece.onDevice());
  }

  Tensor zeros(long rows, long cols) {
    Tensor t = matrix(rows, cols);
    backend.fillZero(t);
    return t;
  }

  /// From now on {@link #lasting} keeps what it made last of every type, at the price of its
  /// memory.
  void keepLasting() {
    keepLasting = true;
  }

  /// What depends on two tensors alone. Where it is asked for again with the same two, and is kept,
  /// it is not made again.
  ///
  /// @param make scratch tensors made meanwhile live as long as what it gives
  @SuppressWarnings("ReferenceEquality") // equal tensors may have been filled anew meanwhile
  <T> T lasting(Class<T> type, Tensor a, Tensor b, Supplier<T> make) {
    if (!keepLasting) {
      return make.get();
    }
    Lasting known = lasting.get(type);
    if (known != null && known.a == a && known.b == b) {
      return type.cast(known.value);
    }
    if (known != null) {
      lasting.remove(type);
      known.memory.close();
    }
    Memory memory = new Memory();
    try {
      T made = make(memory, make);
      lasting.put(type, new Lasting(a, b, made, memory));
      return made;
    } catch (RuntimeException e) {
      memory.close();
      throw e;
    }
  }

  /// Whether callers may remember what they make by {@link #keep}.
  boolean keeps() {
    return keepLasting;
  }

  /// Makes what is kept until this is closed, with the scratch tensors made meanwhile.
  <T> T keep(Supplier<T> make) {
    return make(keptMemory, make);
  }

  private <T> T make(Memory memory, Supplier<T> make) {
    Memory before = making;
    making = memory;
    try {
      return make.get();
    } finally {
      making = before;
    }
  }

  private record Lasting(Tensor a, Tensor b, Object value, Memory memory) {}

  /// An F64 copy.
  Tensor doubles(Tensor source) {
    Tensor t = matrix(source.rows(), source.cols());
    backend.cast(source, t);
    return t;
  }

  Tensor copy(Tensor source) {
    Tensor t = matrix(source.rows(), source.cols());
    backend.copy(source, t);
    return t;
  }

  /// `op(a) op(b)`.
  Tensor product(Tensor a, boolean transposeA, Tensor b, boolean transposeB) {
    Tensor c = matrix(transposeA ? a.cols() : a.rows(), transposeB ? b.rows() : b.cols());
    backend.gemm(transposeA, transposeB, 1, a, b, 0, c);
    return c;
  }

  /// Bands that a symmetric product is computed in, each up to the diagonal.
  private static final int BANDS = 8;

  /// `xᵀ x` in full; about half the work of a product.
  ///
  /// @param lower whether x is lower triangular, with zeros above: half of that again
  Tensor gram(Tensor x, boolean lower) {
    long n = x.cols();
    Tensor c = matrix(n, n);
    Bands.each(
        n,
        BANDS,
        (from, to) -> {
          Tensor rows = lower ? x.rows(from, x.rows()) : x;
          Tensor target = c.rows(from, to).columns(0, to);
          backend.gemm(true, false, 1, rows.columns(from, to), rows.columns(0, to), 0, target);
        });
    backend.mirrorLower(c);
    return c;
  }

  /// The sum of `a ∘ b`, of contiguous tensors.
  double dot(Tensor a, Tensor b) {
    Tensor sum = matrix(1, 1);
    backend.gemm(false, true, 1, a.reshape(1, a.elements()), b.reshape(1, b.elements()), 0, sum);
    return Residents.doubles(backend, sum)[0];
  }

  /// The columns of `x` in `index`.
  Tensor columns(Tensor x, int... index) {
    Tensor y = matrix(x.rows(), index.length);
    backend.gatherColumns(x, index(index), y);
    return y;
  }

  Tensor index(int... values) {
    return Residents.ints(backend, callMemory.arena, values);
  }

  /// Copies the rows of `x` in `index` into `y`.
  void rows(Tensor x, int[] index, Tensor y) {
    backend.gatherRows(x, index(index), y);
  }

  /// The rows of a weight matrix, or the entries of a bias, in `index`: a copy in `owner`, in its
  /// own dtype.
  Tensor kept(Arena owner, Tensor weight, int... index) {
    boolean bias = weight.rows() == 1;
    Tensor result =
        backend.allocate(
            owner, weight.dtype(), bias ? 1 : index.length, bias ? index.length : weight.cols());
    if (bias) {
      rows(weight.reshape(weight.cols(), 1), index, result.reshape(index.length, 1));
    } else {
      rows(weight, index, result);
    }
    return result;
  }

  /// A symmetric matrix in full, from its lower triangle.
  void mirror(Tensor lower, Tensor full) {
    backend.copy(lower, full);
    backend.mirrorLower(full);
  }

  void clearAboveDiagonal(Tensor l) {
    backend.clearUpper(l);
  }

  double[] diagonal(Tensor square) {
    return diagonals(List.of(square))[0];
  }

  /// The diagonals of square matrices of one size.
  double[][] diagonals(List<Tensor> squares) {
    int n = Math.toIntExact(squares.getFirst().rows());
    Tensor all = matrix((long) squares.size() * n, 1);
    double[][] diagonals = new double[squares.size()][];
    for (int i = 0; i < diagonals.length; i++) {
      backend.copy(diagonalView(squares.get(i)), all.rows((long) i * n, (i + 1L) * n));
    }
    double[] values = Residents.doubles(backend, all);
    for (int i = 0; i < diagonals.length; i++) {
      diagonals[i] = Arrays.copyOfRange(values, i * n, (i + 1) * n);
    }
    return diagonals;
  }

  void addToDiagonal(Tensor square, double value) {
    Tensor v = matrix(1, 1);
    backend.copy(
        Residents.upload(
            backend, callMemory.arena, Tensor.ofDoubles(callMemory.arena, 1, 1, value)),
        v);
    backend.add(1f, v, diagonalView(square));
  }

  /// The diagonal as a column: consecutive elements are one row and one column apart.
  private static Tensor diagonalView(Tensor square) {
    return new Tensor(
        square.dtype(), square.rows(), 1, square.stride() + 1, square.data(), square.onDevice());
  }

  Tensor diagonalMatrix(double... values) {
    return scaling(values.length, values.length, values);
  }

  /// `[rows, cols]`, zero but for `values` at the start of the diagonal.
  Tensor scaling(long rows, long cols, double... values) {
    Tensor host = Tensor.allocate(callMemory.arena, DType.F64, rows, cols);
    for (int i = 0; i < values.length; i++) {
      host.set(i, i, values[i]);
    }
    return Residents.upload(backend, callMemory.arena, host);
  }

  @Override
  public void close() {
    backend.sync();
    callMemory.close();
    lasting.values().forEach(l -> l.memory.close());
    keptMemory.close();
    slabMemory.close();
  }

  private static final class Memory implements AutoCloseable {
    final Arena arena = Arena.ofShared();

    @Override
    public void close() {
      arena.close();
    }
  }
}
