package org.modegpt.model;

import java.lang.foreign.Arena;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.modegpt.backend.Backend;
import org.modegpt.model.Design.QkNorm;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// The gradient of a loss on its way back through a decoder block: {@link BlockForward} in reverse,
/// in float32, with respect to activations only. What the way back needs of the way forth is
/// computed again from the block's input. One serial stream, like the back-end it runs on.
public final class BlockBackward {
  private final Backend backend;
  private final ModelConfig config;
  private final Design design;
  private final Norms norms;

  public BlockBackward(Backend backend, ModelConfig config) {
    this.backend = backend;
    this.config = config;
    this.design = config.design();
    this.norms = new Norms(backend, design);
  }

  /// Whole sequences.
  ///
  /// @param x the block's input, F32 `[batch * tokens, d]`
  /// @param positions I32 `[1, batch * tokens]`
  /// @param gradient of the loss at the block's output, F32 like `x`; becomes that at its input
  /// @param atMlp is shown the gradient at the output of the MLP, before a norm of it; borrowed
  public void run(
      BlockWeights w,
      Tensor x,
      Tensor positions,
      int batch,
      Tensor gradient,
      Consumer<Tensor> atMlp) {
    try (Arena arena = Arena.ofShared()) {
      Pass pass = new Pass(arena, w, positions, batch);
      Attention attention = pass.attention(x);
      Tensor middle = x;
      if (!design.parallel()) {
        middle = pass.like(x);
        backend.copy(x, middle);
        backend.add(1f, pass.normed(Role.ATTENTION_OUTPUT_NORM, attention.output), middle);
      }
      Tensor throughMlp = pass.mlp(middle, gradient, atMlp);
      if (design.parallel()) {
        Tensor throughAttention = pass.attentionBackward(x, attention, gradient);
        backend.add(1f, throughAttention, gradient);
        backend.add(1f, throughMlp, gradient);
      } else {
        backend.add(1f, throughMlp, gradient);
        backend.add(1f, pass.attentionBackward(x, attention, gradient), gradient);
      }
      backend.sync();
    }
  }

  /// What attention leaves for the way back.
  ///
  /// @param rawQ queries before their norm; `q` itself without one
  /// @param q rotated
  private record Attention(Tensor rawQ, Tensor rawK, Tensor q, Tensor k, Tensor v, Tensor output) {}

  /// One block and one batch.
  private final class Pass {
    private final Arena arena;
    private final BlockWeights w;
    private final Tensor positions;
    private final int batch;

    Pass(Arena arena, BlockWeights w, Tensor positions, int batch) {
      this.arena = arena;
      this.w = w;
      this.positions = positions;
      this.batch = batch;
    }

    Attention attention(Tensor x) {
      Tensor input = normed(Role.ATTENTION_NORM, x);
      Tensor rawQ = linear(input, Role.Q, Role.Q_BIAS);
      Tensor rawK = linear(input, Role.K, Role.K_BIAS);
      Tensor v = linear(input, Role.V, Role.V_BIAS);
      Tensor q = rawQ;
      Tensor k = rawK;
      if (design.qkNorm() != QkNorm.NONE) {
        q = copy(rawQ);
        k = copy(rawK);
        LayerAttention layer = w.shape().attention();
        norms.applyToHeads(q, w.get(Role.Q_NORM), config.heads(), layer.queryNormEps(), shared());
        norms.applyToHeads(k, w.get(Role.K_NORM), config.kvHeads(), layer.keyNormEps(), shared());
      }
      turn(q, k, w.frequencies());
      Tensor heads =
          backend.allocate(arena, DType.F32, x.rows(), (long) config.heads() * w.shape().voDim());
      backend.attention(q, k, v, BlockForward.shape(config, w, batch, x.rows() / batch), heads);
      return new Attention(rawQ, rawK, q, k, v, linear(heads, Role.O, Role.O_BIAS));
    }

