package org.modegpt.backend.ops;

import static org.modegpt.backend.ops.Operand.in;
import static org.modegpt.backend.ops.Operand.inout;
import static org.modegpt.backend.ops.Operand.out;
import static org.modegpt.tensor.DType.BF16;
import static org.modegpt.tensor.DType.F16;
import static org.modegpt.tensor.DType.F32;
import static org.modegpt.tensor.DType.F64;
import static org.modegpt.tensor.DType.I32;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.random.RandomGenerator;
import java.util.stream.IntStream;
import org.modegpt.backend.Activation;
import org.modegpt.backend.AttentionShape;
import org.modegpt.backend.Backend;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// The one list of operations, shapes and bounds. The methods make one case each, for benchmarks
/// that want their own shapes.
public final class OpCases {

  private static final Fill NORMAL = Fill.normal(1);

  /// Lengths around the widths of vectors, unrolled vectors and blocks.
  private static final long[] WIDTHS = {
    0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 257, 576
  };

  private static final DType[] PLAIN = {F32, F64, BF16, F16};

  private OpCases() {}

  public static OpCase fillZero(DType dtype, long n, long d) {
    return OpCase.of("fillZero", "", Bound.EXACT, (b, t) -> b.fillZero(t[0]), out(dtype, n, d));
  }

  public static OpCase copy(DType dtype, long n, long d) {
    return OpCase.of(
        "copy",
        "",
        Bound.EXACT,
        (b, t) -> b.copy(t[0], t[1]),
        in(dtype, n, d, NORMAL),
        out(dtype, n, d));
  }

  public static OpCase cast(DType from, DType to, long n, long d) {
    Bound bound =
        from.quantised()
            ? Bound.max(1.2e-7, "float32 d q + m, one rounding")
            : from == F64 && to.blockBytes() == 2
                ? Bound.max(0x1p-8, "may round twice, through float32")
                : Bound.EXACT;
    Bound narrow =
        from.quantised() && to.blockBytes() == 2
            ? Bound.max(0x1p-8, "a rounding to 16 bits may flip")
            : bound;
    return OpCase.of(
        "cast", "", narrow, (b, t) -> b.cast(t[0], t[1]), in(from, n, d, NORMAL), out(to, n, d));
  }

  public static OpCase transpose(DType dtype, long n, long d) {
    return OpCase.of(
        "transpose",
        "",
        Bound.EXACT,
        (b, t) -> b.transpose(t[0], t[1]),
        in(dtype, n, d, NORMAL),
        out(dtype, d, n));
  }

  public static OpCase countNonFinite(DType dtype, long n, long d) {
    Fill some =
        Fill.values(
            1, Double.NaN, 2, 3, Double.NEGATIVE_INFINITY, 0, 4, Double.POSITIVE_INFINITY, 5, 6, 7);
    return OpCase.returning(
        "countNonFinite",
        "",
        Bound.EXACT,
        (b, t) -> b.countNonFinite(t[0]),
        in(dtype, n, d, dtype.quantised() ? Fill.normal(1) : some));
  }

  public static OpCase embed(DType dtype, long vocabulary, long n, long d) {
    Bound bound =
        dtype.quantised() ? Bound.max(1.2e-7, "float32 d q + m, one rounding") : Bound.EXACT;
    return OpCase.of(
        "embed",
        "",
        bound,
        (b, t) -> b.embed(t[0], t[1], t[2]),
        in(dtype, vocabulary, d, NORMAL),
        in(I32, 1, n, Fill.integers(0, (int) vocabulary)),
        out(F32, n, d));
  }

  public static OpCase rmsNorm(long n, long d, boolean weight, boolean inPlace) {
    Bound bound = Bound.max(2e-6, "float32 sum of squares and reciprocal root");
    String variant = (weight ? "weight" : "") + (inPlace ? " in place" : "");
    Operand w = in(F32, 1, d, NORMAL);
    return inPlace
        ? OpCase.of(
            "rmsNorm",
            variant,
            bound,
            (b, t) -> b.rmsNorm(t[0], weight ? t[1] : null, 1e-5f, t[0]),
            inout(F32, n, d, NORMAL),
            w)
        : OpCase.of(
            "rmsNorm",
            variant,
            bound,
            (b, t) -> b.rmsNorm(t[0], weight ? t[1] : null, 1e-5f, t[2]),
            in(F32, n, d, NORMAL),
            w,
            out(F32, n, d));
  }

