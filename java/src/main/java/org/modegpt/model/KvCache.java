package org.modegpt.model;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import org.modegpt.backend.Backend;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Keys and values of the tokens seen so far of one or several sequences, per layer, in the type
/// that the back-end multiplies. Lives as long as the arena it was made in.
public final class KvCache {
  /// What a cache in host memory may take where its size is free to choose.
  static final long HOST_BYTES = 1L << 30;

  private final Backend backend;
  private final List<Tensor> keys = new ArrayList<>();
  private final List<Tensor> values = new ArrayList<>();
  private final int capacity;
  private final int[] lengths;

  /// @param capacity most tokens of each sequence
  public KvCache(Backend backend, Arena arena, ModelConfig config, int sequences, int capacity) {
    this.backend = backend;
    this.capacity = capacity;
    this.lengths = new int[sequences];
    long rows = Math.multiplyExact(sequences, capacity);
    DType dtype = backend.operandType();
    for (LayerShape shape : config.shapes()) {
      keys.add(backend.allocate(arena, dtype, rows, (long) config.kvHeads() * shape.qkDim()));
      values.add(backend.allocate(arena, dtype, rows, (long) config.kvHeads() * shape.voDim()));
    }
  }

  /// How many sequences of `capacity` tokens take `bytes` bytes.
  static long sequences(Backend backend, ModelConfig config, long bytes, int capacity) {
    long perToken =
        config.shapes().stream()
            .mapToLong(shape -> (long) config.kvHeads() * (shape.qkDim() + shape.voDim()))
            .map(backend.operandType()::bytes)
            .sum();
    return bytes / Math.max(1, capacity * perToken);
  }

  /// Most tokens of a sequence.
  public int capacity() {
    return capacity;
  }

  public int sequences() {
    return lengths.length;
  }

  /// Tokens held of the first sequence; the next one stands at this position.
  public int length() {
    return lengths[0];
  }

  /// The same of any sequence.
  public int length(int sequence) {
    return lengths[sequence];
  }

  /// Forgets the first sequence's tokens from position `newLength` on.
  public void truncate(int newLength) {
    truncate(0, newLength);
  }

  /// The same of any sequence.
  public void truncate(int sequence, int newLength) {
    int length = lengths[sequence];
    if (newLength < 0 || newLength > length) {
      throw new IllegalArgumentException("cannot truncate " + length + " tokens to " + newLength);
    }
    lengths[sequence] = newLength;
  }

  /// Makes a sequence the first `tokens` tokens of another.
  void copy(int from, int to, int tokens) {
    if (tokens > lengths[from]) {
      throw new IllegalArgumentException("cannot copy " + tokens + " of " + lengths[from]);
    }
    for (List<Tensor> part : List.of(keys, values)) {
      for (Tensor rows : part) {
        backend.copy(
            rows.rows(row(from), row(from) + tokens), rows.rows(row(to), row(to) + tokens));
      }
    }
    lengths[to] = tokens;
  }

  void advance(int sequence, int tokens) {
    lengths[sequence] = Math.addExact(lengths[sequence], tokens);
  }

  /// The row of a sequence's first token.
  int row(int sequence) {
    return sequence * capacity;
  }

  /// `[sequences * capacity, kvHeads * qkDim]`
  Tensor keys(int layer) {
    return keys.get(layer);
  }

  /// `[sequences * capacity, kvHeads * voDim]`
  Tensor values(int layer) {
    return values.get(layer);
  }
}
