package org.modegpt.backend;

import static org.modegpt.tensor.DType.F32;
import static org.modegpt.tensor.DType.F64;
import static org.modegpt.tensor.DType.I32;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// The contract of every backend, enforced in one place: what {@link Backends} hands out is an
/// implementation that trusts its arguments, wrapped in this. It refuses bad arguments ({@link
/// IllegalArgumentException}), use after {@link #close} and use by two threads at once (both {@link
/// IllegalStateException}) before anything is computed.
final class CheckedBackend implements Backend {

  private final Backend inner;
  private final boolean onDevice;
  private final AtomicReference<@Nullable Thread> user = new AtomicReference<>();
  private final String description;
  private boolean closed;

  CheckedBackend(Backend inner) {
    this.inner = inner;
    this.onDevice = !inner.unifiedMemory();
    this.description = inner.describe();
  }

  /// Claims this backend for one operation, until the result is closed.
  private Check enter(String op) {
    Thread other = user.compareAndExchange(null, Thread.currentThread());
    if (other != null) {
      throw new IllegalStateException(
          op
              + ": this backend is in use by thread "
              + other.getName()
              + "; open one backend per thread");
    }
    if (closed) {
      user.set(null);
      throw new IllegalStateException(op + ": this backend is closed");
    }
    return new Check(op, onDevice, user);
  }

  @Override
  public String name() {
    return inner.name();
  }

  @Override
  public String describe() {
    return description;
  }

  @Override
  public boolean unifiedMemory() {
    return inner.unifiedMemory();
  }

  @Override
  public Products products() {
    return inner.products();
  }

  @Override
  public DType operandType() {
    return inner.operandType();
  }

  @Override
  public DType operandType(long rows) {
    return inner.operandType(rows);
  }

  @Override
  public int passRows() {
    return inner.passRows();
  }

  @Override
  public @Nullable Backend sideStream() {
    Backend side = inner.sideStream();
    return side == null ? null : new CheckedBackend(side);
  }

  @Override
  public long freeMemory() {
    try (Check _ = enter("freeMemory")) {
      return inner.freeMemory();
    }
  }

  @Override
  public MemorySegment hostMemory(Arena arena, long bytes) {
    try (Check c = enter("hostMemory")) {
      c.that(bytes > 0, () -> bytes + " bytes");
      return inner.hostMemory(arena, bytes);
    }
  }

  @Override
  public Tensor allocate(Arena arena, DType dtype, long rows, long cols) {
    Objects.requireNonNull(arena, "arena");
    Objects.requireNonNull(dtype, "dtype");
    try (Check c = enter("allocate")) {
      c.that(rows >= 0 && cols >= 0, () -> "bad shape " + rows + " x " + cols);
      return inner.allocate(arena, dtype, rows, cols);
    }
  }

  @Override
  public void copy(Tensor source, Tensor destination) {
    try (Check c = enter("copy")) {
      c.that(source != null && destination != null, "source or destination is null");
      c.accessible("source", source);
      c.accessible("destination", destination);
      c.that(
          onDevice || (!source.onDevice() && !destination.onDevice()),
          "a tensor lives on a device of another backend");
      c.that(
          source.dtype() == destination.dtype(),
          () -> source.describe() + " to " + destination.describe() + ": cast instead");
      c.shape("destination", destination, source.rows(), source.cols());
      if (source.onDevice() == destination.onDevice()) {
        c.output("destination", destination, source);
      } else {
        c.output("destination", destination);
      }
      inner.copy(source, destination);
    }
  }

  @Override
  public void fillZero(Tensor x) {
    try (Check c = enter("fillZero")) {
      c.input("x", x, DType.values());
      c.output("x", x);
      inner.fillZero(x);
    }
  }

  @Override
  public void sync() {
    try (Check _ = enter("sync")) {
      inner.sync();
    }
  }

  @Override
  public void cast(Tensor source, Tensor destination) {
    try (Check c = enter("cast")) {
      c.input("source", source, Check.ANY_FLOAT);
      c.input("destination", destination, source.rows(), source.cols(), Check.CAST_TARGETS);
      c.output("destination", destination, source);
      inner.cast(source, destination);
    }
  }

  @Override
  public void transpose(Tensor source, Tensor destination) {
    try (Check c = enter("transpose")) {
      c.input("source", source, Check.REAL);
      c.input("destination", destination, source.cols(), source.rows(), source.dtype());
      c.output("destination", destination, source);
      inner.transpose(source, destination);
    }
  }