  public static OpCase layerNorm(long n, long d, boolean affine) {
    return OpCase.of(
        "layerNorm",
        affine ? "affine" : "",
        Bound.max(4e-6, "float32 mean and variance"),
        (b, t) -> b.layerNorm(t[0], affine ? t[1] : null, affine ? t[2] : null, 1e-5f, t[3]),
        in(F32, n, d, NORMAL),
        in(F32, 1, d, NORMAL),
        in(F32, 1, d, NORMAL),
        out(F32, n, d));
  }

  /// Rotary pairs with `sets` rows of frequencies: 1 shares them, `heads` gives each head its own.
  public static OpCase rope(long n, int heads, long dim, long pairs, long sets) {
    return OpCase.of(
        "rope",
        heads + " heads",
        Bound.max(5e-7, "angle in float64, product in float32"),
        (b, t) -> b.rope(t[0], t[1], t[2], heads),
        inout(F32, n, heads * dim, NORMAL),
        in(I32, 1, n, Fill.integers(0, 100_000)),
        in(
            F32,
            sets,
            pairs,
            (f, random) ->
                Fill.each(
                    f,
                    (i, j) ->
                        Math.pow(10_000, -(double) j / Math.max(1, pairs)) * (1 + 0.01 * i))));
  }

  public static OpCase attention(AttentionShape s, long dk, long dv) {
    return OpCase.of(
        "attention",
        "heads "
            + s.heads()
            + "/"
            + s.kvHeads()
            + " queries "
            + s.queries()
            + "/"
            + s.keys()
            + " batch "
            + s.batch()
            + (s.window() > 0 ? " window " + s.window() : "")
            + (s.softcap() > 0 ? " softcap" : ""),
        Bound.max(5e-6, "float32 online softmax").onDevice(2e-5).fast(2e-2),
        (b, t) -> b.attention(t[0], t[1], t[2], s, t[3]),
        in(F32, s.batch() * s.queries(), s.heads() * dk, NORMAL),
        in(F32, s.batch() * s.keyCapacity(), s.kvHeads() * dk, NORMAL),
        in(F32, s.batch() * s.keyCapacity(), s.kvHeads() * dv, NORMAL),
        out(F32, s.batch() * s.queries(), s.heads() * dv));
  }

  /// Sequences of 1 to `s.keys()` keys, one query each, in a cache with room for `s.keyCapacity()`
  /// of each.
  public static OpCase spannedAttention(AttentionShape s, long dk, long dv) {
    long capacity = s.keyCapacity();
    long step = s.batch() > 1 ? (s.keys() - 1) / (s.batch() - 1) : 0;
    Fill spans =
        (t, random) ->
            Fill.each(t, (i, b) -> i == 0 ? (s.batch() - 1 - b) * capacity : s.keys() - b * step);
    return OpCase.of(
        "attention",
        "heads "
            + s.heads()
            + "/"
            + s.kvHeads()
            + " queries 1/1.."
            + s.keys()
            + " batch "
            + s.batch()
            + (s.window() > 0 ? " window " + s.window() : "")
            + (s.softcap() > 0 ? " softcap" : ""),
        Bound.max(5e-6, "float32 online softmax").onDevice(2e-5).fast(2e-2),
        (b, t) -> b.attention(t[0], t[1], t[2], s, t[3], t[4]),
        in(F32, s.batch(), s.heads() * dk, NORMAL),
        in(F32, s.batch() * capacity, s.kvHeads() * dk, NORMAL),
        in(F32, s.batch() * capacity, s.kvHeads() * dv, NORMAL),
        in(I32, 2, s.batch(), spans),
        out(F32, s.batch(), s.heads() * dv));
  }

  public static OpCase gatedActivation(Activation f, long n, long d) {
    return OpCase.of(
        "gatedActivation",
        f.toString(),
        Bound.max(1e-6, "float32 exponential or error function"),
        (b, t) -> b.gatedActivation(t[0], t[1], f, t[2]),
        in(F32, n, d, Fill.normal(3)),
        in(F32, n, d, NORMAL),
        out(F32, n, d));
  }

