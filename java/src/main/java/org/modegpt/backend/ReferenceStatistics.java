package org.modegpt.backend;

import org.modegpt.tensor.Tensor;

/// Statistics of the reference back-end that take more than a few lines.
final class ReferenceStatistics {
  private ReferenceStatistics() {}

  /// See {@link Backend#logitCovariance}: features are formed and centred key by key.
  static void logitCovariance(
      Tensor q, Tensor k, Tensor queries, int heads, int kvHeads, float scale, Tensor c) {
    int dim = Math.toIntExact(q.cols() / heads);
    for (int head = 0; head < heads; head++) {
      long column = (long) head / (heads / kvHeads) * dim;
      for (long i = 0; i < queries.cols(); i++) {
        int m = (int) queries.get(0, i);
        if (m < 0 || m >= q.rows()) {
          throw new IllegalArgumentException("logitCovariance: query " + m + " of " + q.rows());
        }
        double[] query = row(q, m, (long) head * dim, dim);
        double[][] features = new double[m + 1][];
        double[] weights = new double[m + 1];
        double max = Double.NEGATIVE_INFINITY;
        for (int n = 0; n <= m; n++) {
          double[] key = row(k, n, column, dim);
          features[n] = features(query, key, scale);
          for (int p = 0; p < dim / 2; p++) {
            weights[n] += features[n][p];
          }
          max = Math.max(max, weights[n]);
        }
        add(features, softmax(weights, max), c, (long) head * dim);
      }
    }
  }

  private static double[] row(Tensor x, long row, long from, int count) {
    double[] values = new double[count];
    for (int t = 0; t < count; t++) {
      values[t] = x.get(row, from + t);
    }
    return values;
  }

  private static double[] features(double[] q, double[] k, double scale) {
    int half = q.length / 2;
    double[] f = new double[q.length];
    for (int p = 0; p < half; p++) {
      f[p] = scale * (q[p] * k[p] + q[p + half] * k[p + half]);
      f[p + half] = scale * (q[p] * k[p + half] - q[p + half] * k[p]);
    }
    return f;
  }

  private static double[] softmax(double[] logits, double max) {
    double sum = 0;
    double[] weights = new double[logits.length];
    for (int n = 0; n < weights.length; n++) {
      weights[n] = Math.exp(logits[n] - max);
      sum += weights[n];
    }
    for (int n = 0; n < weights.length; n++) {
      weights[n] /= sum;
    }
    return weights;
  }

  private static void add(double[][] features, double[] weights, Tensor c, long firstRow) {
    int dim = features[0].length;
    double[] mean = new double[dim];
    for (int n = 0; n < features.length; n++) {
      for (int t = 0; t < dim; t++) {
        mean[t] += weights[n] * features[n][t];
      }
    }
    for (int s = 0; s < dim; s++) {
      for (int t = 0; t < dim; t++) {
        double sum = c.get(firstRow + s, t);
        for (int n = 0; n < features.length; n++) {
          sum += weights[n] * (features[n][s] - mean[s]) * (features[n][t] - mean[t]);
        }
        c.set(firstRow + s, t, sum);
      }
    }
  }
}