  @Override
  public long countNonFinite(Tensor x) {
    try (Check c = enter("countNonFinite")) {
      c.input("x", x, Check.ANY_FLOAT);
      return inner.countNonFinite(x);
    }
  }

  @Override
  public void embed(Tensor table, Tensor ids, Tensor out) {
    try (Check c = enter("embed")) {
      c.input("table", table, Check.ANY_FLOAT);
      c.input("out", out, F32);
      c.shape("out", out, out.rows(), table.cols());
      c.input("ids", ids, 1, out.rows(), I32);
      c.output("out", out, table, ids);
      inner.embed(table, ids, out);
    }
  }

  @Override
  public void rmsNorm(Tensor x, @Nullable Tensor weight, float eps, Tensor y) {
    try (Check c = enter("rmsNorm")) {
      c.input("x", x, F32);
      c.input("y", y, x.rows(), x.cols(), F32, inner.operandType());
      c.optionalVector("weight", weight, x.cols());
      c.that(eps >= 0 && Float.isFinite(eps), () -> "eps is " + eps);
      c.outputInPlace("y", y, x);
      c.output("y", y, weight);
      inner.rmsNorm(x, weight, eps, y);
    }
  }

  @Override
  public void layerNorm(
      Tensor x, @Nullable Tensor weight, @Nullable Tensor bias, float eps, Tensor y) {
    try (Check c = enter("layerNorm")) {
      c.input("x", x, F32);
      c.input("y", y, x.rows(), x.cols(), F32, inner.operandType());
      c.optionalVector("weight", weight, x.cols());
      c.optionalVector("bias", bias, x.cols());
      c.that(eps >= 0 && Float.isFinite(eps), () -> "eps is " + eps);
      c.outputInPlace("y", y, x);
      c.output("y", y, weight, bias);
      inner.layerNorm(x, weight, bias, eps, y);
    }
  }

  @Override
  public void rope(Tensor x, Tensor positions, Tensor frequencies, int heads) {
    try (Check c = enter("rope")) {
      c.input("x", x, F32);
      c.input("positions", positions, 1, x.rows(), I32);
      c.input("frequencies", frequencies, F32);
      c.that(
          heads > 0 && x.cols() % heads == 0,
          () -> x.cols() + " columns are not " + heads + " heads");
      c.that(
          frequencies.rows() > 0 && heads % frequencies.rows() == 0,
          () -> frequencies.rows() + " rows of frequencies do not divide " + heads + " heads");
      c.that(
          frequencies.cols() <= x.cols() / heads / 2,
          () -> frequencies.cols() + " rotary pairs do not fit a head of " + x.cols() / heads);
      c.output("x", x, positions, frequencies);
      inner.rope(x, positions, frequencies, heads);
    }
  }

  @Override
  public void attention(
      Tensor q, Tensor k, Tensor v, AttentionShape shape, @Nullable Tensor spans, Tensor out) {
    try (Check c = enter("attention")) {
      c.input("q", q, F32);
      c.input("k", k, F32, inner.operandType());
      c.input("v", v, k.dtype());
      c.input("out", out, F32, inner.operandType());
      c.that(shape != null, "shape is null");
      checkAttention(c, q, k, v, shape, spans, out);
      c.output("out", out, q, k, v, spans);
      inner.attention(q, k, v, shape, spans, out);
    }
  }

  private static void checkAttention(
      Check c, Tensor q, Tensor k, Tensor v, AttentionShape s, @Nullable Tensor spans, Tensor out) {
    c.that(
        s.batch() >= 0
            && s.queries() >= 0
            && s.queries() <= s.keys()
            && (spans != null || s.keys() <= s.keyCapacity()),
        () -> "bad " + s);
    c.that(
        s.heads() > 0 && s.kvHeads() > 0 && s.heads() % s.kvHeads() == 0,
        () -> "bad heads in " + s);
    c.that(
        s.window() >= 0
            && s.softcap() >= 0
            && Float.isFinite(s.softcap())
            && Float.isFinite(s.scale()),
        () -> "bad " + s);
    c.that(
        q.cols() % s.heads() == 0,
        () -> q.cols() + " columns of q are not " + s.heads() + " heads");
    c.that(
        v.cols() % s.kvHeads() == 0,
        () -> v.cols() + " columns of v are not " + s.kvHeads() + " heads");
    long queryRows = product(c, s.batch(), s.queries());
    long keyRows = spans != null ? k.rows() : product(c, s.batch(), s.keyCapacity());
    if (spans != null) {
      c.input("spans", spans, 2, s.batch(), I32);
      checkSpans(c, s, spans, keyRows);
    }
    c.shape("q", q, queryRows, q.cols());
    c.shape("k", k, keyRows, q.cols() / s.heads() * s.kvHeads());
    c.shape("v", v, keyRows, v.cols());
    c.shape("out", out, queryRows, product(c, v.cols() / s.kvHeads(), s.heads()));
  }

