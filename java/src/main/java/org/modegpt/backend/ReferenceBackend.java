package org.modegpt.backend;

import static org.modegpt.backend.Dequantiser.matrix;
import static org.modegpt.backend.Dequantiser.row;
import static org.modegpt.backend.Dequantiser.write;
import static org.modegpt.backend.Dequantiser.writeMatrix;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.function.DoubleUnaryOperator;
import org.jspecify.annotations.Nullable;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Plain Java in double precision: the oracle of the tests, and the last fall-back where no native
/// library can be loaded. Trusts its arguments; {@link CheckedBackend} checks them.
class ReferenceBackend implements Backend {

  @Override
  public String name() {
    return "reference";
  }

  @Override
  public String describe() {
    return "plain Java in double precision, 1 thread (slow)";
  }

  @Override
  public boolean unifiedMemory() {
    return true;
  }

  @Override
  public Tensor allocate(Arena arena, DType dtype, long rows, long cols) {
    return Tensor.allocate(arena, dtype, rows, cols);
  }

  @Override
  public void copy(Tensor source, Tensor destination) {
    destination.copyFrom(source);
  }

  @Override
  public void fillZero(Tensor x) {
    for (long i = 0; x.cols() > 0 && i < x.rows(); i++) {
      x.data().asSlice(i * x.dtype().bytes(x.stride()), x.dtype().bytes(x.cols())).fill((byte) 0);
    }
  }

  @Override
  public void sync() {}

  @Override
  public void close() {}

  // ---- element-wise and row-wise

  @Override
  public void cast(Tensor source, Tensor destination) {
    for (long i = 0; i < source.rows(); i++) {
      write(destination, i, row(source, i));
    }
  }

  @Override
  public void transpose(Tensor source, Tensor destination) {
    for (long i = 0; i < source.rows(); i++) {
      for (long j = 0; j < source.cols(); j++) {
        destination.set(j, i, source.get(i, j));
      }
    }
  }

  @Override
  public long countNonFinite(Tensor x) {
    long bad = 0;
    for (long i = 0; i < x.rows(); i++) {
      bad += Arrays.stream(row(x, i)).filter(v -> !Double.isFinite(v)).count();
    }
    return bad;
  }

  @Override
  public void embed(Tensor table, Tensor ids, Tensor out) {
    for (int id : ids.toInts()) {
      requireIndex("embed", "id", id, table.rows());
    }
    for (long i = 0; i < out.rows(); i++) {
      write(out, i, row(table, (long) ids.get(0, i)));
    }
  }

  private static void requireIndex(String op, String what, int index, long size) {
    if (index < 0 || index >= size) {
      throw new IllegalArgumentException(
          op + ": " + what + " " + index + " is outside 0.." + (size - 1));
    }
  }

  @Override
  public void rmsNorm(Tensor x, @Nullable Tensor weight, float eps, Tensor y) {
    normalise(x, false, weight, null, eps, y);
  }

  @Override
  public void layerNorm(
      Tensor x, @Nullable Tensor weight, @Nullable Tensor bias, float eps, Tensor y) {
    normalise(x, true, weight, bias, eps, y);
  }

  private static void normalise(
      Tensor x,
      boolean centre,
      @Nullable Tensor weight,
      @Nullable Tensor bias,
      float eps,
      Tensor y) {
    for (long i = 0; i < x.rows(); i++) {
      double[] v = row(x, i);
      double mean = centre ? Arrays.stream(v).sum() / v.length : 0;
      double variance = Arrays.stream(v).map(t -> (t - mean) * (t - mean)).sum() / v.length;
      for (int j = 0; j < v.length; j++) {
        v[j] = (v[j] - mean) / Math.sqrt(variance + eps);
        v[j] = v[j] * (weight == null ? 1 : weight.get(0, j)) + (bias == null ? 0 : bias.get(0, j));
      }
      write(y, i, v);
    }
  }