  public static OpCase activation(Activation f, long n, long d) {
    return OpCase.of(
        "activation",
        f.toString(),
        Bound.max(1e-6, "float32 exponential or error function"),
        (b, t) -> b.activation(t[0], f),
        inout(F32, n, d, Fill.normal(4)));
  }

  public static OpCase add(DType dtype, boolean row, long n, long d) {
    return OpCase.of(
        "add",
        row ? "row" : "",
        Bound.max(dtype == F64 ? 1e-15 : 2e-7, "one fused or two roundings"),
        (b, t) -> b.add(0.3f, t[0], t[1]),
        in(dtype, row ? 1 : n, d, NORMAL),
        inout(dtype, n, d, NORMAL));
  }

  public static OpCase scale(float softcap, long n, long d) {
    return OpCase.of(
        "scale",
        softcap > 0 ? "softcap" : "",
        Bound.max(softcap > 0 ? 1e-6 : 1e-7, softcap > 0 ? "float32 tanh" : "one rounding"),
        (b, t) -> b.scale(0.7f, softcap, t[0]),
        inout(F32, n, d, Fill.normal(20)));
  }

  public static OpCase gatherColumns(DType dtype, long n, long d, long kept) {
    return OpCase.of(
        "gatherColumns",
        "",
        Bound.EXACT,
        (b, t) -> b.gatherColumns(t[0], t[1], t[2]),
        in(dtype, n, d, NORMAL),
        in(I32, 1, kept, Fill.integers(0, (int) d)),
        out(dtype, n, kept));
  }

  public static OpCase gatherRows(DType dtype, long n, long d, long kept) {
    return OpCase.of(
        "gatherRows",
        "",
        Bound.EXACT,
        (b, t) -> b.gatherRows(t[0], t[1], t[2]),
        in(dtype, n, d, NORMAL),
        in(I32, 1, kept, Fill.integers(0, (int) n)),
        out(dtype, kept, d));
  }

  /// Writes rows 0, 2, 4, ... in falling order; the others stay.
  public static OpCase scatterRows(DType dtype, long n, long d) {
    return OpCase.of(
        "scatterRows",
        "",
        Bound.EXACT,
        (b, t) -> b.scatterRows(t[0], t[1], t[2]),
        in(dtype, n, d, NORMAL),
        in(I32, 1, n, (t, random) -> Fill.each(t, (i, j) -> 2 * (n - 1 - j))),
        inout(dtype, 2 * n, d, NORMAL));
  }

  public static OpCase triangle(DType dtype, boolean mirror, long n) {
    return OpCase.of(
        mirror ? "mirrorLower" : "clearUpper",
        "",
        Bound.EXACT,
        (b, t) -> {
          if (mirror) {
            b.mirrorLower(t[0]);
          } else {
            b.clearUpper(t[0]);
          }
        },
        inout(dtype, n, n, NORMAL));
  }

  /// On a well-conditioned P and K, some units gone.
  public static OpCase brainSurgeon(long n, long steps) {
    return OpCase.of(
        "brainSurgeon",
        steps + " steps",
        Bound.max(1e-11, "float64 rank-one updates"),
        (b, t) -> b.brainSurgeon(t[0], t[1], t[2], t[3], t[4], t[5]),
        in(F64, n, n, Fill.symmetric(2)),
        in(F64, n, n, Fill.symmetric(3)),
        inout(I32, 1, n, Fill.values(0, 0, 0, 1, 0, 0, 0, 0)),
        out(F64, 4 * steps, n),
        out(I32, 1, steps),
        out(F64, 1, steps));
  }

  public static OpCase nll(long n, long vocabulary, boolean argmax) {
    return OpCase.of(
        "nll",
        argmax ? "argmax" : "",
        Bound.max(2e-6, "float32 exponentials"),
        (b, t) -> b.nll(t[0], t[1], t[2], argmax ? t[3] : null),
        in(F32, n, vocabulary, Fill.normal(4)),
        in(I32, 1, n, Fill.integers(-1, (int) vocabulary)),
        out(F64, 1, n),
        argmax ? out(I32, 1, n) : in(I32, 1, n, Fill.constant(0)));
  }