  private static void checkSpans(Check c, AttentionShape s, Tensor spans, long rows) {
    for (long b = 0; !c.onDevice() && b < s.batch(); b++) {
      long first = (long) spans.get(0, b);
      long count = (long) spans.get(1, b);
      c.that(
          first >= 0 && count >= s.queries() && count <= s.keys() && first + count <= rows,
          "%d keys from row %d of %d on, for %s".formatted(count, first, rows, s));
    }
  }

  private static long product(Check c, long a, long b) {
    c.that(Math.multiplyHigh(a, b) == 0 && a * b >= 0, () -> a + " x " + b + " is too large");
    return a * b;
  }

  @Override
  public void gatedActivation(Tensor gate, Tensor up, Activation activation, Tensor y) {
    try (Check c = enter("gatedActivation")) {
      c.input("gate", gate, F32);
      c.input("up", up, gate.rows(), gate.cols(), F32);
      c.input("y", y, gate.rows(), gate.cols(), F32, inner.operandType());
      c.that(activation != null, "activation is null");
      c.outputInPlace("y", y, gate, up);
      inner.gatedActivation(gate, up, activation, y);
    }
  }

  @Override
  public void activation(Tensor x, Activation activation) {
    try (Check c = enter("activation")) {
      c.input("x", x, F32);
      c.that(activation != null, "activation is null");
      c.output("x", x);
      inner.activation(x, activation);
    }
  }

  @Override
  public void add(float alpha, Tensor x, Tensor y) {
    try (Check c = enter("add")) {
      c.input("y", y, Check.REAL);
      c.input("x", x, y.dtype());
      c.shape("x", x, x.rows() == 1 ? 1 : y.rows(), y.cols());
      c.output("y", y, x);
      inner.add(alpha, x, y);
    }
  }

  @Override
  public void scale(float alpha, float softcap, Tensor x) {
    try (Check c = enter("scale")) {
      c.input("x", x, F32);
      c.that(softcap >= 0 && Float.isFinite(softcap), () -> "softcap is " + softcap);
      c.output("x", x);
      inner.scale(alpha, softcap, x);
    }
  }

  @Override
  public void gatherColumns(Tensor x, Tensor index, Tensor y) {
    try (Check c = enter("gatherColumns")) {
      c.input("x", x, Check.REAL);
      c.input("y", y, x.dtype());
      c.shape("y", y, x.rows(), y.cols());
      c.input("index", index, 1, y.cols(), I32);
      c.output("y", y, x, index);
      inner.gatherColumns(x, index, y);
    }
  }

  @Override
  public void gatherRows(Tensor x, Tensor index, Tensor y) {
    try (Check c = enter("gatherRows")) {
      c.input("x", x, DType.values());
      c.input("y", y, x.dtype());
      c.shape("y", y, y.rows(), x.cols());
      c.input("index", index, 1, y.rows(), I32);
      c.output("y", y, x, index);
      inner.gatherRows(x, index, y);
    }
  }

  @Override
  public void scatterRows(Tensor x, Tensor index, Tensor y) {
    try (Check c = enter("scatterRows")) {
      c.input("x", x, DType.values());
      c.input("y", y, x.dtype());
      c.shape("y", y, y.rows(), x.cols());
      c.input("index", index, 1, x.rows(), I32);
      c.output("y", y, x, index);
      inner.scatterRows(x, index, y);
    }
  }

  @Override
  public void clearUpper(Tensor x) {
    try (Check c = enter("clearUpper")) {
      c.input("x", x, Check.REAL);
      c.square("x", x);
      c.output("x", x);
      inner.clearUpper(x);
    }
  }

  @Override
  public void mirrorLower(Tensor x) {
    try (Check c = enter("mirrorLower")) {
      c.input("x", x, Check.REAL);
      c.square("x", x);
      c.output("x", x);
      inner.mirrorLower(x);
    }
  }

