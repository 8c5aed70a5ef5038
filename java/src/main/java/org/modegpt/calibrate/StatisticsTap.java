package org.modegpt.calibrate;

import java.lang.foreign.Arena;
import org.modegpt.backend.Backend;
import org.modegpt.model.BlockTap;
import org.modegpt.model.ModelConfig;
import org.modegpt.model.StreamingPass;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Adds the activations of one block to its {@link LayerStatistics}. Reused over layers.
final class StatisticsTap implements BlockTap, StreamingPass.LayerTap, AutoCloseable {

  /// Told of each finished part of a layer.
  interface Listener {
    void part(int done, int total);
  }

  private final Backend backend;
  private final ModelConfig config;
  private final Listener listener;
  private final Arena arena = Arena.ofShared();
  private final Tensor before;
  private LayerStatistics statistics;

  StatisticsTap(
      Backend backend, ModelConfig config, long maxRows, LayerStatistics first, Listener listener) {
    this.backend = backend;
    this.config = config;
    this.listener = listener;
    this.statistics = first;
    this.before = backend.allocate(arena, DType.F32, maxRows, config.hiddenSize());
  }

  /// From now on adds to `next`.
  void switchTo(LayerStatistics next) {
    statistics = next;
  }

  @Override
  public BlockTap activations() {
    return this;
  }

  @Override
  public void before(Tensor stream) {
    backend.copy(stream, before.rows(0, stream.rows()));
  }

  @Override
  public void after(Tensor stream) {
    backend.blockInfluence(before.rows(0, stream.rows()), stream, statistics.influence());
  }

  @Override
  public void progress(int done, int total) {
    listener.part(done, total);
  }

  @Override
  public void attentionInput(Tensor x) {
    backend.gram(x, statistics.attentionInput());
  }

  @Override
  public void queriesAndKeys(Tensor q, Tensor k) {
    backend.columnEnergy(q, statistics.queryEnergy());
    backend.columnEnergy(k, statistics.keyEnergy());
  }

  @Override
  public void headOutputs(Tensor z) {
    backend.headGram(z, config.heads(), statistics.headOutput());
  }

  @Override
  public void mlpInner(Tensor h) {
    backend.gram(h, statistics.mlpInner());
  }

  @Override
  public void close() {
    arena.close();
  }
}
