package org.modegpt.backend.ops;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.SplittableRandom;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// One tensor argument of an {@link OpCase}.
///
/// @param padding elements between the end of a row and the start of the next
public record Operand(Role role, DType dtype, long rows, long cols, long padding, Fill fill) {

  /// What an operation may do with an operand.
  public enum Role {
    /// Must come back unchanged.
    IN,
    /// Starts as NaN; every element must be written.
    OUT,
    /// Starts with values that count.
    INOUT,
    /// May be destroyed.
    SCRATCH
  }

  private static final byte GAP = -1; // all bits set is NaN in every floating dtype

  public static Operand in(DType dtype, long rows, long cols, Fill fill) {
    return new Operand(Role.IN, dtype, rows, cols, 0, fill);
  }

  public static Operand out(DType dtype, long rows, long cols) {
    return new Operand(Role.OUT, dtype, rows, cols, 0, (t, random) -> {});
  }

  public static Operand inout(DType dtype, long rows, long cols, Fill fill) {
    return new Operand(Role.INOUT, dtype, rows, cols, 0, fill);
  }

  public static Operand scratch(DType dtype, long rows, long cols, Fill fill) {
    return new Operand(Role.SCRATCH, dtype, rows, cols, 0, fill);
  }

  public Operand padded(long elements) {
    return new Operand(role, dtype, rows, cols, dtype.quantised() ? 0 : elements, fill);
  }

  /// A host tensor with this operand's values, which ends with its last element; gaps between rows
  /// hold NaN.
  Tensor allocate(Arena arena, long seed) {
    long stride = cols + padding;
    long bytes = rows == 0 || cols == 0 ? 0 : dtype.bytes((rows - 1) * stride) + dtype.bytes(cols);
    MemorySegment memory =
        arena.allocate(Math.max(bytes, 1), dtype.quantised() ? 2 : dtype.blockBytes());
    memory.fill(GAP);
    Tensor t = new Tensor(dtype, rows, cols, stride, memory, false);
    fill.fill(t, new SplittableRandom(seed));
    return t;
  }

  /// Whether the gaps between the rows of a tensor made by {@link #allocate} are as they were.
  static boolean gapsIntact(Tensor t) {
    long row = t.dtype().bytes(t.stride());
    long used = t.dtype().bytes(t.cols());
    if (t.cols() == 0) {
      return true;
    }
    for (long i = 0; i + 1 < t.rows(); i++) {
      for (long at = i * row + used; at < (i + 1) * row; at++) {
        if (t.data().get(JAVA_BYTE, at) != GAP) {
          return false;
        }
      }
    }
    return true;
  }

  @Override
  public String toString() {
    return dtype.label() + "[" + rows + "," + cols + (padding > 0 ? "+" + padding : "") + "]";
  }
}
