package org.modegpt.model;

import java.lang.foreign.Arena;
import java.util.HashMap;
import java.util.Map;
import org.modegpt.backend.Backend;
import org.modegpt.model.Transformer.Residence;
import org.modegpt.tensor.DType;

/// The blocks of a model for work that comes back to them: on a device with memory of its own they
/// stay there once they were loaded, if there is room for all. One serial stream, like the
/// back-end.
public final class DenseBlocks implements AutoCloseable {
  private final Backend backend;
  private final Transformer model;
  private final Arena arena = Arena.ofShared();
  private final Map<Integer, BlockWeights> kept = new HashMap<>();
  private final boolean keep;

  public DenseBlocks(Backend backend, Transformer model) {
    this.backend = backend;
    this.model = model;
    this.keep = !backend.unifiedMemory() && fits();
  }

  /// Device memory that the decomposition of a block takes at most: eight square matrices of its
  /// MLP's width.
  public static long decompositionBytes(ModelConfig config) {
    return 8 * DType.F64.bytes((long) config.mlpWidth() * config.mlpWidth());
  }

  /// Half as much as the blocks themselves, and what a decomposition takes, must stay free.
  private boolean fits() {
    int layers = model.config().layers();
    long blocks = 0;
    for (int layer = 0; layer < layers; layer++) {
      blocks += model.bytes(backend, layer, Residence.F32);
    }
    return backend.freeMemory() > blocks + blocks / 2 + decompositionBytes(model.config());
  }

  /// The weights of a block; they live as long as this or, where there is no room, as `owner`.
  public BlockWeights get(int layer, Arena owner) {
    if (!keep) {
      return model.block(backend, owner, layer, Residence.F32);
    }
    return kept.computeIfAbsent(layer, l -> model.block(backend, arena, l, Residence.F32));
  }

  /// All of them one after another; those that do not stay are loaded ahead.
  public Ahead<BlockWeights> forth() {
    return keep ? kept(false) : model.blocksAhead(backend);
  }

  /// The same from the last to the first: number 0 is the last.
  public Ahead<BlockWeights> back() {
    return keep ? kept(true) : model.blocksBack(backend);
  }

  private Ahead<BlockWeights> kept(boolean back) {
    int layers = model.config().layers();
    return new Ahead<>(
        backend, null, layers, (_, owner, i) -> get(back ? layers - 1 - i : i, owner));
  }

  @Override
  public void close() {
    backend.sync();
    arena.close();
  }
}