    /// The gradient at the block's input by way of attention.
    Tensor attentionBackward(Tensor x, Attention a, Tensor gradient) {
      Tensor dout = normBackward(Role.ATTENTION_OUTPUT_NORM, a.output, gradient);
      Tensor dheads = through(dout, Role.O);
      Tensor dq = like(a.q);
      Tensor dk = like(a.k);
      Tensor dv = like(a.v);
      backend.attentionBackward(
          a.q,
          a.k,
          a.v,
          BlockForward.shape(config, w, batch, x.rows() / batch),
          dheads,
          dq,
          dk,
          dv);
      turn(dq, dk, opposite(w.frequencies()));
      if (design.qkNorm() != QkNorm.NONE) {
        LayerAttention layer = w.shape().attention();
        norms.backToHeads(
            a.rawQ, w.get(Role.Q_NORM), config.heads(), layer.queryNormEps(), shared(), dq);
        norms.backToHeads(
            a.rawK, w.get(Role.K_NORM), config.kvHeads(), layer.keyNormEps(), shared(), dk);
      }
      Tensor dinput = through(dq, Role.Q);
      through(dk, Role.K, 1, dinput);
      through(dv, Role.V, 1, dinput);
      return normBackward(Role.ATTENTION_NORM, x, dinput);
    }

    /// The gradient at the stream before the MLP by way of it.
    Tensor mlp(Tensor x, Tensor gradient, Consumer<Tensor> atMlp) {
      Tensor input = normed(Role.MLP_NORM, x);
      Tensor up = linear(input, Role.UP, Role.UP_BIAS);
      Tensor gate = design.gated() ? linear(input, Role.GATE, Role.GATE_BIAS) : null;
      Tensor dout = gradient;
      if (design.norms().contains(Role.MLP_OUTPUT_NORM)) {
        Tensor inner = copy(up);
        if (gate == null) {
          backend.activation(inner, design.activation());
        } else {
          backend.gatedActivation(gate, up, design.activation(), inner);
        }
        Tensor output = linear(inner, Role.DOWN, Role.DOWN_BIAS);
        dout = normBackward(Role.MLP_OUTPUT_NORM, output, gradient);
      }
      atMlp.accept(dout);
      Tensor dinner = through(dout, Role.DOWN);
      if (gate == null) {
        backend.activationBackward(up, null, design.activation(), dinner, up, null);
      } else {
        backend.activationBackward(gate, up, design.activation(), dinner, gate, up);
      }
      Tensor dinput = through(up, Role.UP);
      if (gate != null) {
        through(gate, Role.GATE, 1, dinput);
      }
      return normBackward(Role.MLP_NORM, x, dinput);
    }

    private boolean shared() {
      return w.shape().qkDim() == config.headDim();
    }

    private void turn(Tensor q, Tensor k, @Nullable Tensor frequencies) {
      if (frequencies != null) {
        backend.rope(q, positions, frequencies, config.heads());
        backend.rope(k, positions, frequencies, config.kvHeads());
      }
    }

    /// A rotation's gradient is rotated back.
    private @Nullable Tensor opposite(@Nullable Tensor frequencies) {
      if (frequencies == null) {
        return null;
      }
      Tensor negative = copy(frequencies);
      backend.scale(-1f, 0f, negative);
      return negative;
    }

    private Tensor normed(Role norm, Tensor x) {
      if (!design.norms().contains(norm)) {
        return x;
      }
      Tensor y = like(x);
      norms.apply(x, w.get(norm), design.layerNorm() ? w.get(norm.shift()) : null, y);
      return y;
    }

    private Tensor normBackward(Role norm, Tensor x, Tensor dy) {
      if (!design.norms().contains(norm)) {
        return dy;
      }
      Tensor dx = like(x);
      norms.back(x, w.get(norm), dy, dx);
      return dx;
    }

    private Tensor linear(Tensor x, Role matrix, Role bias) {
      Tensor y = backend.allocate(arena, DType.F32, x.rows(), w.get(matrix).rows());
      backend.linear(x, w.get(matrix), w.optional(bias), y);
      return y;
    }

    private Tensor through(Tensor dy, Role matrix) {
      Tensor dx = backend.allocate(arena, DType.F32, dy.rows(), w.get(matrix).cols());
      through(dy, matrix, 0, dx);
      return dx;
    }

    /// `dx = dy W + beta dx`.
    private void through(Tensor dy, Role matrix, double beta, Tensor dx) {
      Tensor weight = Residents.single(backend, arena, w.get(matrix));
      backend.gemm(false, false, 1, dy, weight, beta, dx);
    }

    private Tensor copy(Tensor x) {
      Tensor copy = like(x);
      backend.copy(x, copy);
      return copy;
    }

    Tensor like(Tensor x) {
      return backend.allocate(arena, DType.F32, x.rows(), x.cols());
    }
  }
}