  public static OpCase klDivergence(long n, long vocabulary) {
    return OpCase.of(
        "klDivergence",
        "",
        Bound.max(5e-6, "float32 exponentials"),
        (b, t) -> b.klDivergence(t[0], t[1], t[2]),
        in(F32, n, vocabulary, Fill.normal(2)),
        in(F32, n, vocabulary, Fill.normal(2)),
        out(F64, 1, n));
  }

  /// With a large eps: a normalised row of one or two elements hardly depends on them otherwise,
  /// and the gradient is all cancellation.
  private static final float BACKWARD_EPS = 0.1f;

  public static OpCase rmsNormBackward(long n, long d, boolean weight, boolean inPlace) {
    return normBackward("rmsNormBackward", n, d, weight, inPlace);
  }

  public static OpCase layerNormBackward(long n, long d, boolean weight, boolean inPlace) {
    return normBackward("layerNormBackward", n, d, weight, inPlace);
  }

  /// In place writes over the gradient of the output.
  private static OpCase normBackward(String op, long n, long d, boolean weight, boolean inPlace) {
    boolean rms = op.equals("rmsNormBackward");
    return OpCase.of(
        op,
        (weight ? "weight" : "") + (inPlace ? " in place" : ""),
        Bound.max(4e-6, "float32 sums over the row, whose terms cancel"),
        (b, t) -> {
          Tensor w = weight ? t[1] : null;
          if (rms) {
            b.rmsNormBackward(t[0], w, BACKWARD_EPS, t[2], t[inPlace ? 2 : 3]);
          } else {
            b.layerNormBackward(t[0], w, BACKWARD_EPS, t[2], t[inPlace ? 2 : 3]);
          }
        },
        in(F32, n, d, NORMAL),
        in(F32, 1, d, NORMAL),
        inPlace ? inout(F32, n, d, NORMAL) : in(F32, n, d, NORMAL),
        inPlace ? in(F32, 0, d, NORMAL) : out(F32, n, d));
  }

  /// In place writes over what the activation was given.
  public static OpCase activationBackward(
      Activation f, boolean gated, boolean inPlace, long n, long d) {
    return OpCase.of(
        "activationBackward",
        f + (gated ? " gated" : "") + (inPlace ? " in place" : ""),
        Bound.max(2e-6, "float32 exponential or error function").onDevice(8e-6),
        (b, t) -> {
          Tensor dgate = t[inPlace ? 0 : 3];
          Tensor dup = t[inPlace ? 1 : 4];
          b.activationBackward(t[0], gated ? t[1] : null, f, t[2], dgate, gated ? dup : null);
        },
        inPlace ? inout(F32, n, d, Fill.normal(3)) : in(F32, n, d, Fill.normal(3)),
        inPlace && gated ? inout(F32, n, d, NORMAL) : in(F32, n, d, NORMAL),
        in(F32, n, d, NORMAL),
        inPlace ? in(F32, 0, d, NORMAL) : out(F32, n, d),
        inPlace || !gated ? in(F32, 0, d, NORMAL) : out(F32, n, d));
  }

  /// Of whole sequences.
  public static OpCase attentionBackward(AttentionShape s, long dk, long dv) {
    long rows = s.batch() * s.queries();
    OpCase c =
        OpCase.of(
            "attentionBackward",
            "heads "
                + s.heads()
                + "/"
                + s.kvHeads()
                + " tokens "
                + s.queries()
                + " batch "
                + s.batch()
                + (s.window() > 0 ? " window " + s.window() : "")
                + (s.softcap() > 0 ? " softcap" : ""),
            Bound.max(1e-5, "float32 softmax, and sums over queries or keys")
                .onDevice(4e-5)
                .fast(2e-2),
            (b, t) -> b.attentionBackward(t[0], t[1], t[2], s, t[3], t[4], t[5], t[6]),
            in(F32, rows, s.heads() * dk, NORMAL),
            in(F32, rows, s.kvHeads() * dk, NORMAL),
            in(F32, rows, s.kvHeads() * dv, NORMAL),
            in(F32, rows, s.heads() * dv, NORMAL),
            out(F32, rows, s.heads() * dk),
            out(F32, rows, s.kvHeads() * dk),
            out(F32, rows, s.kvHeads() * dv));
    // With one visible key dq and dk are 0, to which no error can be relative: all in one vector.
    return s.queries() == 1 || s.window() == 1 || dv == 0 ? c.together() : c;
  }