  @Override
  public void rope(Tensor x, Tensor positions, Tensor frequencies, int heads) {
    int dim = Math.toIntExact(x.cols() / heads);
    int pairs = Math.toIntExact(frequencies.cols());
    for (long i = 0; i < x.rows(); i++) {
      double[] v = row(x, i);
      for (int head = 0; head < heads; head++) {
        long set = head / (heads / frequencies.rows());
        for (int t = 0; t < pairs; t++) {
          double angle = positions.get(0, i) * frequencies.get(set, t);
          int at = head * dim + t;
          double re = v[at];
          double im = v[at + pairs];
          v[at] = re * Math.cos(angle) - im * Math.sin(angle);
          v[at + pairs] = re * Math.sin(angle) + im * Math.cos(angle);
        }
      }
      write(x, i, v);
    }
  }

  @Override
  public void attention(
      Tensor q, Tensor k, Tensor v, AttentionShape s, @Nullable Tensor spans, Tensor out) {
    int dk = Math.toIntExact(q.cols() / s.heads());
    int dv = Math.toIntExact(v.cols() / s.kvHeads());
    double[][] keys = matrix(k);
    double[][] values = matrix(v);
    for (long b = 0; b < s.batch(); b++) {
      int base = Math.toIntExact(spans == null ? b * s.keyCapacity() : (long) spans.get(0, b));
      long count = spans == null ? s.keys() : (long) spans.get(1, b);
      for (long i = 0; i < s.queries(); i++) {
        double[] query = row(q, b * s.queries() + i);
        double[] result = new double[s.heads() * dv];
        int last = Math.toIntExact(count - s.queries() + i);
        int first = s.window() > 0 ? Math.max(0, last - s.window() + 1) : 0;
        for (int head = 0; head < s.heads(); head++) {
          int kvHead = head / (s.heads() / s.kvHeads());
          double[] weights = new double[last - first + 1];
          for (int j = first; j <= last; j++) {
            double sum = 0;
            for (int d = 0; d < dk; d++) {
              sum += query[head * dk + d] * keys[base + j][kvHead * dk + d];
            }
            weights[j - first] = softcap(sum * s.scale(), s.softcap());
          }
          softmax(weights);
          for (int j = first; j <= last; j++) {
            for (int d = 0; d < dv; d++) {
              result[head * dv + d] += weights[j - first] * values[base + j][kvHead * dv + d];
            }
          }
        }
        write(out, b * s.queries() + i, result);
      }
    }
  }

  private static double softcap(double x, float cap) {
    return cap > 0 ? cap * Math.tanh(x / cap) : x;
  }

  /// Replaces logits by probabilities; returns log sum exp.
  static double softmax(double[] x) {
    double max = Arrays.stream(x).max().orElse(0);
    double sum = 0;
    for (int i = 0; i < x.length; i++) {
      x[i] = Math.exp(x[i] - max);
      sum += x[i];
    }
    for (int i = 0; i < x.length; i++) {
      x[i] /= sum;
    }
    return max + Math.log(sum);
  }

  static DoubleUnaryOperator function(Activation activation) {
    return switch (activation) {
      case SILU -> x -> x / (1 + Math.exp(-x));
      case GELU -> x -> x * normalCdf(x);
      case GELU_TANH ->
          x -> 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
      case RELU -> x -> x > 0 || Double.isNaN(x) ? x : 0;
      case IDENTITY -> x -> x;
    };
  }

  /// Standard normal distribution: the power series near 0, the continued fraction of Mills' ratio
  /// in the tails.
  static double normalCdf(double x) {
    if (Double.isNaN(x)) {
      return x;
    }
    double density = Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
    if (Math.abs(x) < 4) {
      double sum = x;
      double term = x;
      for (int i = 3; Math.abs(term) > 1e-18 * Math.abs(sum); i += 2) {
        term *= x * x / i;
        sum += term;
      }
      return 0.5 + density * sum;
    }
    double fraction = 0;
    for (int i = 60; i > 0; i--) {
      fraction = i / (Math.abs(x) + fraction);
    }
    double tail = density / (Math.abs(x) + fraction);
    return x > 0 ? 1 - tail : tail;
  }

  @Override
  public void gatedActivation(Tensor gate, Tensor up, Activation activation, Tensor y) {
    DoubleUnaryOperator f = function(activation);
    for (long i = 0; i < gate.rows(); i++) {
      double[] g = row(gate, i);
      double[] u = row(up, i);
      Arrays.setAll(g, j -> f.applyAsDouble(g[j]) * u[j]);
      write(y, i, g);
    }
  }

