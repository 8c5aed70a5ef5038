package org.modegpt.tensor;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/// A row-major matrix over native memory: an immutable view that does not own its memory (the arena that allocated the
/// segment does). A vector is a matrix of one row. `stride` is the distance between rows in elements.
///
/// The constructor is the one place that checks bounds: a host tensor never spans more bytes than its segment has, and
/// views are checked against their parent, so kernels may trust shapes. Device tensors carry a segment of size zero:
/// reading them from Java throws, and their size was checked where the device memory was allocated.
///
/// @param data native memory (never a heap segment); element `(0, 0)` is at its start
/// @param onDevice whether `data` is an address in accelerator memory
public record Tensor(DType dtype, long rows, long cols, long stride, MemorySegment data, boolean onDevice) {

  public Tensor {
    Objects.requireNonNull(dtype, "dtype");
    Objects.requireNonNull(data, "data");
    if (rows < 0 || cols < 0 || stride < cols) {
      throw new IllegalArgumentException("bad shape: " + rows + " x " + cols + ", stride " + stride);
    }
    if (dtype.quantised() && stride != cols) {
      throw new IllegalArgumentException("a " + dtype + " tensor cannot have a row stride");
    }
    if (!data.isNative()) {
      throw new IllegalArgumentException("tensor data must be native memory, not a heap array");
    }
    long bytes = span(dtype, rows, cols, stride);
    if (!onDevice && bytes > data.byteSize()) {
      throw new IllegalArgumentException(
          rows + " x " + cols + " " + dtype + " needs " + bytes + " bytes, the segment has " + data.byteSize());
    }
  }

  private static long span(DType dtype, long rows, long cols, long stride) {
    if (rows == 0 || cols == 0) {
      return 0;
    }
    return Math.addExact(Math.multiplyExact(rows - 1, dtype.bytes(stride)), dtype.bytes(cols));
  }

  /// A contiguous host tensor over `data`.
  public static Tensor host(DType dtype, long rows, long cols, MemorySegment data) {
    return new Tensor(dtype, rows, cols, cols, data, false);
  }

  /// A new zero-filled, 64-byte aligned host tensor that lives as long as `arena`.
  public static Tensor allocate(Arena arena, DType dtype, long rows, long cols) {
    long bytes = Math.max(span(dtype, rows, cols, cols), 1);
    return host(dtype, rows, cols, arena.allocate(bytes, 64));
  }

  /// A one-row host tensor with a copy of `values`.
  public static Tensor ofFloats(Arena arena, long rows, long cols, float... values) {
    Tensor t = allocate(arena, DType.F32, rows, cols);
    MemorySegment.copy(values, 0, t.data, JAVA_FLOAT_UNALIGNED, 0, Math.toIntExact(rows * cols));
    return t;
  }

  public static Tensor ofDoubles(Arena arena, long rows, long cols, double... values) {
    Tensor t = allocate(arena, DType.F64, rows, cols);
    MemorySegment.copy(values, 0, t.data, JAVA_DOUBLE_UNALIGNED, 0, Math.toIntExact(rows * cols));
    return t;
  }

  /// A `[1, n]` I32 host tensor with a copy of `values`.
  public static Tensor ofInts(Arena arena, int... values) {
    Tensor t = allocate(arena, DType.I32, 1, values.length);
    MemorySegment.copy(values, 0, t.data, JAVA_INT_UNALIGNED, 0, values.length);
    return t;
  }

  /// Rows `from` (inclusive) to `to` (exclusive), sharing memory.
  public Tensor rows(long from, long to) {
    Objects.checkFromToIndex(from, to, rows);
    return new Tensor(dtype, to - from, cols, stride, slice(Math.multiplyExact(from, dtype.bytes(stride))), onDevice);
  }

  /// Columns `from` (inclusive) to `to` (exclusive), sharing memory; not for quantised types.
  public Tensor columns(long from, long to) {
    Objects.checkFromToIndex(from, to, cols);
    if (dtype.quantised()) {
      throw new IllegalArgumentException("a " + dtype + " tensor has no column views");
    }
    return new Tensor(dtype, rows, to - from, stride, slice(dtype.bytes(from)), onDevice);
  }

  private MemorySegment slice(long offset) {
    if (onDevice) {
      return MemorySegment.ofAddress(data.address() + offset);
    }
    return data.asSlice(Math.min(offset, data.byteSize()));
  }