  @Override
  public void brainSurgeon(
      Tensor p, Tensor k, Tensor gone, Tensor panel, Tensor pivots, Tensor costs) {
    try (Check c = enter("brainSurgeon")) {
      c.input("p", p, F64);
      c.square("p", p);
      c.input("k", k, p.rows(), p.rows(), F64);
      c.input("gone", gone, 1, p.rows(), I32);
      c.input("panel", panel, F64);
      c.that(panel.rows() % 4 == 0, () -> panel.describe() + " has not four rows per step");
      c.shape("panel", panel, panel.rows(), p.rows());
      c.input("pivots", pivots, 1, panel.rows() / 4, I32);
      c.input("costs", costs, 1, panel.rows() / 4, F64);
      c.output("gone", gone, p, k);
      c.output("panel", panel, p, k, gone);
      c.output("pivots", pivots, p, k, gone, panel);
      c.output("costs", costs, p, k, gone, panel, pivots);
      inner.brainSurgeon(p, k, gone, panel, pivots, costs);
    }
  }

  @Override
  public void nll(Tensor logits, Tensor targets, Tensor nll, @Nullable Tensor argmax) {
    try (Check c = enter("nll")) {
      c.input("logits", logits, F32);
      c.input("targets", targets, 1, logits.rows(), I32);
      c.input("nll", nll, 1, logits.rows(), F64);
      c.output("nll", nll, logits, targets, argmax);
      if (argmax != null) {
        c.input("argmax", argmax, 1, logits.rows(), I32);
        c.output("argmax", argmax, logits, targets);
      }
      inner.nll(logits, targets, nll, argmax);
    }
  }

  @Override
  public void klDivergence(Tensor p, Tensor q, Tensor kl) {
    try (Check c = enter("klDivergence")) {
      c.input("p", p, F32);
      c.input("q", q, p.rows(), p.cols(), F32);
      c.input("kl", kl, 1, p.rows(), F64);
      c.output("kl", kl, p, q);
      inner.klDivergence(p, q, kl);
    }
  }

  @Override
  public void rmsNormBackward(Tensor x, @Nullable Tensor weight, float eps, Tensor dy, Tensor dx) {
    try (Check c = enter("rmsNormBackward")) {
      checkNormBackward(c, x, weight, eps, dy, dx);
      inner.rmsNormBackward(x, weight, eps, dy, dx);
    }
  }

  @Override
  public void layerNormBackward(
      Tensor x, @Nullable Tensor weight, float eps, Tensor dy, Tensor dx) {
    try (Check c = enter("layerNormBackward")) {
      checkNormBackward(c, x, weight, eps, dy, dx);
      inner.layerNormBackward(x, weight, eps, dy, dx);
    }
  }

  private static void checkNormBackward(
      Check c, Tensor x, @Nullable Tensor weight, float eps, Tensor dy, Tensor dx) {
    c.input("x", x, F32);
    c.input("dy", dy, x.rows(), x.cols(), F32);
    c.input("dx", dx, x.rows(), x.cols(), F32);
    c.optionalVector("weight", weight, x.cols());
    c.that(eps >= 0 && Float.isFinite(eps), () -> "eps is " + eps);
    c.outputInPlace("dx", dx, dy);
    c.output("dx", dx, x, weight);
  }

  @Override
  public void activationBackward(
      Tensor gate,
      @Nullable Tensor up,
      Activation activation,
      Tensor dy,
      Tensor dgate,
      @Nullable Tensor dup) {
    try (Check c = enter("activationBackward")) {
      c.input("gate", gate, F32);
      c.input("dy", dy, gate.rows(), gate.cols(), F32);
      c.input("dgate", dgate, gate.rows(), gate.cols(), F32);
      c.that(activation != null, "activation is null");
      c.that((up == null) == (dup == null), "only one of up and dup is null");
      c.outputInPlace("dgate", dgate, gate);
      c.output("dgate", dgate, up, dy, dup);
      if (up != null && dup != null) {
        c.input("up", up, gate.rows(), gate.cols(), F32);
        c.input("dup", dup, gate.rows(), gate.cols(), F32);
        c.outputInPlace("dup", dup, up);
        c.output("dup", dup, gate, dy);
      }
      inner.activationBackward(gate, up, activation, dy, dgate, dup);
    }
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
    try (Check c = enter("attentionBackward")) {
      c.input("q", q, F32);
      c.input("k", k, F32);
      c.input("v", v, F32);
      c.input("dout", dout, F32);
      c.that(shape != null, "shape is null");
      c.that(
          shape.queries() == shape.keys() && shape.keys() == shape.keyCapacity(),
          () -> "not whole sequences: " + shape);
      checkAttention(c, q, k, v, shape, null, dout);
      c.input("dq", dq, q.rows(), q.cols(), F32);
      c.input("dk", dk, k.rows(), k.cols(), F32);
      c.input("dv", dv, v.rows(), v.cols(), F32);
      c.output("dq", dq, q, k, v, dout);
      c.output("dk", dk, q, k, v, dout, dq);
      c.output("dv", dv, q, k, v, dout, dq, dk);
      inner.attentionBackward(q, k, v, shape, dout, dq, dk, dv);
    }
  }