  private static void map(Tensor x, DoubleUnaryOperator f) {
    for (long i = 0; i < x.rows(); i++) {
      write(x, i, Arrays.stream(row(x, i)).map(f).toArray());
    }
  }

  @Override
  public void activation(Tensor x, Activation activation) {
    map(x, function(activation));
  }

  @Override
  public void add(float alpha, Tensor x, Tensor y) {
    for (long i = 0; i < y.rows(); i++) {
      double[] u = row(x, x.rows() == 1 ? 0 : i);
      double[] v = row(y, i);
      Arrays.setAll(v, j -> v[j] + alpha * u[j]);
      write(y, i, v);
    }
  }

  @Override
  public void scale(float alpha, float softcap, Tensor x) {
    map(x, v -> softcap(v * alpha, softcap));
  }

  @Override
  public void gatherColumns(Tensor x, Tensor index, Tensor y) {
    int[] from = index.toInts();
    for (int j : from) {
      requireIndex("gatherColumns", "index", j, x.cols());
    }
    for (long i = 0; i < x.rows(); i++) {
      double[] v = row(x, i);
      write(y, i, Arrays.stream(from).mapToDouble(j -> v[j]).toArray());
    }
  }

  @Override
  public void gatherRows(Tensor x, Tensor index, Tensor y) {
    int[] from = index.toInts();
    for (int i = 0; i < from.length; i++) {
      requireIndex("gatherRows", "index", from[i], x.rows());
      y.rows(i, i + 1L).copyFrom(x.rows(from[i], from[i] + 1L));
    }
  }

  @Override
  public void scatterRows(Tensor x, Tensor index, Tensor y) {
    int[] to = index.toInts();
    for (int i = 0; i < to.length; i++) {
      requireIndex("scatterRows", "index", to[i], y.rows());
      y.rows(to[i], to[i] + 1L).copyFrom(x.rows(i, i + 1L));
    }
  }

  @Override
  public void clearUpper(Tensor x) {
    aboveDiagonal(x, false);
  }

  @Override
  public void mirrorLower(Tensor x) {
    aboveDiagonal(x, true);
  }

  private static void aboveDiagonal(Tensor x, boolean mirror) {
    for (long i = 0; i < x.rows(); i++) {
      for (long j = i + 1; j < x.cols(); j++) {
        x.set(i, j, mirror ? x.get(j, i) : 0);
      }
    }
  }

  // ---- losses

  @Override
  public void nll(Tensor logits, Tensor targets, Tensor nll, @Nullable Tensor argmax) {
    if (logits.cols() == 0) {
      return;
    }
    for (int target : targets.toInts()) {
      requireIndex("nll", "target", Math.max(target, 0), logits.cols());
    }
    for (long i = 0; i < logits.rows(); i++) {
      double[] v = row(logits, i);
      int target = (int) targets.get(0, i);
      double chosen = target < 0 ? 0 : v[target];
      if (argmax != null) {
        int best = 0;
        for (int j = 1; j < v.length; j++) {
          best = v[j] > v[best] ? j : best;
        }
        argmax.set(0, i, best);
      }
      nll.set(0, i, target < 0 ? 0 : softmax(v) - chosen);
    }
  }

  @Override
  public void klDivergence(Tensor p, Tensor q, Tensor kl) {
    for (long i = 0; i < p.rows(); i++) {
      double[] logP = row(p, i);
      double[] logQ = row(q, i);
      double[] weights = logP.clone();
      double normP = softmax(weights);
      double normQ = softmax(logQ.clone());
      double sum = 0;
      for (int j = 0; j < weights.length; j++) {
        sum += weights[j] * (logP[j] - normP - (logQ[j] - normQ));
      }
      kl.set(0, i, sum);
    }
  }

  // ---- gradients

  @Override
  public void rmsNormBackward(Tensor x, @Nullable Tensor weight, float eps, Tensor dy, Tensor dx) {
    ReferenceGradients.norm(x, false, weight, eps, dy, dx);
  }

