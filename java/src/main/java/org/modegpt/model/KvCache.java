package org.modegpt.model;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import org.modegpt.backend.Backend;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Keys and values of the tokens seen so far, per layer; F32, for one sequence. Lives as long as
/// the arena it was made in.
public final class KvCache {
  private final List<Tensor> keys = new ArrayList<>();
  private final List<Tensor> values = new ArrayList<>();
  private final int capacity;
  private int length;

  public KvCache(Backend backend, Arena arena, ModelConfig config, int capacity) {
    this.capacity = capacity;
    for (LayerShape shape : config.shapes()) {
      keys.add(
          backend.allocate(arena, DType.F32, capacity, (long) config.kvHeads() * shape.qkDim()));
      values.add(
          backend.allocate(arena, DType.F32, capacity, (long) config.kvHeads() * shape.voDim()));
    }
  }

  public int capacity() {
    return capacity;
  }

  /// Tokens held; the next one stands at this position.
  public int length() {
    return length;
  }

  /// Forgets the tokens from position `newLength` on.
  public void truncate(int newLength) {
    if (newLength < 0 || newLength > length) {
      throw new IllegalArgumentException("cannot truncate " + length + " tokens to " + newLength);
    }
    length = newLength;
  }

  void advance(int tokens) {
    length = Math.addExact(length, tokens);
  }

  Tensor keys(int layer) {
    return keys.get(layer);
  }

  Tensor values(int layer) {
    return values.get(layer);
  }
}
