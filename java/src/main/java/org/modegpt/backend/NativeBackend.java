package org.modegpt.backend;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.modegpt.tensor.Tensor;

/// A backend over one library of the C ABI: everything that is the same on every device. Subclasses
/// add memory and dense linear algebra. Trusts its arguments; {@link CheckedBackend} checks them.
abstract class NativeBackend implements Backend {

  private static final int OPERANDS = 10;
  private static final long TENSOR_BYTES = 40;

  /// `MG_LINEAR_MOST`.
  static final int TOGETHER = 3;

  private static final int EINVAL = 1;
  private static final int ENOMEM = 3;

  final Kernels kernels;
  final MemorySegment context;

  /// Memory of this backend: argument structures and scratch; freed by {@link #close}.
  final Arena arena = Arena.ofShared();

  private final MemorySegment[] operands = new MemorySegment[OPERANDS];
  private final MemorySegment parameters = arena.allocate(64, 64);

  /// @param isa upper limit of the instruction set, or null for the best there is
  NativeBackend(Kernels kernels, int device, int threads, @Nullable String isa) {
    this.kernels = kernels;
    MemorySegment array = arena.allocate(OPERANDS * TENSOR_BYTES, 8);
    for (int i = 0; i < OPERANDS; i++) {
      operands[i] = array.asSlice(i * TENSOR_BYTES, TENSOR_BYTES);
    }
    MemorySegment cap = isa == null ? MemorySegment.NULL : arena.allocateFrom(isa);
    int status =
        invoke(() -> (int) kernels.contextCreate.invokeExact(device, threads, cap, parameters));
    if (status != 0) {
      String reason = lastError(MemorySegment.NULL);
      arena.close();
      throw new BackendException(reason);
    }
    context = parameters.get(ADDRESS, 0);
  }

  /// A call that returns a status.
  interface Call {
    int status() throws Throwable;
  }