  @Override
  public void layerNormBackward(
      Tensor x, @Nullable Tensor weight, float eps, Tensor dy, Tensor dx) {
    ReferenceGradients.norm(x, true, weight, eps, dy, dx);
  }

  @Override
  public void activationBackward(
      Tensor gate,
      @Nullable Tensor up,
      Activation activation,
      Tensor dy,
      Tensor dgate,
      @Nullable Tensor dup) {
    ReferenceGradients.activation(gate, up, activation, dy, dgate, dup);
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
    ReferenceGradients.attention(q, k, v, shape, dout, dq, dk, dv);
  }

  @Override
  public void sampledGradient(Tensor logits, float softcap, Tensor uniforms, Tensor ids) {
    ReferenceGradients.sampled(logits, softcap, uniforms, ids);
  }

  // ---- statistics

  /// `c[i + base, j] += Σ x[:, i + offset] y[:, j + offset]` for j < cols, or only j <= i.
  private static void accumulate(Tensor x, Tensor y, Tensor c, boolean lower) {
    for (long t = 0; t < x.rows(); t++) {
      double[] u = row(x, t);
      double[] v = row(y, t);
      for (int i = 0; i < u.length; i++) {
        for (int j = 0; j < (lower ? i + 1 : v.length); j++) {
          c.set(i, j, c.get(i, j) + u[i] * v[j]);
        }
      }
    }
  }

  @Override
  public void gram(Tensor x, Tensor c) {
    accumulate(x, x, c, true);
  }

  @Override
  public void crossGram(Tensor x, Tensor y, Tensor c) {
    accumulate(x, y, c, false);
  }

  @Override
  public void headGram(Tensor x, int heads, Tensor c) {
    long dim = x.cols() / heads;
    for (long head = 0; head < heads; head++) {
      Tensor part = x.columns(head * dim, (head + 1) * dim);
      accumulate(part, part, c.rows(head * dim, (head + 1) * dim), false);
    }
  }

  @Override
  public void logitCovariance(
      Tensor q, Tensor k, Tensor queries, int heads, int kvHeads, float scale, Tensor c) {
    ReferenceStatistics.logitCovariance(q, k, queries, heads, kvHeads, scale, c);
  }

  @Override
  public void columnEnergy(Tensor x, Tensor energy) {
    for (long i = 0; i < x.rows(); i++) {
      for (long j = 0; j < x.cols(); j++) {
        energy.set(0, j, energy.get(0, j) + x.get(i, j) * x.get(i, j));
      }
    }
  }

  @Override
  public void blockInfluence(Tensor x, Tensor y, Tensor accumulator) {
    double[] sums = row(accumulator, 0);
    for (long i = 0; i < x.rows(); i++) {
      double[] u = row(x, i);
      double[] v = row(y, i);
      double uu = 0;
      double vv = 0;
      double uv = 0;
      double change = 0;
      for (int j = 0; j < u.length; j++) {
        uu += u[j] * u[j];
        vv += v[j] * v[j];
        uv += u[j] * v[j];
        change += (v[j] - u[j]) * (v[j] - u[j]);
      }
      sums[0] += uv / Math.sqrt(uu * vv);
      sums[1] += change / uu;
      sums[2]++;
    }
    write(accumulator, 0, sums);
  }

  // ---- elimination

