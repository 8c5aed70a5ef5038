package org.modegpt.model;

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
    AttentionShape shape =
        new AttentionShape(
            batch,
            tokens,
            tokens,
            tokens,
            config.heads(),
            config.kvHeads(),
            0,
            config.attentionScale(),
            0f);
    long rows = x.rows();
    int groups = config.kvHeads();
    Tensor k = scratch.get(Buffer.K, rows, (long) groups * w.shape().qkDim());
    Tensor v = scratch.get(Buffer.V, rows, (long) groups * w.shape().voDim());
    attention(w, x, positions, k, v, k, v, shape, tap);
    mlp(w, x, tap);
  }

  /// The next tokens of one sequence whose earlier keys and values are in the cache, in place.
  void runCached(BlockWeights w, Tensor x, Tensor positions, KvCache cache, int layer) {
    long from = cache.length();
    long keys = from + x.rows();
    AttentionShape shape =
        new AttentionShape(
            1,
            x.rows(),
            keys,
            cache.capacity(),
            config.heads(),
            config.kvHeads(),
            0,
            config.attentionScale(),
            0f);
    Tensor allKeys = cache.keys(layer);
    Tensor allValues = cache.values(layer);
    attention(
        w,
        x,
        positions,
        allKeys.rows(from, keys),
        allValues.rows(from, keys),
        allKeys,
        allValues,
        shape,
        BlockTap.NONE);
    mlp(w, x, BlockTap.NONE);
  }

  private void attention(
      BlockWeights w,
      Tensor x,
      Tensor positions,
      Tensor newKeys,
      Tensor newValues,
      Tensor keys,
      Tensor values,
      AttentionShape shape,
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
    backend.attention(q, keys, values, shape, heads);
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