  @Override
  public void sampledGradient(Tensor logits, float softcap, Tensor uniforms, Tensor ids) {
    try (Check c = enter("sampledGradient")) {
      c.input("logits", logits, F32);
      c.input("uniforms", uniforms, 1, logits.rows(), F32);
      c.input("ids", ids, 1, logits.rows(), I32);
      c.that(softcap >= 0 && Float.isFinite(softcap), () -> "softcap is " + softcap);
      c.output("logits", logits, uniforms);
      c.output("ids", ids, logits, uniforms);
      inner.sampledGradient(logits, softcap, uniforms, ids);
    }
  }

  @Override
  public void gram(Tensor x, Tensor c) {
    try (Check check = enter("gram")) {
      check.input("x", x, F32, inner.operandType());
      check.input("c", c, x.cols(), x.cols(), F64);
      check.output("c", c, x);
      inner.gram(x, c);
    }
  }

  @Override
  public void crossGram(Tensor x, Tensor y, Tensor c) {
    try (Check check = enter("crossGram")) {
      check.input("x", x, F32, inner.operandType());
      check.input("y", y, F32, inner.operandType());
      check.shape("y", y, x.rows(), y.cols());
      check.input("c", c, x.cols(), y.cols(), F64);
      check.output("c", c, x, y);
      inner.crossGram(x, y, c);
    }
  }

  @Override
  public void headGram(Tensor x, int heads, Tensor c) {
    try (Check check = enter("headGram")) {
      check.input("x", x, F32, inner.operandType());
      check.that(
          heads > 0 && x.cols() % heads == 0,
          () -> x.cols() + " columns are not " + heads + " heads");
      check.input("c", c, x.cols(), x.cols() / heads, F64);
      check.output("c", c, x);
      inner.headGram(x, heads, c);
    }
  }

  @Override
  public void columnEnergy(Tensor x, Tensor energy) {
    try (Check c = enter("columnEnergy")) {
      c.input("x", x, Check.REAL);
      c.input("energy", energy, 1, x.cols(), F64);
      c.output("energy", energy, x);
      inner.columnEnergy(x, energy);
    }
  }

  @Override
  public void logitCovariance(
      Tensor q, Tensor k, Tensor queries, int heads, int kvHeads, float scale, Tensor c) {
    try (Check check = enter("logitCovariance")) {
      check.input("q", q, F32);
      check.that(
          heads > 0 && kvHeads > 0 && heads % kvHeads == 0 && q.cols() % (2L * heads) == 0,
          () ->
              q.cols()
                  + " columns of q are not "
                  + heads
                  + "/"
                  + kvHeads
                  + " heads of whole pairs");
      long dim = q.cols() / heads;
      check.input("k", k, q.rows(), dim * kvHeads, F32);
      check.input("queries", queries, 1, queries.cols(), I32);
      check.input("c", c, q.cols(), dim, F64);
      check.output("c", c, q, k, queries);
      inner.logitCovariance(q, k, queries, heads, kvHeads, scale, c);
    }
  }

  @Override
  public void blockInfluence(Tensor x, Tensor y, Tensor accumulator) {
    try (Check c = enter("blockInfluence")) {
      c.input("x", x, F32);
      c.input("y", y, x.rows(), x.cols(), F32);
      c.input("accumulator", accumulator, 1, 3, F64);
      c.output("accumulator", accumulator, x, y);
      inner.blockInfluence(x, y, accumulator);
    }
  }

  @Override
  public void linear(Tensor x, Tensor w, @Nullable Tensor bias, Tensor y) {
    try (Check c = enter("linear")) {
      linear(c, x, w, bias, y);
      inner.linear(x, w, bias, y);
    }
  }

  private void linear(Check c, Tensor x, Tensor w, @Nullable Tensor bias, Tensor y) {
    c.input("x", x, F32, inner.operandType());
    c.input("w", w, Check.WEIGHT);
    c.shape("w", w, w.rows(), x.cols());
    c.optionalVector("bias", bias, w.rows());
    c.input("y", y, x.rows(), w.rows(), F32);
    c.output("y", y, x, w, bias);
  }

