package org.modegpt.model;

import java.util.List;
import org.modegpt.backend.AttentionShape;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backend.Projection;
import org.modegpt.model.Design.QkNorm;
import org.modegpt.model.Scratch.Buffer;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// The arithmetic of one decoder block: attention with grouped queries, then an MLP, each
/// normalised before or after and added to the residual stream. What there is of norms, rotary
/// embedding, gate and biases follows from the {@link Design} and the weights. One serial stream,
/// like the back-end it runs on.
public final class BlockForward implements AutoCloseable {
  private final Backend backend;
  private final ModelConfig config;
  private final Design design;
  private final Norms norms;
  private final Scratch scratch;

  public BlockForward(Backend backend, ModelConfig config) {
    this.backend = backend;
    this.config = config;
    this.design = config.design();
    this.norms = new Norms(backend, design);
    this.scratch = new Scratch(backend);
  }

  /// Whole sequences, causal, in place.
  ///
  /// @param x residual stream F32 `[batch * tokens, d]`
  /// @param positions I32 `[1, batch * tokens]`
  public void run(BlockWeights w, Tensor x, Tensor positions, int batch, BlockTap tap) {
    long tokens = x.rows() / batch;
    AttentionShape shape = shape(config, w, batch, tokens);
    Tensor k = newKeys(w, x.rows());
    Tensor v = newValues(w, x.rows());
    block(w, x, positions, k, v, (q, out) -> backend.attention(q, k, v, shape, out), tap);
  }

  /// The first half of {@link #run} where the MLP follows attention: adds the output of attention
  /// to the stream.
  public void attention(BlockWeights w, Tensor x, Tensor positions, int batch, BlockTap tap) {
    long tokens = x.rows() / batch;
    AttentionShape shape = shape(config, w, batch, tokens);
    Tensor k = newKeys(w, x.rows());
    Tensor v = newValues(w, x.rows());
    attention(w, x, positions, k, v, (q, out) -> backend.attention(q, k, v, shape, out), tap);
  }

  /// The second half of {@link #run}: adds the output of the MLP to the stream.
  public void mlp(BlockWeights w, Tensor x, BlockTap tap) {
    mlp(w, x, normed(w, Role.MLP_NORM, Buffer.NORM, x), tap);
  }

  /// The next tokens of sequences whose earlier keys and values are in the cache, in place.
  void runCached(BlockWeights w, Tensor x, DecodePass pass, KvCache cache, int layer) {
    Tensor keys = cache.keys(layer);
    Tensor values = cache.values(layer);
    boolean together = pass.singles() == 0 && pass.others().size() == 1;
    long end = together ? pass.others().getFirst().cacheRow() + pass.others().getFirst().end() : 0;
    // The rows of a single sequence are computed where they belong.
    boolean inPlace = together && keys.dtype() == DType.F32;
    Tensor k = inPlace ? keys.rows(end - x.rows(), end) : newKeys(w, x.rows());
    Tensor v = inPlace ? values.rows(end - x.rows(), end) : newValues(w, x.rows());
    block(
        w,
        x,
        pass.positions(),
        k,
        v,
        (q, out) -> {
          if (together && !inPlace) {
            backend.cast(k, keys.rows(end - x.rows(), end));
            backend.cast(v, values.rows(end - x.rows(), end));
          } else if (!together) {
            keep(k, pass.places(), keys);
            keep(v, pass.places(), values);
          }
          int singles = pass.singles();
          if (singles > 0) {
            AttentionShape shape = shape(w, singles, 1, pass.longest(), 0);
            backend.attention(
                q.rows(0, singles), keys, values, shape, pass.spans(), out.rows(0, singles));
          }
          for (DecodePass.Piece piece : pass.others()) {
            long from = piece.row();
            long to = from + piece.tokens();
            long first = piece.cacheRow();
            long last = first + cache.capacity();
            AttentionShape shape = shape(w, 1, piece.tokens(), piece.end(), cache.capacity());
            backend.attention(
                q.rows(from, to),
                keys.rows(first, last),
                values.rows(first, last),
                shape,
                out.rows(from, to));
          }
        },
        BlockTap.NONE);
  }

