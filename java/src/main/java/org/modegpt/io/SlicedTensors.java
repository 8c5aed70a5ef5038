package org.modegpt.io;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.SequencedSet;
import org.modegpt.UserException;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// The parameters of a model cut out of the tensors of a file by {@link TensorSlice}s: matrices
/// `[out, in]`, nothing fused, in the stored type. Rows that lie together are a view, others a
/// copy.
public final class SlicedTensors implements TensorSource {
  private final TensorSource file;
  private final SequencedMap<String, TensorSlice> slices;

  /// @param slices by parameter name; each names a tensor of `file`
  public SlicedTensors(TensorSource file, SequencedMap<String, TensorSlice> slices) {
    this.file = file;
    this.slices = new LinkedHashMap<>(slices);
  }

  @Override
  public SequencedSet<String> names() {
    return Collections.unmodifiableSequencedSet(slices.sequencedKeySet());
  }

  @Override
  public TensorInfo info(String name) {
    TensorSlice slice = slice(name);
    TensorInfo stored = file.info(slice.tensor());
    if (slice.identity()) {
      return new TensorInfo(name, stored.dtype(), stored.shape(), stored.bytes());
    }
    List<Long> shape = new ArrayList<>(stored.shape());
    if (slice.transposed() && shape.size() == 2) {
      Collections.reverse(shape);
    }
    if (slice.rows() != null) {
      shape.set(0, (long) slice.rows().length);
    }
    DType dtype = slice.subtract() == 0 ? DType.valueOf(stored.dtype()) : DType.F32;
    return TensorInfo.of(name, dtype, shape);
  }

  @Override
  public Tensor get(String name, Arena arena) {
    TensorSlice slice = slice(name);
    Tensor stored = file.get(slice.tensor(), arena);
    if (slice.identity()) {
      return stored;
    }
    boolean vector = file.info(slice.tensor()).shape().size() < 2;
    boolean columns = vector || slice.transposed();
    int[] rows = slice.rows();
    if (rows != null) {
      requireInside(slice, columns ? stored.cols() : stored.rows(), rows);
      boolean together = rows[rows.length - 1] - rows[0] == rows.length - 1 && ascending(rows);
      if (together) {
        stored =
            columns
                ? stored.columns(rows[0], rows[0] + (long) rows.length)
                : stored.rows(rows[0], rows[0] + (long) rows.length);
      } else {
        stored = columns ? gatherColumns(stored, arena, rows) : gatherRows(stored, arena, rows);
      }
    }
    if (slice.transposed() && !vector) {
      stored = transposed(slice, stored, arena);
    }
    return slice.subtract() == 0 ? stored : minus(stored, slice.subtract(), arena);
  }

  private static boolean ascending(int... rows) {
    for (int i = 1; i < rows.length; i++) {
      if (rows[i] != rows[i - 1] + 1) {
        return false;
      }
    }
    return true;
  }

  private void requireInside(TensorSlice slice, long outputs, int... rows) {
    for (int row : rows) {
      if (row < 0 || row >= outputs) {
        throw new UserException(
            "tensor '%s' has %d outputs, which does not fit the configuration: the checkpoint is damaged"
                .formatted(slice.tensor(), outputs));
      }
    }
  }

  private static Tensor gatherRows(Tensor x, Arena arena, int... rows) {
    Tensor out = Tensor.allocate(arena, x.dtype(), rows.length, x.cols());
    for (int from = 0; from < rows.length; ) {
      int to = from + 1;
      while (to < rows.length && rows[to] == rows[to - 1] + 1) {
        to++;
      }
      out.rows(from, to).copyFrom(x.rows(rows[from], rows[from] + (long) (to - from)));
      from = to;
    }
    return out;
  }

  private static Tensor gatherColumns(Tensor x, Arena arena, int... columns) {
    long size = x.dtype().bytes(1);
    Tensor out = Tensor.allocate(arena, x.dtype(), x.rows(), columns.length);
    for (long row = 0; row < x.rows(); row++) {
      for (int j = 0; j < columns.length; j++) {
        MemorySegment.copy(
            x.data(),
            (row * x.stride() + columns[j]) * size,
            out.data(),
            (row * columns.length + j) * size,
            size);
      }
    }
    return out;
  }

  private static Tensor transposed(TensorSlice slice, Tensor x, Arena arena) {
    Tensor out = Tensor.allocate(arena, x.dtype(), x.cols(), x.rows());
    MemorySegment from = x.data();
    MemorySegment to = out.data();
    long n = x.rows();
    switch (x.dtype()) {
      case F32 -> {
        for (long i = 0; i < n; i++) {
          for (long j = 0; j < x.cols(); j++) {
            int value = from.get(JAVA_INT_UNALIGNED, (i * x.stride() + j) * 4);
            to.set(JAVA_INT_UNALIGNED, (j * n + i) * 4, value);
          }
        }
      }
      case F16, BF16 -> {
        for (long i = 0; i < n; i++) {
          for (long j = 0; j < x.cols(); j++) {
            short value = from.get(JAVA_SHORT_UNALIGNED, (i * x.stride() + j) * 2);
            to.set(JAVA_SHORT_UNALIGNED, (j * n + i) * 2, value);
          }
        }
      }
      default ->
          throw new UserException(
              "tensor '%s' is %s, which cannot be transposed; convert the model to F32, F16 or BF16"
                  .formatted(slice.tensor(), x.dtype()));
    }
    return out;
  }

  private static Tensor minus(Tensor x, float value, Arena arena) {
    if (x.dtype() != DType.F32) {
      throw new UserException("norm weights are %s, not F32".formatted(x.dtype()));
    }
    Tensor out = Tensor.allocate(arena, DType.F32, x.rows(), x.cols());
    for (long i = 0; i < x.rows(); i++) {
      for (long j = 0; j < x.cols(); j++) {
        out.set(i, j, (float) x.get(i, j) - value);
      }
    }
    return out;
  }

  @Override
  public MemorySegment stored(String name) {
    return file.stored(slice(name).tensor());
  }

  private TensorSlice slice(String name) {
    TensorSlice slice = slices.get(name);
    if (slice == null) {
      throw new UserException(
          "there is no tensor for '%s': the checkpoint is incomplete or of another architecture"
              .formatted(name));
    }
    return slice;
  }

  @Override
  public Map<String, String> metadata() {
    return file.metadata();
  }

  @Override
  public void close() {
    file.close();
  }
}