  /// Step by step as the formulas say, without panels.
  @Override
  public void brainSurgeon(
      Tensor p, Tensor k, Tensor gone, Tensor panel, Tensor pivots, Tensor costs) {
    int n = Math.toIntExact(p.rows());
    long steps = panel.rows() / 4;
    double[][] inverse = new double[n][];
    double[][] outer = new double[n][];
    for (int i = 0; i < n; i++) {
      inverse[i] = row(p, i);
      outer[i] = row(k, i);
    }
    for (long s = 0; s < steps; s++) {
      int best = -1;
      double least = 0;
      for (int i = 0; i < n; i++) {
        double cost = Math.max(0, outer[i][i]) / inverse[i][i];
        if (gone.get(0, i) == 0 && (best < 0 || cost < least)) {
          best = i;
          least = cost;
        }
      }
      if (best < 0) {
        throw new IllegalArgumentException("brainSurgeon: no unit is left for step " + s);
      }
      gone.set(0, best, 1);
      pivots.set(0, s, best);
      costs.set(0, s, least);
      double[] u = inverse[best].clone();
      double[] kappa = outer[best].clone();
      double[] a = new double[n];
      double[] c = new double[n];
      for (int j = 0; j < n; j++) {
        a[j] = u[j] / u[best];
        c[j] = kappa[j] - a[j] * kappa[best];
      }
      for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
          inverse[i][j] -= a[i] * u[j];
          outer[i][j] -= a[i] * kappa[j] + c[i] * a[j];
        }
      }
      write(panel, s, c);
      write(panel, steps + s, a);
      write(panel, 2 * steps + s, kappa);
      write(panel, 3 * steps + s, u);
    }
  }

  // ---- dense linear algebra

  @Override
  public void linear(Tensor x, Tensor w, @Nullable Tensor bias, Tensor y) {
    double[][] weights = matrix(w);
    double[] start = bias == null ? new double[weights.length] : row(bias, 0);
    for (long i = 0; i < x.rows(); i++) {
      double[] v = row(x, i);
      double[] result = new double[weights.length];
      Arrays.setAll(result, o -> start[o] + dot(v, weights[o]));
      write(y, i, result);
    }
  }

  private static double dot(double[] x, double[] y) {
    double sum = 0;
    for (int i = 0; i < x.length; i++) {
      sum += x[i] * y[i];
    }
    return sum;
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
    double[][] left = matrix(a);
    double[][] rowsOfA = transposeA ? ReferenceAlgebra.transpose(left, (int) a.cols()) : left;
    double[][] right = matrix(b);
    double[][] columnsOfB = transposeB ? right : ReferenceAlgebra.transpose(right, (int) b.cols());
    for (int i = 0; i < rowsOfA.length; i++) {
      double[] result = row(c, i);
      for (int j = 0; j < result.length; j++) {
        double kept = beta == 0 ? 0 : beta * result[j]; // BLAS rule: beta = 0 overwrites even NaN
        result[j] = alpha * dot(rowsOfA[i], columnsOfB[j]) + kept;
      }
      write(c, i, result);
    }
  }

  @Override
  public long cholesky(Tensor a) {
    double[][] m = matrix(a);
    int failed = ReferenceAlgebra.cholesky(m);
    writeMatrix(a, m);
    return failed;
  }

  @Override
  public void triangularSolve(Tensor l, boolean left, boolean transpose, Tensor b) {
    double[][] m = matrix(l);
    double[][] rows = left ? ReferenceAlgebra.transpose(matrix(b), (int) b.cols()) : matrix(b);
    for (double[] r : rows) {
      ReferenceAlgebra.solveLower(m, left == transpose, r); // X op(L) = B is op(L)ᵀ Xᵀ = Bᵀ
    }
    writeMatrix(b, left ? ReferenceAlgebra.transpose(rows, (int) b.rows()) : rows);
  }

  @Override
  public void triangularInverse(Tensor l) {
    double[][] m = matrix(l);
    for (int j = 0; j < m.length; j++) {
      double[] column = new double[m.length];
      column[j] = 1;
      ReferenceAlgebra.solveLower(m, false, column);
      for (int i = j; i < m.length; i++) {
        l.set(i, j, column[i]);
      }
    }
  }

  @Override
  public void symmetricEigen(Tensor a, Tensor values) {
    double[][] m = matrix(a);
    write(values, 0, ReferenceAlgebra.symmetricEigen(m));
    writeMatrix(a, m);
  }

  @Override
  public void svd(Tensor a, Tensor u, Tensor s, Tensor vt) {
    double[][] m = matrix(a);
    boolean tall = a.rows() > a.cols();
    double[][] rows = tall ? ReferenceAlgebra.transpose(m, (int) a.cols()) : m;
    double[][] rotations = new double[rows.length][];
    write(s, 0, ReferenceAlgebra.svdOfRows(rows, rotations));
    double[][] ut = tall ? rows : rotations;
    writeMatrix(u, ReferenceAlgebra.transpose(ut, (int) u.rows()));
    writeMatrix(vt, tall ? rotations : rows);
  }
}