  /// Puts rows of F32 to their places in a cache.
  private void keep(Tensor rows, Tensor places, Tensor cache) {
    Tensor kept = rows;
    if (cache.dtype() != rows.dtype()) {
      kept = scratch.get(Buffer.CACHED, cache.dtype(), rows.rows(), rows.cols());
      backend.cast(rows, kept);
    }
    backend.scatterRows(kept, places, cache);
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
    block(
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
            AttentionShape shape = shape(w, 1, span.tokens(), end, keys.rows());
            backend.attention(q.rows(from, to), keys, values, shape, out.rows(from, to));
          }
        },
        BlockTap.NONE);
  }

  /// {@link #runSpans} with what each span sees put together first.
  ///
  /// @param keys F32 `[path + chunk rows, kvHeads * qkDim]`, the store of {@link GatheredChunk}
  /// @param values F32 `[path + chunk rows, kvHeads * voDim]`
  void runGathered(
      BlockWeights w,
      Tensor x,
      Tensor positions,
      GatheredChunk chunk,
      int path,
      Tensor keys,
      Tensor values) {
    Tensor k = keys.rows(path, path + x.rows());
    Tensor v = values.rows(path, path + x.rows());
    block(
        w,
        x,
        positions,
        k,
        v,
        (q, out) -> {
          for (GatheredChunk.Group group : chunk.groups()) {
            Tensor seen = gathered(Buffer.GATHERED_K, keys, group.keys());
            Tensor emitted = gathered(Buffer.GATHERED_V, values, group.keys());
            long rows = (long) group.to() - group.from();
            Tensor spans = group.spans();
            AttentionShape shape =
                spans == null
                    ? shape(w, 1, rows, group.longest(), group.longest())
                    : shape(w, rows, 1, group.longest(), 0);
            backend.attention(
                q.rows(group.from(), group.to()),
                seen,
                emitted,
                shape,
                spans,
                out.rows(group.from(), group.to()));
          }
          renew(keys, chunk);
          renew(values, chunk);
        },
        BlockTap.NONE);
  }

  private Tensor gathered(Buffer buffer, Tensor store, Tensor rows) {
    Tensor gathered = scratch.get(buffer, rows.cols(), store.cols());
    backend.gatherRows(store, rows, gathered);
    return gathered;
  }

  /// Brings the path of the store to the end of the chunk.
  private void renew(Tensor store, GatheredChunk chunk) {
    Tensor path = gathered(Buffer.GATHERED_K, store, chunk.path());
    backend.copy(path, store.rows(chunk.pathFrom(), chunk.pathFrom() + path.rows()));
  }

  /// Of whole sequences.
  static AttentionShape shape(ModelConfig config, BlockWeights w, long batch, long tokens) {
    return shape(config, w, batch, tokens, tokens, tokens);
  }

  private AttentionShape shape(BlockWeights w, long batch, long queries, long keys, long capacity) {
    return shape(config, w, batch, queries, keys, capacity);
  }

  private static AttentionShape shape(
      ModelConfig config, BlockWeights w, long batch, long queries, long keys, long capacity) {
    return new AttentionShape(
        batch,
        queries,
        keys,
        capacity,
        config.heads(),
        config.kvHeads(),
        w.shape().attention().window(),
        config.design().attentionScale(),
        config.design().attentionSoftcap());
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

  private void block(
      BlockWeights w,
      Tensor x,
      Tensor positions,
      Tensor newKeys,
      Tensor newValues,
      Heads attend,
      BlockTap tap) {
    if (design.parallel()) {
      Tensor mlpInput = normed(w, Role.MLP_NORM, Buffer.MLP_NORM, x);
      attention(w, x, positions, newKeys, newValues, attend, tap);
      mlp(w, x, mlpInput, tap);
    } else {
      attention(w, x, positions, newKeys, newValues, attend, tap);
      mlp(w, x, tap);
    }
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
    Tensor input = normed(w, Role.ATTENTION_NORM, Buffer.NORM, x);
    tap.attentionInput(input);
    Tensor q = scratch.get(Buffer.Q, rows, (long) config.heads() * w.shape().qkDim());
    backend.project(
        input,
        List.of(
            new Projection(w.get(Role.Q), w.optional(Role.Q_BIAS), q),
            new Projection(w.get(Role.K), w.optional(Role.K_BIAS), newKeys),
            new Projection(w.get(Role.V), w.optional(Role.V_BIAS), newValues)));
    if (design.qkNorm() != QkNorm.NONE) {
      tap.unnormedQueriesAndKeys(q, newKeys);
      LayerAttention layer = w.shape().attention();
      boolean whole = w.shape().qkDim() == config.headDim();
      norms.applyToHeads(q, w.get(Role.Q_NORM), config.heads(), layer.queryNormEps(), whole);
      norms.applyToHeads(newKeys, w.get(Role.K_NORM), config.kvHeads(), layer.keyNormEps(), whole);
    }
    tap.queriesAndKeys(q, newKeys);
    Tensor frequencies = w.frequencies();
    if (frequencies != null) {
      backend.rope(q, positions, frequencies, config.heads());
      backend.rope(newKeys, positions, frequencies, config.kvHeads());
    }
    tap.rotatedQueriesAndKeys(q, newKeys);
    long width = (long) config.heads() * w.shape().voDim();
    Tensor heads = scratch.get(Buffer.HEADS, backend.operandType(rows), rows, width);
    attend.run(q, heads);
    tap.headOutputs(heads);
    Tensor output = scratch.get(Buffer.OUTPUT, rows, x.cols());
    backend.linear(heads, w.get(Role.O), w.optional(Role.O_BIAS), output);
    tap.attentionOutput(output, x);
    backend.add(1f, normed(w, Role.ATTENTION_OUTPUT_NORM, Buffer.OUTPUT_NORM, output), x);
  }

  private void mlp(BlockWeights w, Tensor x, Tensor input, BlockTap tap) {
    long rows = x.rows();
    Tensor inner = scratch.get(Buffer.UP, rows, w.shape().mlpWidth());
    Projection up = new Projection(w.get(Role.UP), w.optional(Role.UP_BIAS), inner);
    if (design.gated()) {
      Tensor gate = scratch.get(Buffer.GATE, rows, w.shape().mlpWidth());
      backend.project(
          input, List.of(up, new Projection(w.get(Role.GATE), w.optional(Role.GATE_BIAS), gate)));
      if (backend.operandType(rows) != inner.dtype()) {
        inner = scratch.get(Buffer.INNER, backend.operandType(rows), rows, w.shape().mlpWidth());
      }
      backend.gatedActivation(gate, up.output(), design.activation(), inner);
    } else {
      backend.project(input, List.of(up));
      backend.activation(inner, design.activation());
    }
    tap.mlpInner(inner);
    Tensor output = scratch.get(Buffer.OUTPUT, rows, x.cols());
    backend.linear(inner, w.get(Role.DOWN), w.optional(Role.DOWN_BIAS), output);
    tap.mlpOutput(output, x);
    backend.add(1f, normed(w, Role.MLP_OUTPUT_NORM, Buffer.OUTPUT_NORM, output), x);
  }

  /// What the norm of this role makes of `x`, in `buffer`; `x` itself where blocks have no such
  /// norm.
  private Tensor normed(BlockWeights w, Role norm, Buffer buffer, Tensor x) {
    if (!design.norms().contains(norm)) {
      return x;
    }
    boolean operand = buffer != Buffer.OUTPUT_NORM;
    DType dtype = operand ? backend.operandType(x.rows()) : DType.F32;
    Tensor y = scratch.get(buffer, dtype, x.rows(), x.cols());
    Tensor bias = design.layerNorm() ? w.get(norm.shift()) : null;
    norms.apply(x, w.get(norm), bias, y);
    return y;
  }

  @Override
  public void close() {
    scratch.close();
  }
}