  /// The uniforms lie in the middle of a token's share of the row, far from where rounding decides.
  public static OpCase sampledGradient(float softcap, long n, long vocabulary) {
    Fill logits = (t, random) -> Fill.each(t, (i, j) -> logit(i, j));
    Fill uniforms = (t, random) -> Fill.each(t, (_, i) -> middle(i, vocabulary, random));
    return OpCase.of(
        "sampledGradient",
        softcap > 0 ? "softcap" : "",
        Bound.max(2e-6, "float32 exponentials"),
        (b, t) -> b.sampledGradient(t[0], softcap, t[1], t[2]),
        inout(F32, n, vocabulary, logits),
        in(F32, 1, n, uniforms),
        out(I32, 1, n));
  }

  /// Between -4 and 4, without a visible order.
  private static double logit(long row, long col) {
    return (float) (4 * Math.sin(1 + 1.7 * row + 0.61 * col * col));
  }

  /// A uniform that draws a token of the row, each with its probability.
  private static double middle(long row, long vocabulary, RandomGenerator random) {
    double sum = 0;
    for (long j = 0; j < vocabulary; j++) {
      sum += Math.exp(logit(row, j));
    }
    double left = random.nextDouble() * sum;
    double before = 0;
    long token = 0;
    while (token + 1 < vocabulary && before + Math.exp(logit(row, token)) < left) {
      before += Math.exp(logit(row, token));
      token++;
    }
    return (before + Math.exp(logit(row, token)) / 2) / sum;
  }

  private static final Bound STATISTIC =
      Bound.sum(1e-6, "float32 products summed in short runs, runs in float64");

  /// Two factors that each round by 2^-8.
  private static final double BF16_PRODUCT = 0x1p-7;

  public static OpCase gram(long n, long d) {
    return OpCase.of(
        "gram",
        "",
        STATISTIC.fast(BF16_PRODUCT),
        (b, t) -> b.gram(t[0], t[1]),
        in(F32, n, d, NORMAL),
        inout(F64, d, d, NORMAL));
  }

  public static OpCase crossGram(long n, long d, long e) {
    return OpCase.of(
        "crossGram",
        "",
        STATISTIC.rounded(),
        (b, t) -> b.crossGram(t[0], t[1], t[2]),
        in(F32, n, d, NORMAL),
        in(F32, n, e, NORMAL),
        inout(F64, d, e, NORMAL));
  }

  public static OpCase headGram(long n, int heads, long dim) {
    return OpCase.of(
        "headGram",
        heads + " heads",
        STATISTIC.fast(BF16_PRODUCT),
        (b, t) -> b.headGram(t[0], heads, t[1]),
        in(F32, n, heads * dim, NORMAL),
        inout(F64, heads * dim, dim, NORMAL));
  }

  public static OpCase logitCovariance(int tokens, int heads, int kvHeads, long dim) {
    return OpCase.of(
        "logitCovariance",
        heads + "/" + kvHeads + " heads",
        Bound.max(1e-5, "float32 softmax weights and products").fast(2e-3),
        (b, t) -> b.logitCovariance(t[0], t[1], t[2], heads, kvHeads, 0.5f, t[3]),
        in(F32, tokens, heads * dim, NORMAL),
        in(F32, tokens, kvHeads * dim, NORMAL),
        in(I32, 1, Math.min(5, tokens), Fill.integers(0, tokens)),
        inout(F64, heads * dim, dim, NORMAL));
  }

  public static OpCase columnEnergy(long n, long d) {
    return columnEnergy(F32, n, d);
  }

  public static OpCase columnEnergy(DType dtype, long n, long d) {
    return OpCase.of(
        "columnEnergy",
        "",
        STATISTIC,
        (b, t) -> b.columnEnergy(t[0], t[1]),
        in(dtype, n, d, NORMAL),
        inout(F64, 1, d, Fill.constant(3)));
  }

