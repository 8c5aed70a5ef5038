package org.modegpt.calibrate;

import java.lang.foreign.Arena;
import java.util.stream.IntStream;
import org.modegpt.backend.Backend;
import org.modegpt.model.BlockTap;
import org.modegpt.model.LayerShape;
import org.modegpt.model.ModelConfig;
import org.modegpt.model.Residents;
import org.modegpt.model.StreamingPass;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Adds the activations of one block to its {@link LayerStatistics}. One per layer.
public final class StatisticsTap implements BlockTap, StreamingPass.LayerTap, AutoCloseable {

  /// Told of each finished part of a layer.
  public interface Listener {
    void part(int done, int total);
  }

  /// Sequences and queries of each whose attention is looked at for {@link
  /// LayerStatistics#logitCovariance}.
  private static final int LOGIT_SEQUENCES = 8;

  private static final int LOGIT_QUERIES = 128;

  private final Backend backend;
  private final ModelConfig config;
  private final Listener listener;
  private final Arena arena = Arena.ofShared();
  private final int tokens;
  private final boolean turning;
  private final int span;
  private final Tensor queries;
  private final Tensor before;
  private final LayerStatistics statistics;
  private int sequencesSeen;

  /// @param shape of the layer
  /// @param batch sequences that pass together, of `tokens` tokens each
  public StatisticsTap(
      Backend backend,
      ModelConfig config,
      LayerShape shape,
      int batch,
      int tokens,
      LayerStatistics statistics,
      Listener listener) {
    this.backend = backend;
    this.config = config;
    this.listener = listener;
    this.statistics = statistics;
    this.before = backend.allocate(arena, DType.F32, (long) batch * tokens, config.hiddenSize());
    this.tokens = tokens;
    this.turning = 2 * shape.pairs() == shape.qkDim();
    int window = shape.attention().window();
    this.span = window > 0 ? Math.min(window, tokens) : tokens;
    int count = Math.clamp((long) LOGIT_QUERIES * span / tokens, 1, span);
    this.queries = Residents.ints(backend, arena, sampled(span, count));
  }

  /// Positions spread evenly over `length`, the last among them.
  private static int[] sampled(int length, int count) {
    return IntStream.range(0, count).map(i -> (int) ((i + 1L) * length / count) - 1).toArray();
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
  public void unnormedQueriesAndKeys(Tensor q, Tensor k) {
    QueryKeySums.addUnnormed(backend, statistics.extra(), q, k);
  }

  @Override
  public void queriesAndKeys(Tensor q, Tensor k) {
    backend.columnEnergy(q, statistics.queryEnergy());
    backend.columnEnergy(k, statistics.keyEnergy());
    QueryKeySums.add(backend, statistics.extra(), q, k);
  }

  /// Sampled on the first sequences only: it costs as much as the rest of the layer. Only where
  /// whole heads turn. A layer with a window is looked at in pieces of its length, so that no query
  /// sees a key that it does not see in the model; a cap of the logits is left aside.
  @Override
  public void rotatedQueriesAndKeys(Tensor q, Tensor k) {
    for (long from = 0;
        turning && from < q.rows() && sequencesSeen < LOGIT_SEQUENCES;
        from += tokens) {
      for (long at = from; at + span <= from + tokens; at += span) {
        backend.logitCovariance(
            q.rows(at, at + span),
            k.rows(at, at + span),
            queries,
            config.heads(),
            config.kvHeads(),
            config.design().attentionScale(),
            statistics.logitCovariance());
      }
      sequencesSeen++;
    }
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