  private static int invoke(Call call) {
    try {
      return call.status();
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }

  final void call(String op, Call call) {
    int status = invoke(call);
    if (status != 0) {
      throw failure(op, status);
    }
  }

  private RuntimeException failure(String op, int status) {
    String message = op + ": " + lastError(context);
    return switch (status) {
      case EINVAL -> new IllegalArgumentException(message);
      case ENOMEM -> new BackendException(message + " (use a smaller batch or context length)");
      default -> new BackendException(message);
    };
  }

  private String lastError(MemorySegment of) {
    try {
      return Downcalls.string((MemorySegment) kernels.lastError.invokeExact(of));
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }

  /// Writes `t` into the argument structure number `slot`; the structures lie one after another and
  /// are reused by the next operation.
  final MemorySegment operand(int slot, @Nullable Tensor t) {
    if (t == null) {
      return MemorySegment.NULL;
    }
    MemorySegment s = operands[slot];
    s.set(ADDRESS, 0, t.data());
    s.set(JAVA_LONG, 8, t.rows());
    s.set(JAVA_LONG, 16, t.cols());
    s.set(JAVA_LONG, 24, t.stride());
    s.set(JAVA_INT, 32, t.dtype().code());
    s.set(JAVA_INT, 36, 0);
    return s;
  }

  @Override
  public String describe() {
    try (Arena call = Arena.ofConfined()) {
      MemorySegment buffer = call.allocate(256);
      call(
          "describe", () -> (int) kernels.describe.invokeExact(context, buffer, buffer.byteSize()));
      return buffer.getString(0);
    }
  }

  @Override
  public void fillZero(Tensor x) {
    MemorySegment a = operand(0, x);
    call("fillZero", () -> (int) kernels.fillZero.invokeExact(context, a));
  }

  @Override
  public void sync() {
    call("sync", () -> (int) kernels.sync.invokeExact(context));
  }

  // ---- element-wise and row-wise

  @Override
  public void cast(Tensor source, Tensor destination) {
    MemorySegment a = operand(0, source);
    MemorySegment b = operand(1, destination);
    call("cast", () -> (int) kernels.cast.invokeExact(context, a, b));
  }

  @Override
  public void transpose(Tensor source, Tensor destination) {
    MemorySegment a = operand(0, source);
    MemorySegment b = operand(1, destination);
    call("transpose", () -> (int) kernels.transpose.invokeExact(context, a, b));
  }

  @Override
  public long countNonFinite(Tensor x) {
    MemorySegment a = operand(0, x);
    call("countNonFinite", () -> (int) kernels.countNonfinite.invokeExact(context, a, parameters));
    return parameters.get(JAVA_LONG, 0);
  }

  @Override
  public void embed(Tensor table, Tensor ids, Tensor out) {
    MemorySegment a = operand(0, table);
    MemorySegment b = operand(1, ids);
    MemorySegment c = operand(2, out);
    call("embed", () -> (int) kernels.embed.invokeExact(context, a, b, c));
  }

  @Override
  public void rmsNorm(Tensor x, @Nullable Tensor weight, float eps, Tensor y) {
    MemorySegment a = operand(0, x);
    MemorySegment w = operand(1, weight);
    MemorySegment out = operand(2, y);
    call("rmsNorm", () -> (int) kernels.rmsNorm.invokeExact(context, a, w, eps, out));
  }

  @Override
  public void layerNorm(
      Tensor x, @Nullable Tensor weight, @Nullable Tensor bias, float eps, Tensor y) {
    MemorySegment a = operand(0, x);
    MemorySegment w = operand(1, weight);
    MemorySegment b = operand(2, bias);
    MemorySegment out = operand(3, y);
    call("layerNorm", () -> (int) kernels.layerNorm.invokeExact(context, a, w, b, eps, out));
  }

  @Override
  public void rope(Tensor x, Tensor positions, Tensor frequencies, int heads) {
    MemorySegment a = operand(0, x);
    MemorySegment p = operand(1, positions);
    MemorySegment f = operand(2, frequencies);
    call("rope", () -> (int) kernels.rope.invokeExact(context, a, p, f, heads));
  }

  @Override
  public void attention(
      Tensor q, Tensor k, Tensor v, AttentionShape shape, @Nullable Tensor spans, Tensor out) {
    attentionParameters(shape);
    MemorySegment a = operand(0, q);
    MemorySegment b = operand(1, k);
    MemorySegment c = operand(2, v);
    MemorySegment s = operand(3, spans);
    MemorySegment d = operand(4, out);
    call(
        "attention", () -> (int) kernels.attention.invokeExact(context, a, b, c, parameters, s, d));
  }

  private void attentionParameters(AttentionShape shape) {
    parameters.set(JAVA_LONG, 0, shape.batch());
    parameters.set(JAVA_LONG, 8, shape.queries());
    parameters.set(JAVA_LONG, 16, shape.keys());
    parameters.set(JAVA_LONG, 24, shape.keyCapacity());
    parameters.set(JAVA_INT, 32, shape.heads());
    parameters.set(JAVA_INT, 36, shape.kvHeads());
    parameters.set(JAVA_INT, 40, shape.window());
    parameters.set(JAVA_INT, 44, 0);
    parameters.set(JAVA_FLOAT, 48, shape.scale());
    parameters.set(JAVA_FLOAT, 52, shape.softcap());
  }

  @Override
  public void gatedActivation(Tensor gate, Tensor up, Activation activation, Tensor y) {
    MemorySegment a = operand(0, gate);
    MemorySegment b = operand(1, up);
    MemorySegment c = operand(2, y);
    int function = activation.code();
    call(
        "gatedActivation",
        () -> (int) kernels.gatedActivation.invokeExact(context, a, b, function, c));
  }

  @Override
  public void activation(Tensor x, Activation activation) {
    MemorySegment a = operand(0, x);
    int function = activation.code();
    call("activation", () -> (int) kernels.activation.invokeExact(context, a, function));
  }

  @Override
  public void add(float alpha, Tensor x, Tensor y) {
    MemorySegment a = operand(0, x);
    MemorySegment b = operand(1, y);
    call("add", () -> (int) kernels.add.invokeExact(context, alpha, a, b));
  }

  @Override
  public void scale(float alpha, float softcap, Tensor x) {
    MemorySegment a = operand(0, x);
    call("scale", () -> (int) kernels.scale.invokeExact(context, alpha, softcap, a));
  }

  @Override
  public void gatherColumns(Tensor x, Tensor index, Tensor y) {
    MemorySegment a = operand(0, x);
    MemorySegment b = operand(1, index);
    MemorySegment c = operand(2, y);
    call("gatherColumns", () -> (int) kernels.gatherColumns.invokeExact(context, a, b, c));
  }

  @Override
  public void gatherRows(Tensor x, Tensor index, Tensor y) {
    MemorySegment a = operand(0, x);
    MemorySegment b = operand(1, index);
    MemorySegment c = operand(2, y);
    call("gatherRows", () -> (int) kernels.gatherRows.invokeExact(context, a, b, c));
  }

  @Override
  public void scatterRows(Tensor x, Tensor index, Tensor y) {
    MemorySegment a = operand(0, x);
    MemorySegment b = operand(1, index);
    MemorySegment c = operand(2, y);
    call("scatterRows", () -> (int) kernels.scatterRows.invokeExact(context, a, b, c));
  }

  @Override
  public void clearUpper(Tensor x) {
    triangle("clearUpper", x, 0);
  }

  @Override
  public void mirrorLower(Tensor x) {
    triangle("mirrorLower", x, 1);
  }

  private void triangle(String op, Tensor x, int mirror) {
    MemorySegment a = operand(0, x);
    call(op, () -> (int) kernels.triangle.invokeExact(context, a, mirror));
  }

  // ---- products the BLAS is not made for

  /// For few rows, where the time is that of reading `w` once.
  @Override
  public void linear(Tensor x, Tensor w, @Nullable Tensor bias, Tensor y) {
    together(x, List.of(new Projection(w, bias, y)));
  }

  /// The same for up to {@link #TOGETHER} matrices at once.
  final void together(Tensor x, List<Projection> projections) {
    MemorySegment a = operand(0, x);
    for (int i = 0; i < projections.size(); i++) {
      Projection p = projections.get(i);
      operand(1 + i, p.weight());
      if (p.bias() == null) {
        operands[1 + TOGETHER + i].fill((byte) 0); // without data: none
      } else {
        operand(1 + TOGETHER + i, p.bias());
      }
      operand(1 + 2 * TOGETHER + i, p.output());
    }
    MemorySegment b = operands[1];
    MemorySegment c = operands[1 + TOGETHER];
    MemorySegment d = operands[1 + 2 * TOGETHER];
    int count = projections.size();
    call("linear", () -> (int) kernels.linear.invokeExact(context, a, b, c, d, count));
  }

  // ---- losses

  @Override
  public void nll(Tensor logits, Tensor targets, Tensor nll, @Nullable Tensor argmax) {
    MemorySegment a = operand(0, logits);
    MemorySegment b = operand(1, targets);
    MemorySegment c = operand(2, nll);
    MemorySegment d = operand(3, argmax);
    call("nll", () -> (int) kernels.nll.invokeExact(context, a, b, c, d));
  }

  @Override
  public void klDivergence(Tensor p, Tensor q, Tensor kl) {
    MemorySegment a = operand(0, p);
    MemorySegment b = operand(1, q);
    MemorySegment c = operand(2, kl);
    call("klDivergence", () -> (int) kernels.klDivergence.invokeExact(context, a, b, c));
  }

  // ---- gradients

  @Override
  public void rmsNormBackward(Tensor x, @Nullable Tensor weight, float eps, Tensor dy, Tensor dx) {
    MemorySegment a = operand(0, x);
    MemorySegment w = operand(1, weight);
    MemorySegment b = operand(2, dy);
    MemorySegment out = operand(3, dx);
    call(
        "rmsNormBackward",
        () -> (int) kernels.rmsNormBackward.invokeExact(context, a, w, eps, b, out));
  }

  @Override
  public void layerNormBackward(
      Tensor x, @Nullable Tensor weight, float eps, Tensor dy, Tensor dx) {
    MemorySegment a = operand(0, x);
    MemorySegment w = operand(1, weight);
    MemorySegment b = operand(2, dy);
    MemorySegment out = operand(3, dx);
    call(
        "layerNormBackward",
        () -> (int) kernels.layerNormBackward.invokeExact(context, a, w, eps, b, out));
  }

  @Override
  public void activationBackward(
      Tensor gate,
      @Nullable Tensor up,
      Activation activation,
      Tensor dy,
      Tensor dgate,
      @Nullable Tensor dup) {
    MemorySegment a = operand(0, gate);
    MemorySegment b = operand(1, up);
    MemorySegment c = operand(2, dy);
    MemorySegment d = operand(3, dgate);
    MemorySegment e = operand(4, dup);
    int function = activation.code();
    call(
        "activationBackward",
        () -> (int) kernels.activationBackward.invokeExact(context, a, b, function, c, d, e));
  }

  @Override
  public void attentionBackward(
      Tensor q,
      Tensor k,
      Tensor v,
      AttentionShape shape,
      Tensor dout,
      Tensor dq,
      Tensor dk,
      Tensor dv) {
    attentionParameters(shape);
    MemorySegment a = operand(0, q);
    MemorySegment b = operand(1, k);
    MemorySegment c = operand(2, v);
    MemorySegment d = operand(3, dout);
    MemorySegment e = operand(4, dq);
    MemorySegment f = operand(5, dk);
    MemorySegment g = operand(6, dv);
    call(
        "attentionBackward",
        () ->
            (int) kernels.attentionBackward.invokeExact(context, a, b, c, parameters, d, e, f, g));
  }

  @Override
  public void sampledGradient(Tensor logits, float softcap, Tensor uniforms, Tensor ids) {
    MemorySegment a = operand(0, logits);
    MemorySegment b = operand(1, uniforms);
    MemorySegment c = operand(2, ids);
    call(
        "sampledGradient",
        () -> (int) kernels.sampledGradient.invokeExact(context, a, softcap, b, c));
  }

  // ---- statistics

  @Override
  public void gram(Tensor x, Tensor c) {
    MemorySegment a = operand(0, x);
    MemorySegment b = operand(1, c);
    call("gram", () -> (int) kernels.gram.invokeExact(context, a, b));
  }

  @Override
  public void crossGram(Tensor x, Tensor y, Tensor c) {
    MemorySegment a = operand(0, x);
    MemorySegment b = operand(1, y);
    MemorySegment d = operand(2, c);
    call("crossGram", () -> (int) kernels.crossGram.invokeExact(context, a, b, d));
  }

  @Override
  public void headGram(Tensor x, int heads, Tensor c) {
    MemorySegment a = operand(0, x);
    MemorySegment b = operand(1, c);
    call("headGram", () -> (int) kernels.headGram.invokeExact(context, a, heads, b));
  }

  @Override
  public void columnEnergy(Tensor x, Tensor energy) {
    MemorySegment a = operand(0, x);
    MemorySegment b = operand(1, energy);
    call("columnEnergy", () -> (int) kernels.columnEnergy.invokeExact(context, a, b));
  }

  @Override
  public void logitCovariance(
      Tensor q, Tensor k, Tensor queries, int heads, int kvHeads, float scale, Tensor c) {
    MemorySegment a = operand(0, q);
    MemorySegment b = operand(1, k);
    MemorySegment m = operand(2, queries);
    MemorySegment out = operand(3, c);
    call(
        "logitCovariance",
        () ->
            (int)
                kernels.logitCovariance.invokeExact(context, a, b, m, heads, kvHeads, scale, out));
  }

  @Override
  public void blockInfluence(Tensor x, Tensor y, Tensor accumulator) {
    MemorySegment a = operand(0, x);
    MemorySegment b = operand(1, y);
    MemorySegment c = operand(2, accumulator);
    call("blockInfluence", () -> (int) kernels.blockInfluence.invokeExact(context, a, b, c));
  }

  @Override
  public void brainSurgeon(
      Tensor p, Tensor k, Tensor gone, Tensor panel, Tensor pivots, Tensor costs) {
    MemorySegment a = operand(0, p);
    MemorySegment b = operand(1, k);
    MemorySegment c = operand(2, gone);
    MemorySegment d = operand(3, panel);
    MemorySegment e = operand(4, pivots);
    MemorySegment f = operand(5, costs);
    call("brainSurgeon", () -> (int) kernels.brainSurgeon.invokeExact(context, a, b, c, d, e, f));
  }

  @Override
  public void close() {
    try {
      kernels.contextDestroy.invokeExact(context);
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
    arena.close();
  }
}