  public static OpCase blockInfluence(long n, long d) {
    return OpCase.of(
        "blockInfluence",
        "",
        Bound.max(1e-6, "float32 or float64 row sums"),
        (b, t) -> b.blockInfluence(t[0], t[1], t[2]),
        in(F32, n, d, NORMAL),
        in(F32, n, d, Fill.normal(2)),
        inout(F64, 1, 3, Fill.constant(0.5)));
  }

  public static OpCase linear(DType weights, boolean bias, long n, long in, long out) {
    return OpCase.of(
        "linear",
        bias ? "bias" : "",
        Bound.sum(1e-6, "float32 sums").rounded(),
        (b, t) -> b.linear(t[0], t[1], bias ? t[2] : null, t[3]),
        in(F32, n, in, NORMAL),
        in(weights, out, in, NORMAL),
        in(F32, 1, out, NORMAL),
        out(F32, n, out));
  }

  /// Two or three matrices that read the same rows, the second without a bias.
  public static OpCase project(DType weights, long n, long in, long... outs) {
    int count = outs.length;
    Operand[] operands = new Operand[1 + 3 * count];
    operands[0] = in(F32, n, in, NORMAL);
    for (int i = 0; i < count; i++) {
      operands[1 + i] = in(weights, outs[i], in, NORMAL);
      operands[1 + count + i] = in(F32, 1, outs[i], NORMAL);
      operands[1 + 2 * count + i] = out(F32, n, outs[i]);
    }
    return OpCase.of(
        "project",
        "",
        Bound.sum(1e-6, "float32 sums").rounded(),
        (b, t) ->
            b.project(
                t[0],
                IntStream.range(0, count)
                    .mapToObj(i ->
                        new Backend.Projection(
                            t[1 + i], i == 1 ? null : t[1 + count + i], t[1 + 2 * count + i]))
                    .toList()),
        operands);
  }

  /// `c = 0.5 op(a) op(b) + beta c`.
  public static OpCase gemm(
      DType dtype, boolean transA, boolean transB, double beta, long m, long n, long k) {
    return OpCase.of(
        "gemm",
        (transA ? "T" : "N") + (transB ? "T" : "N") + (beta == 0 ? "" : " beta " + beta),
        Bound.sum(dtype == F64 ? 2e-15 : 1e-6, dtype.label() + " sums"),
        (b, t) -> b.gemm(transA, transB, 0.5, t[0], t[1], beta, t[2]),
        in(dtype, transA ? k : m, transA ? m : k, NORMAL),
        in(dtype, transB ? n : k, transB ? k : n, NORMAL),
        beta == 0 ? out(dtype, m, n) : inout(dtype, m, n, NORMAL));
  }

  /// Every operation on every dtype and on awkward shapes: well under a minute on one core.
  public static List<OpCase> all() {
    List<OpCase> cases = new ArrayList<>();
    for (long d : WIDTHS) {
      rowWise(cases, d);
    }
    for (DType dtype : DType.values()) {
      dtypes(cases, dtype);
    }
    shaped(cases);
    LinearAlgebraCases.addTo(cases);
    Set<String> names = new HashSet<>();
    cases.removeIf(c -> !names.add(c.toString())); // gaps in one row are none
    return cases;
  }

  private static void both(List<OpCase> cases, OpCase c) {
    cases.add(c);
    cases.add(c.padded(3));
  }

