package org.modegpt.model;

import java.util.List;
import org.modegpt.backend.AttentionShape;
import org.modegpt.backend.Backend;
import org.modegpt.model.Scratch.Buffer;
import org.modegpt.tensor.Tensor;

/// The arithmetic of one decoder block: pre-normalised attention with grouped queries and rotary
/// embedding, then a gated MLP, each added to the residual stream. One serial stream, like the
/// back-end it runs on.
public final class BlockForward implements AutoCloseable {
  private final Backend backend;
  private final ModelConfig config;
  private final Scratch scratch;

  public BlockForward(Backend backend, ModelConfig config) {
    this.backend = backend;
    this.config = config;
    this.scratch = new Scratch(backend);
  }

  /// Whole sequences, causal, in place.
  ///
  /// @param x residual stream F32 `[batch * tokens, d]`
  /// @param positions I32 `[1, batch * tokens]`
  public void run(BlockWeights w, Tensor x, Tensor positions, int batch, BlockTap tap) {
    long tokens = x.rows() / batch;
    AttentionShape shape = shape(batch, tokens, tokens, tokens);
    Tensor k = newKeys(w, x.rows());
    Tensor v = newValues(w, x.rows());
    attention(w, x, positions, k, v, (q, out) -> backend.attention(q, k, v, shape, out), tap);
    mlp(w, x, tap);
  }

  /// The next tokens of one sequence whose earlier keys and values are in the cache, in place.
  void runCached(BlockWeights w, Tensor x, Tensor positions, KvCache cache, int layer) {
    long from = cache.length();
    long keys = from + x.rows();
    AttentionShape shape = shape(1, x.rows(), keys, cache.capacity());
    Tensor allKeys = cache.keys(layer);
    Tensor allValues = cache.values(layer);
    attention(
        w,
        x,
        positions,
        allKeys.rows(from, keys),
        allValues.rows(from, keys),
        (q, out) -> backend.attention(q, allKeys, allValues, shape, out),
        BlockTap.NONE);
    mlp(w, x, BlockTap.NONE);
  }

  /// Tokens of several sequences that lie one after another in `x`, in place. Row `p` of `keys` and
  /// `values` belongs to position `p` of the sequence at hand: a span finds there what it
  /// continues, and leaves there its own.
  ///
  /// @param keys F32 `[capacity, kvHeads * qkDim]`
  /// @param values F32 `[capacity, kvHeads * voDim]`
  void runSpans(
      BlockWeights w,
      Tensor x,
      Tensor positions,
      List<Packing.Span> spans,
      Tensor keys,
      Tensor values) {
    Tensor k = newKeys(w, x.rows());
    Tensor v = newValues(w, x.rows());
    attention(
        w,
        x,
        positions,
        k,
        v,
        (q, out) -> {
          for (Packing.Span span : spans) {
            long from = span.row();
            long to = from + span.tokens();
            long end = (long) span.position() + span.tokens();
            backend.copy(k.rows(from, to), keys.rows(span.position(), end));
            backend.copy(v.rows(from, to), values.rows(span.position(), end));
            AttentionShape shape = shape(1, span.tokens(), end, keys.rows());
            backend.attention(q.rows(from, to), keys, values, shape, out.rows(from, to));
          }
        },
        BlockTap.NONE);
    mlp(w, x, BlockTap.NONE);
  }

  private AttentionShape shape(long batch, long queries, long keys, long capacity) {
    return new AttentionShape(
        batch,
        queries,
        keys,
        capacity,
        config.heads(),
        config.kvHeads(),
        0,
        config.attentionScale(),
        0f);
  }

  private Tensor newKeys(BlockWeights w, long rows) {
    return scratch.get(Buffer.K, rows, (long) config.kvHeads() * w.shape().qkDim());
  }

  private Tensor newValues(BlockWeights w, long rows) {
    return scratch.get(Buffer.V, rows, (long) config.kvHeads() * w.shape().voDim());
  }

  /// Attention itself: rotated queries to what the heads emit.
  private interface Heads {
    void run(Tensor queries, Tensor out);
  }

  private void attention(
      BlockWeights w,
      Tensor x,
      Tensor positions,
      Tensor newKeys,
      Tensor newValues,
      Heads attend,
      BlockTap tap) {
    long rows = x.rows();
    Tensor norm = scratch.get(Buffer.NORM, rows, x.cols());
    backend.rmsNorm(x, w.get(Role.ATTENTION_NORM), config.normEps(), norm);
    tap.attentionInput(norm);
    Tensor q = scratch.get(Buffer.Q, rows, (long) config.heads() * w.shape().qkDim());
    backend.linear(norm, w.get(Role.Q), w.optional(Role.Q_BIAS), q);
    backend.linear(norm, w.get(Role.K), w.optional(Role.K_BIAS), newKeys);
    backend.linear(norm, w.get(Role.V), w.optional(Role.V_BIAS), newValues);
    tap.queriesAndKeys(q, newKeys);
    backend.rope(q, positions, w.frequencies(), config.heads());
    backend.rope(newKeys, positions, w.frequencies(), config.kvHeads());
    tap.rotatedQueriesAndKeys(q, newKeys);
    Tensor heads = scratch.get(Buffer.HEADS, rows, (long) config.heads() * w.shape().voDim());
    attend.run(q, heads);
    tap.headOutputs(heads);
    Tensor output = scratch.get(Buffer.OUTPUT, rows, x.cols());
    backend.linear(heads, w.get(Role.O), w.optional(Role.O_BIAS), output);
    tap.attentionOutput(output, x);
    backend.add(1f, output, x);
  }

  private void mlp(BlockWeights w, Tensor x, BlockTap tap) {
    long rows = x.rows();
    Tensor norm = scratch.get(Buffer.NORM, rows, x.cols());
    backend.rmsNorm(x, w.get(Role.MLP_NORM), config.normEps(), norm);
    Tensor gate = scratch.get(Buffer.GATE, rows, w.shape().mlpWidth());
    Tensor up = scratch.get(Buffer.UP, rows, w.shape().mlpWidth());
    backend.linear(norm, w.get(Role.GATE), w.optional(Role.GATE_BIAS), gate);
    backend.linear(norm, w.get(Role.UP), w.optional(Role.UP_BIAS), up);
    backend.gatedActivation(gate, up, config.activation(), gate);
    tap.mlpInner(gate);
    Tensor output = scratch.get(Buffer.OUTPUT, rows, x.cols());
    backend.linear(gate, w.get(Role.DOWN), w.optional(Role.DOWN_BIAS), output);
    tap.mlpOutput(output, x);
    backend.add(1f, output, x);
  }

  @Override
  public void close() {
    scratch.close();
  }
}
