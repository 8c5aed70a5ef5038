package org.modegpt.backend;

import static org.modegpt.backend.Dequantiser.matrix;
import static org.modegpt.backend.Dequantiser.row;
import static org.modegpt.backend.Dequantiser.write;
import static org.modegpt.backend.Dequantiser.writeMatrix;

import java.util.Arrays;
import java.util.function.DoubleUnaryOperator;
import org.jspecify.annotations.Nullable;
import org.modegpt.tensor.Tensor;

/// Gradients of the reference back-end, by the formulas and step by step.
final class ReferenceGradients {
  private ReferenceGradients() {}

  /// With `n` the normalised row and `g = dy w`: `dx = (g - mean(g) - n mean(g n)) / deviation`,
  /// the first mean only where the norm centres.
  static void norm(
      Tensor x, boolean centre, @Nullable Tensor weight, float eps, Tensor dy, Tensor dx) {
    for (long i = 0; i < x.rows(); i++) {
      double[] n = row(x, i);
      double[] g = row(dy, i);
      double mean = centre ? Arrays.stream(n).sum() / n.length : 0;
      double variance = Arrays.stream(n).map(t -> (t - mean) * (t - mean)).sum() / n.length;
      double deviation = Math.sqrt(variance + eps);
      double sum = 0;
      double product = 0;
      for (int j = 0; j < n.length; j++) {
        n[j] = (n[j] - mean) / deviation;
        g[j] *= weight == null ? 1 : weight.get(0, j);
        sum += g[j];
        product += g[j] * n[j];
      }
      double shift = centre ? sum / n.length : 0;
      for (int j = 0; j < n.length; j++) {
        g[j] = (g[j] - shift - n[j] * product / n.length) / deviation;
      }
      write(dx, i, g);
    }
  }

  static void activation(
      Tensor gate,
      @Nullable Tensor up,
      Activation activation,
      Tensor dy,
      Tensor dgate,
      @Nullable Tensor dup) {
    DoubleUnaryOperator f = ReferenceBackend.function(activation);
    DoubleUnaryOperator slope = derivative(activation);
    for (long i = 0; i < gate.rows(); i++) {
      double[] g = row(gate, i);
      double[] d = row(dy, i);
      double[] dg = new double[g.length];
      double[] du = new double[g.length];
      for (int j = 0; j < g.length; j++) {
        dg[j] = slope.applyAsDouble(g[j]) * d[j] * (up == null ? 1 : up.get(i, j));
        du[j] = f.applyAsDouble(g[j]) * d[j];
      }
      write(dgate, i, dg);
      if (dup != null) {
        write(dup, i, du);
      }
    }
  }

  private static DoubleUnaryOperator derivative(Activation activation) {
    return switch (activation) {
      case SILU ->
          x -> {
            double s = 1 / (1 + Math.exp(-x));
            return s * (1 + x * (1 - s));
          };
      case GELU ->
          x -> ReferenceBackend.normalCdf(x) + x * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
      case GELU_TANH ->
          x -> {
            double root = Math.sqrt(2 / Math.PI);
            double t = Math.tanh(root * (x + 0.044715 * x * x * x));
            return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * root * (1 + 3 * 0.044715 * x * x);
          };
      case RELU -> x -> x > 0 ? 1 : Double.isNaN(x) ? x : 0;
      case IDENTITY -> _ -> 1;
    };
  }

  static void attention(
      Tensor q,
      Tensor k,
      Tensor v,
      AttentionShape s,
      Tensor dout,
      Tensor dq,
      Tensor dk,
      Tensor dv) {
    double[][] gradQ = new double[(int) q.rows()][(int) q.cols()];
    double[][] gradK = new double[(int) k.rows()][(int) k.cols()];
    double[][] gradV = new double[(int) v.rows()][(int) v.cols()];
    double[][] queries = matrix(q);
    double[][] keys = matrix(k);
    double[][] values = matrix(v);
    double[][] outer = matrix(dout);
    int size = Math.toIntExact(q.cols() / s.heads());
    int width = Math.toIntExact(v.cols() / s.kvHeads());
    for (int row = 0; row < queries.length; row++) {
      int start = row - (int) (row % s.queries());
      int first = s.window() > 0 ? Math.max(start, row - s.window() + 1) : start;
      for (int head = 0; head < s.heads(); head++) {
        int kvHead = head / (s.heads() / s.kvHeads());
        double[] weights = new double[row - first + 1];
        double[] slopes = new double[weights.length];
        double[] d = new double[weights.length];
        for (int j = first; j <= row; j++) {
          double logit = s.scale() * dot(queries[row], head * size, keys[j], kvHead * size, size);
          double capped = s.softcap() > 0 ? s.softcap() * Math.tanh(logit / s.softcap()) : logit;
          double share = s.softcap() > 0 ? capped / s.softcap() : 0;
          weights[j - first] = capped;
          slopes[j - first] = 1 - share * share;
          d[j - first] = dot(outer[row], head * width, values[j], kvHead * width, width);
        }
        ReferenceBackend.softmax(weights);
        double mean = dot(weights, 0, d, 0, d.length);
        for (int j = first; j <= row; j++) {
          double p = weights[j - first];
          double ds = p * (d[j - first] - mean) * slopes[j - first] * s.scale();
          add(ds, keys[j], kvHead * size, gradQ[row], head * size, size);
          add(ds, queries[row], head * size, gradK[j], kvHead * size, size);
          add(p, outer[row], head * width, gradV[j], kvHead * width, width);
        }
      }
    }
    writeMatrix(dq, gradQ);
    writeMatrix(dk, gradK);
    writeMatrix(dv, gradV);
  }

  private static double dot(double[] x, int fromX, double[] y, int fromY, int count) {
    double sum = 0;
    for (int t = 0; t < count; t++) {
      sum += x[fromX + t] * y[fromY + t];
    }
    return sum;
  }

  private static void add(double a, double[] x, int fromX, double[] y, int fromY, int count) {
    for (int t = 0; t < count; t++) {
      y[fromY + t] += a * x[fromX + t];
    }
  }

  static void sampled(Tensor logits, float softcap, Tensor uniforms, Tensor ids) {
    for (long i = 0; logits.cols() > 0 && i < logits.rows(); i++) {
      double[] values = row(logits, i);
      double[] p = values.clone();
      ReferenceBackend.softmax(p);
      int id = 0;
      double sum = p[0];
      while (id < p.length - 1 && !(sum > uniforms.get(0, i))) {
        id++;
        sum += p[id];
      }
      p[id] -= 1;
      for (int j = 0; softcap > 0 && j < p.length; j++) {
        double share = values[j] / softcap;
        p[j] *= 1 - share * share;
      }
      write(logits, i, p);
      ids.set(0, i, id);
    }
  }
}