  /// Cases over row lengths.
  private static void rowWise(List<OpCase> cases, long d) {
    both(cases, rmsNorm(3, d, true, false));
    cases.add(rmsNorm(2, d, false, true));
    both(cases, layerNorm(3, d, true));
    cases.add(layerNorm(2, d, false));
    both(cases, rmsNormBackward(3, d, true, false));
    cases.add(rmsNormBackward(2, d, false, true));
    long several = d == 1 ? 2 : d; // of one column the gradient is 0, and no error relative to it
    both(cases, layerNormBackward(3, several, true, false));
    cases.add(layerNormBackward(2, several, false, true));
    for (Activation f : Activation.values()) {
      cases.add(activation(f, 3, d));
      cases.add(gatedActivation(f, 3, d).padded(1));
      both(cases, activationBackward(f, true, false, 3, d));
      cases.add(activationBackward(f, true, true, 3, d).padded(1));
      cases.add(activationBackward(f, false, false, 3, d));
      cases.add(activationBackward(f, false, true, 2, d));
    }
    for (DType dtype : List.of(F32, F64)) {
      both(cases, add(dtype, false, 3, d));
      cases.add(add(dtype, true, 3, d).padded(5));
      cases.add(transpose(dtype, 5, d).padded(2));
    }
    both(cases, scale(0, 3, d));
    cases.add(scale(30, 3, d));
    both(cases, columnEnergy(7, d));
    both(cases, blockInfluence(5, d > 0 ? d : 1));
    both(cases, gram(19, d));
    cases.add(crossGram(11, d, 5).padded(2));
    cases.add(crossGram(11, 3, d));
    both(cases, headGram(13, 2, d));
    if (d > 0) {
      both(cases, nll(4, d, true));
      both(cases, sampledGradient(0, 4, d));
      cases.add(sampledGradient(5, 3, d));
    }
    if (d > 1) { // the divergence of one probability is 0, which no error can be relative to
      cases.add(klDivergence(4, d).padded(1));
    }
    for (long n : new long[] {1, 3, 20}) {
      cases.add(linear(F32, true, n, d, 5).padded(1));
      cases.add(linear(BF16, false, n, d, 6));
      cases.add(linear(F16, true, n, 33, d));
    }
  }

  private static void dtypes(List<OpCase> cases, DType dtype) {
    cases.add(fillZero(dtype, 3, 256).padded(1));
    if (dtype == I32) {
      return;
    }
    long[] widths =
        dtype.quantised() ? new long[] {0, 256, 768} : new long[] {0, 1, 15, 16, 17, 33, 100, 256};
    for (long d : widths) {
      for (DType to : PLAIN) {
        both(cases, cast(dtype, to, 3, d));
      }
      cases.add(countNonFinite(dtype, 5, d).padded(d > 0 ? 2 : 0));
      both(cases, embed(dtype, 11, 6, d));
      if (dtype != F64) {
        for (long n : new long[] {1, 2, 5, 8, 9, 40}) {
          cases.add(linear(dtype, n % 2 == 0, n, d, 37));
        }
        cases.add(linear(dtype, true, 17, d, 3).padded(4));
        cases.add(project(dtype, 1, d, 37, 5, 12).padded(4));
        cases.add(project(dtype, 3, d, 9, 40));
      }
    }
    if (!dtype.quantised()) {
      both(cases, copy(dtype, 4, 33));
      both(cases, gatherRows(dtype, 6, 33, 9));
      both(cases, scatterRows(dtype, 6, 33));
    }
    cases.add(scatterRows(dtype, 5, 256));
    cases.add(gatherRows(dtype, 5, 256, 7));
  }