  @Override
  public void project(Tensor x, List<Projection> projections) {
    try (Check c = enter("project")) {
      projections.forEach(p -> linear(c, x, p.weight(), p.bias(), p.output()));
      inner.project(x, projections);
    }
  }

  @Override
  public void gemm(
      boolean transposeA,
      boolean transposeB,
      double alpha,
      Tensor a,
      Tensor b,
      double beta,
      Tensor c) {
    try (Check check = enter("gemm")) {
      check.input("c", c, Check.REAL);
      check.input("a", a, c.dtype());
      check.input("b", b, c.dtype());
      long inner = transposeA ? a.rows() : a.cols();
      check.shape("a", a, transposeA ? inner : c.rows(), transposeA ? c.rows() : inner);
      check.shape("b", b, transposeB ? c.cols() : inner, transposeB ? inner : c.cols());
      check.output("c", c, a, b);
      this.inner.gemm(transposeA, transposeB, alpha, a, b, beta, c);
    }
  }

  @Override
  public long cholesky(Tensor a) {
    try (Check c = enter("cholesky")) {
      c.input("a", a, F64);
      c.square("a", a);
      c.output("a", a);
      return inner.cholesky(a);
    }
  }

  @Override
  public long[] choleskyBatch(Tensor a, Tensor inverse) {
    try (Check c = enter("choleskyBatch")) {
      c.input("a", a, F64);
      c.squares("a", a);
      c.input("inverse", inverse, a.rows(), a.cols(), F64);
      c.output("a", a, inverse);
      c.output("inverse", inverse);
      return inner.choleskyBatch(a, inverse);
    }
  }

  @Override
  public void triangularSolve(Tensor l, boolean left, boolean transpose, Tensor b) {
    try (Check c = enter("triangularSolve")) {
      c.input("l", l, F64);
      c.square("l", l);
      c.input("b", b, F64);
      c.shape("b", b, left ? l.rows() : b.rows(), left ? b.cols() : l.rows());
      c.output("b", b, l);
      inner.triangularSolve(l, left, transpose, b);
    }
  }

  @Override
  public void triangularInverse(Tensor l) {
    try (Check c = enter("triangularInverse")) {
      c.input("l", l, F64);
      c.square("l", l);
      c.output("l", l);
      for (long i = 0; !onDevice && i < l.rows(); i++) {
        c.that(l.get(i, i) != 0, "the diagonal of l has a zero");
      }
      inner.triangularInverse(l);
    }
  }

  @Override
  public void symmetricEigen(Tensor a, Tensor values) {
    try (Check c = enter("symmetricEigen")) {
      c.input("a", a, F64);
      c.square("a", a);
      c.input("values", values, 1, a.rows(), F64);
      c.output("a", a, values);
      c.output("values", values);
      c.finite("a", a, true);
      inner.symmetricEigen(a, values);
    }
  }

  @Override
  public void svd(Tensor a, Tensor u, Tensor s, Tensor vt) {
    try (Check c = enter("svd")) {
      c.input("a", a, F64);
      long rank = Math.min(a.rows(), a.cols());
      c.input("u", u, a.rows(), rank, F64);
      c.input("s", s, 1, rank, F64);
      c.input("vt", vt, rank, a.cols(), F64);
      c.output("a", a, u, s, vt);
      c.output("u", u, s, vt);
      c.output("s", s, vt);
      c.output("vt", vt);
      c.finite("a", a, false);
      inner.svd(a, u, s, vt);
    }
  }

  /// Idempotent.
  @Override
  public void svdBatch(Tensor a, Tensor u, Tensor s, Tensor vt) {
    try (Check c = enter("svdBatch")) {
      c.input("a", a, F64);
      c.squares("a", a);
      c.input("u", u, a.rows(), a.cols(), F64);
      c.input("s", s, a.rows() / a.cols(), a.cols(), F64);
      c.input("vt", vt, a.rows(), a.cols(), F64);
      c.finite("a", a, false);
      c.output("u", u, a);
      c.output("s", s, a, u);
      c.output("vt", vt, a, u, s);
      inner.svdBatch(a, u, s, vt);
    }
  }

  @Override
  public void close() {
    if (!closed) {
      try (Check _ = enter("close")) {
        closed = true;
        inner.close();
      }
    }
  }
}