  /// The same memory as another shape; needs a contiguous tensor.
  public Tensor reshape(long newRows, long newCols) {
    if (stride != cols || Math.multiplyExact(newRows, newCols) != elements()) {
      throw new IllegalArgumentException("cannot view " + rows + " x " + cols + " as " + newRows + " x " + newCols);
    }
    return new Tensor(dtype, newRows, newCols, newCols, data, onDevice);
  }

  public long elements() {
    return Math.multiplyExact(rows, cols);
  }

  /// Bytes of the elements, without gaps between rows.
  public long bytes() {
    return dtype.bytes(elements());
  }

  /// Bytes from the first to the end of the last element, gaps included.
  public long spanBytes() {
    return span(dtype, rows, cols, stride);
  }

  public boolean contiguous() {
    return stride == cols || rows <= 1;
  }

  public boolean sameShape(Tensor other) {
    return rows == other.rows && cols == other.cols;
  }

  /// Element of a host F32 or F64 tensor.
  public double get(long row, long col) {
    long at = index(row, col);
    return switch (dtype) {
      case F32 -> data.get(JAVA_FLOAT_UNALIGNED, at * 4);
      case F64 -> data.get(JAVA_DOUBLE_UNALIGNED, at * 8);
      case I32 -> data.get(JAVA_INT_UNALIGNED, at * 4);
      default -> throw new IllegalArgumentException("get on " + dtype + ": cast it first");
    };
  }

  public void set(long row, long col, double value) {
    long at = index(row, col);
    switch (dtype) {
      case F32 -> data.set(JAVA_FLOAT_UNALIGNED, at * 4, (float) value);
      case F64 -> data.set(JAVA_DOUBLE_UNALIGNED, at * 8, value);
      case I32 -> data.set(JAVA_INT_UNALIGNED, at * 4, (int) value);
      default -> throw new IllegalArgumentException("set on " + dtype + ": cast it first");
    }
  }

  private long index(long row, long col) {
    return Math.addExact(
        Math.multiplyExact(Objects.checkIndex(row, rows), stride), Objects.checkIndex(col, cols));
  }

  /// A copy of a host F32 tensor, row by row.
  public float[] toFloats() {
    require(DType.F32);
    float[] out = new float[Math.toIntExact(elements())];
    for (long i = 0; i < rows; i++) {
      MemorySegment.copy(data, JAVA_FLOAT_UNALIGNED, i * stride * 4, out, Math.toIntExact(i * cols), (int) cols);
    }
    return out;
  }

  /// A copy of a host F64 tensor, row by row.
  public double[] toDoubles() {
    require(DType.F64);
    double[] out = new double[Math.toIntExact(elements())];
    for (long i = 0; i < rows; i++) {
      MemorySegment.copy(data, JAVA_DOUBLE_UNALIGNED, i * stride * 8, out, Math.toIntExact(i * cols), (int) cols);
    }
    return out;
  }

  /// A copy of a host I32 tensor, row by row.
  public int[] toInts() {
    require(DType.I32);
    int[] out = new int[Math.toIntExact(elements())];
    for (long i = 0; i < rows; i++) {
      MemorySegment.copy(data, JAVA_INT_UNALIGNED, i * stride * 4, out, Math.toIntExact(i * cols), (int) cols);
    }
    return out;
  }

  /// Copies the elements of `source` (host, same dtype and shape) into this host tensor.
  public void copyFrom(Tensor source) {
    if (source.dtype != dtype || !sameShape(source) || onDevice || source.onDevice) {
      throw new IllegalArgumentException("copyFrom " + source.describe() + " into " + describe());
    }
    for (long i = 0; i < rows; i++) {
      MemorySegment.copy(
          source.data, i * dtype.bytes(source.stride), data, i * dtype.bytes(stride), dtype.bytes(cols));
    }
  }

  /// The bytes of a contiguous host tensor.
  public MemorySegment asBytes() {
    if (onDevice || !contiguous()) {
      throw new IllegalArgumentException("no byte view of " + describe());
    }
    return data.asSlice(0, spanBytes());
  }

  private void require(DType wanted) {
    if (dtype != wanted) {
      throw new IllegalArgumentException("wanted a " + wanted + " tensor, got " + dtype);
    }
    if (onDevice) {
      data.get(JAVA_BYTE, 0); // throws: device memory has size zero
    }
  }

  /// `F32 [2048, 576]`, for messages.
  public String describe() {
    return dtype + " [" + rows + ", " + cols + "]" + (onDevice ? " on the device" : "");
  }
}