  private static void shaped(List<OpCase> cases) {
    for (long n : new long[] {0, 1, 4, 33}) {
      both(cases, rope(n, 2, 64, 32, 1));
    }
    cases.add(rope(5, 3, 80, 20, 1)); // part of each head
    cases.add(rope(5, 4, 10, 5, 2).padded(3)); // kept pairs per group of heads
    cases.add(rope(5, 4, 6, 3, 4));
    cases.add(rope(3, 2, 8, 0, 1));
    for (long[] kd : new long[][] {{64, 64}, {16, 24}, {33, 7}, {1, 1}, {128, 128}, {80, 65}}) {
      both(cases, attention(AttentionShape.causal(37, 4, 2, 0.125f), kd[0], kd[1]));
      cases.add(attention(new AttentionShape(2, 1, 19, 24, 6, 3, 0, 0.125f, 0), kd[0], kd[1]));
    }
    for (long tokens : new long[] {0, 1, 2, 63, 64, 65, 130, 300}) {
      cases.add(attention(AttentionShape.causal(tokens, 3, 1, 0.2f), 32, 32));
    }
    cases.add(attention(new AttentionShape(3, 20, 70, 80, 4, 4, 9, 0.2f, 0), 24, 32));
    cases.add(
        attention(new AttentionShape(1, 150, 150, 150, 2, 1, 100, 0.2f, 20), 16, 16).padded(7));
    cases.add(attention(new AttentionShape(0, 4, 4, 4, 2, 1, 0, 0.2f, 0), 16, 16));
    attentionBackward(cases);
    both(cases, spannedAttention(new AttentionShape(7, 1, 61, 64, 6, 3, 0, 0.2f, 0), 32, 24));
    cases.add(spannedAttention(new AttentionShape(2, 1, 1300, 1300, 2, 1, 0, 0.2f, 0), 64, 64));
    cases.add(spannedAttention(new AttentionShape(5, 1, 41, 50, 4, 4, 9, 0.2f, 0), 24, 32));
    cases.add(spannedAttention(new AttentionShape(3, 1, 80, 80, 20, 2, 30, 0.2f, 20), 16, 16));
    cases.add(spannedAttention(new AttentionShape(0, 1, 8, 8, 2, 1, 0, 0.2f, 0), 16, 16));
    for (DType dtype : List.of(F32, F64)) {
      both(cases, gatherColumns(dtype, 5, 40, 17));
      cases.add(gatherColumns(dtype, 3, 8, 0));
      for (long n : new long[] {0, 1, 31, 64, 97}) {
        both(cases, triangle(dtype, true, n));
        both(cases, triangle(dtype, false, n));
      }
      both(cases, transpose(dtype, 130, 67));
    }
    both(cases, gram(700, 130));
    both(cases, crossGram(600, 70, 130));
    cases.add(headGram(515, 3, 64));
    cases.add(columnEnergy(3000, 130));
    both(cases, columnEnergy(F64, 300, 33));
    cases.add(brainSurgeon(0, 0));
    cases.add(brainSurgeon(1, 1));
    both(cases, brainSurgeon(40, 9));
    cases.add(brainSurgeon(300, 64));
    both(cases, logitCovariance(150, 6, 2, 16));
    cases.add(logitCovariance(40, 2, 2, 64));
    cases.add(logitCovariance(33, 3, 1, 10));
    cases.add(gram(0, 9));
    cases.add(nll(3, 5000, false));
    cases.add(nll(0, 10, true));
    cases.add(sampledGradient(0, 3, 5000));
    cases.add(sampledGradient(30, 2, 2500).padded(3));
    cases.add(sampledGradient(0, 0, 10));
    cases.add(klDivergence(2, 5000));
    cases.add(linear(BF16, true, 65, 576, 700));
    cases.add(linear(DType.Q4_0, false, 65, 576, 700));
    cases.add(linear(F32, true, 0, 8, 9));
    for (DType dtype : List.of(F32, F64)) {
      for (int t = 0; t < 4; t++) {
        both(cases, gemm(dtype, t % 2 == 1, t / 2 == 1, t == 3 ? 0.25 : 0, 33, 17, 65));
      }
      cases.add(gemm(dtype, false, false, 1, 5, 7, 0));
      cases.add(gemm(dtype, false, true, 0, 5, 7, 0));
      cases.add(gemm(dtype, false, true, 0, 0, 7, 3));
      cases.add(gemm(dtype, true, false, 0, 200, 1, 300));
    }
  }

  private static void attentionBackward(List<OpCase> cases) {
    for (long[] kd : new long[][] {{64, 64}, {16, 24}, {33, 7}, {1, 1}, {128, 128}, {80, 65}}) {
      both(cases, attentionBackward(AttentionShape.causal(37, 4, 2, 0.125f), kd[0], kd[1]));
    }
    for (long tokens : new long[] {0, 1, 2, 15, 16, 17, 48, 49, 130}) {
      cases.add(attentionBackward(AttentionShape.causal(tokens, 3, 1, 0.2f), 32, 32));
      cases.add(attentionBackward(AttentionShape.causal(tokens, 2, 2, 0.2f), 20, 12).padded(2));
    }
    for (int window : new int[] {1, 9, 70}) {
      cases.add(
          attentionBackward(new AttentionShape(3, 70, 70, 70, 4, 4, window, 0.2f, 0), 24, 32));
    }
    both(
        cases, attentionBackward(new AttentionShape(1, 150, 150, 150, 2, 1, 100, 0.5f, 4), 16, 16));
    cases.add(attentionBackward(new AttentionShape(2, 60, 60, 60, 14, 2, 0, 0.3f, 3), 10, 5));
    cases.add(attentionBackward(new AttentionShape(0, 4, 4, 4, 2, 1, 0, 0.2f, 0), 16, 16));
  }
}
