package org.modegpt.backend;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// The argument checks of one operation; every refusal is an {@link IllegalArgumentException} that
/// names the operation and the argument.
///
/// @param onDevice where the tensors of this backend live
/// @param user who uses the backend: cleared by {@link #close}, at the end of the operation
record Check(String op, boolean onDevice, AtomicReference<@Nullable Thread> user)
    implements AutoCloseable {

  static final DType[] REAL = {DType.F32, DType.F64};
  static final DType[] FLOATING = {DType.F32, DType.F64, DType.BF16, DType.F16};

  /// What casts write.
  static final DType[] CAST_TARGETS = {
    DType.F32, DType.F64, DType.BF16, DType.F16, DType.Q4_0, DType.Q8_0
  };

  static final DType[] ANY_FLOAT =
      Arrays.stream(DType.values()).filter(d -> d != DType.I32).toArray(DType[]::new);
  static final DType[] WEIGHT =
      Arrays.stream(ANY_FLOAT).filter(d -> d != DType.F64).toArray(DType[]::new);

  IllegalArgumentException refuse(String what) {
    return new IllegalArgumentException(op + ": " + what);
  }

  void that(boolean condition, String what) {
    if (!condition) {
      throw refuse(what);
    }
  }

  void that(boolean condition, Supplier<String> what) {
    if (!condition) {
      throw refuse(what.get());
    }
  }

  /// `t` is there, of one of the dtypes, lives where this backend computes, and its memory may be
  /// read by this thread.
  void input(String name, @Nullable Tensor t, DType... dtypes) {
    if (t == null) {
      throw refuse(name + " is null");
    }
    resident(name, t);
    for (DType dtype : dtypes) {
      if (t.dtype() == dtype) {
        return;
      }
    }
    throw refuse(
        name + " is " + t.describe() + ": its dtype must be one of " + Arrays.toString(dtypes));
  }

  void input(String name, @Nullable Tensor t, long rows, long cols, DType... dtypes) {
    input(name, t, dtypes);
    shape(name, t, rows, cols);
  }

  /// An optional `[1, cols]` F32 vector.
  void optionalVector(String name, @Nullable Tensor t, long cols) {
    if (t != null) {
      input(name, t, 1, cols, DType.F32);
    }
  }

  void shape(String name, Tensor t, long rows, long cols) {
    if (t.rows() != rows || t.cols() != cols) {
      throw refuse(
          name + " is " + t.describe() + ": its shape must be [" + rows + ", " + cols + "]");
    }
  }

  void square(String name, Tensor t) {
    that(t.rows() == t.cols(), () -> name + " is " + t.describe() + ": it must be square");
  }

  void squares(String name, Tensor t) {
    that(
        t.cols() > 0 && t.rows() % t.cols() == 0,
        () -> name + " is " + t.describe() + ": no pile of square matrices");
  }

  /// The host F64 matrix `t`, or its lower triangle, holds no NaN or infinite value: the iterations
  /// of a decomposition would not end, or end in nonsense.
  void finite(String name, Tensor t, boolean lowerTriangle) {
    for (long i = 0; !onDevice && i < t.rows(); i++) {
      long end = lowerTriangle ? i + 1 : t.cols();
      for (long j = 0; j < end; j++) {
        if (!Double.isFinite(t.get(i, j))) {
          throw refuse(name + "[" + i + ", " + j + "] is " + t.get(i, j));
        }
      }
    }
  }

  /// `t` may be written and shares no element with `others`.
  void output(String name, Tensor t, @Nullable Tensor... others) {
    writable(name, t);
    for (Tensor other : others) {
      if (other != null && overlap(t, other)) {
        throw refuse(name + " overlaps an input");
      }
    }
  }

  /// As {@link #output}, but `t` may also be exactly one of `others`.
  void outputInPlace(String name, Tensor t, Tensor... others) {
    writable(name, t);
    for (Tensor other : others) {
      boolean same = t.data().address() == other.data().address() && t.stride() == other.stride();
      if (!same && overlap(t, other)) {
        throw refuse(name + " overlaps an input without being the same tensor");
      }
    }
  }

  private void writable(String name, Tensor t) {
    that(!t.data().isReadOnly(), () -> name + " is read-only memory");
  }

  void resident(String name, Tensor t) {
    if (t.onDevice() != onDevice) {
      throw refuse(
          name
              + " lives "
              + (onDevice
                  ? "on the host: copy it to the device"
                  : "on a device: copy it to the host"));
    }
    accessible(name, t);
  }

  void accessible(String name, Tensor t) {
    MemorySegment data = t.data();
    that(data.scope().isAlive(), () -> name + " belongs to an arena that is closed");
    that(
        data.isAccessibleBy(Thread.currentThread()),
        () -> name + " belongs to an arena confined to another thread");
  }

  /// Whether two tensors share an element. Column views of one matrix interleave without sharing.
  static boolean overlap(Tensor a, Tensor b) {
    long startA = a.data().address();
    long startB = b.data().address();
    if (startA + a.spanBytes() <= startB
        || startB + b.spanBytes() <= startA
        || a.elements() == 0
        || b.elements() == 0) {
      return false;
    }
    if (a.dtype().quantised() || b.dtype().quantised()) {
      return true;
    }
    long rowA = a.rows() > 1 ? a.dtype().bytes(a.stride()) : 0;
    long rowB = b.rows() > 1 ? b.dtype().bytes(b.stride()) : 0;
    long row = Math.max(rowA, rowB);
    if (row == 0 || (rowA != 0 && rowB != 0 && rowA != rowB)) {
      return true;
    }
    long offset = Math.floorMod(startB - startA, row);
    return offset < a.dtype().bytes(a.cols()) || offset + b.dtype().bytes(b.cols()) > row;
  }

  @Override
  public void close() {
    user.set(null);
  }
}
