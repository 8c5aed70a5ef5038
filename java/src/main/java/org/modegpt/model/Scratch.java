package org.modegpt.model;

import java.lang.foreign.Arena;
import java.util.EnumMap;
import java.util.Map;
import org.modegpt.backend.Backend;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Reused buffers of a forward pass, one per purpose, grown when a larger one is asked for. Tensors
/// handed out are borrowed until the same buffer is asked for again.
final class Scratch implements AutoCloseable {

  enum Buffer {
    NORM,
    /// Input of an MLP that runs beside attention.
    MLP_NORM,
    /// What a norm of an output gives.
    OUTPUT_NORM,
    Q,
    K,
    V,
    /// Keys or values in the type of the cache.
    CACHED,
    /// Keys of many sequences, put one after another.
    GATHERED_K,
    GATHERED_V,
    HEADS,
    OUTPUT,
    GATE,
    UP,
    INNER,
    LOGITS
  }

  private record Held(Arena arena, Tensor tensor) {}

  private final Backend backend;
  private final Map<Buffer, Held> held = new EnumMap<>(Buffer.class);

  Scratch(Backend backend) {
    this.backend = backend;
  }

  /// A contiguous F32 `[rows, cols]` view; contents are undefined.
  Tensor get(Buffer buffer, long rows, long cols) {
    return get(buffer, DType.F32, rows, cols);
  }

  Tensor get(Buffer buffer, DType dtype, long rows, long cols) {
    long elements = Math.multiplyExact(rows, cols);
    Held current = held.get(buffer);
    if (current == null || current.tensor.dtype() != dtype || current.tensor.cols() < elements) {
      if (current != null) {
        backend.sync();
        current.arena.close();
      }
      Arena arena = Arena.ofShared();
      current = new Held(arena, backend.allocate(arena, dtype, 1, Math.max(elements, 1)));
      held.put(buffer, current);
    }
    return current.tensor.columns(0, elements).reshape(rows, cols);
  }

  @Override
  public void close() {
    held.values().forEach(h -> h.arena.close());
    held.clear();
  }
}
