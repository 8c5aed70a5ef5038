package org.modegpt.model;

import java.lang.foreign.Arena;
import org.modegpt.backend.Backend;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Small moves between Java arrays and a back-end's memory.
public final class Residents {
  private Residents() {}

  /// `values` as an I32 `[1, n]` tensor of the back-end.
  public static Tensor ints(Backend backend, Arena arena, int... values) {
    return upload(backend, arena, Tensor.ofInts(arena, values));
  }

  /// A copy of `host` on the device; itself when it is there already or memory is unified.
  public static Tensor upload(Backend backend, Arena arena, Tensor host) {
    if (backend.unifiedMemory() || host.onDevice()) {
      return host;
    }
    Tensor device = backend.allocate(arena, host.dtype(), host.rows(), host.cols());
    backend.copy(host, device);
    return device;
  }

  /// `tensor`, of the host or the device, in another dtype; itself when it has that already.
  public static Tensor converted(Backend backend, Arena arena, Tensor tensor, DType dtype) {
    if (tensor.dtype() == dtype) {
      return tensor;
    }
    Tensor cast = backend.allocate(arena, dtype, tensor.rows(), tensor.cols());
    backend.cast(upload(backend, arena, tensor), cast);
    return cast;
  }

  /// A tensor of the device in F32: itself, or a conversion that lives as long as `arena`.
  public static Tensor single(Backend backend, Arena arena, Tensor tensor) {
    if (tensor.dtype() == DType.F32) {
      return tensor;
    }
    Tensor single = backend.allocate(arena, DType.F32, tensor.rows(), tensor.cols());
    backend.cast(tensor, single);
    return single;
  }

  /// A host copy (or, with unified memory, the tensor itself).
  public static Tensor download(Backend backend, Arena arena, Tensor tensor) {
    if (!tensor.onDevice()) {
      backend.sync();
      return tensor;
    }
    Tensor host = Tensor.allocate(arena, tensor.dtype(), tensor.rows(), tensor.cols());
    backend.copy(tensor, host);
    return host;
  }

  /// The elements of an F64 tensor.
  public static double[] doubles(Backend backend, Tensor tensor) {
    try (Arena arena = Arena.ofConfined()) {
      return download(backend, arena, tensor).toDoubles();
    }
  }

  /// The elements of an F32 tensor.
  public static float[] floats(Backend backend, Tensor tensor) {
    try (Arena arena = Arena.ofConfined()) {
      return download(backend, arena, tensor).toFloats();
    }
  }

  /// Token positions `0 .. tokens - 1`, once per sequence, as I32 `[1, batch * tokens]`.
  public static Tensor positions(Backend backend, Arena arena, int from, int tokens, int batch) {
    int[] positions = new int[Math.multiplyExact(tokens, batch)];
    for (int i = 0; i < positions.length; i++) {
      positions[i] = from + i % tokens;
    }
    return ints(backend, arena, positions);
  }

  /// A zero-filled F64 tensor of the back-end.
  public static Tensor zeros(Backend backend, Arena arena, long rows, long cols) {
    Tensor t = backend.allocate(arena, DType.F64, rows, cols);
    backend.fillZero(t);
    return t;
  }
}
