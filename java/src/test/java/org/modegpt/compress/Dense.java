package org.modegpt.compress;

import java.util.Arrays;
import java.util.Random;

/// Textbook dense algebra on small `double[rows][cols]` matrices, by methods other than those of
/// the engine: Jacobi rotations for eigenvalues and singular values, Gaussian elimination for
/// inverses. Slow and plain, the yardstick of the tests.
final class Dense {
  private Dense() {}

  static double[][] random(Random random, int rows, int cols) {
    double[][] a = new double[rows][cols];
    for (double[] row : a) {
      Arrays.setAll(row, j -> random.nextGaussian());
    }
    return a;
  }

  static double[][] identity(int n) {
    double[][] a = new double[n][n];
    for (int i = 0; i < n; i++) {
      a[i][i] = 1;
    }
    return a;
  }

  static double[][] times(double[][] a, double[][] b) {
    double[][] c = new double[a.length][b[0].length];
    for (int i = 0; i < a.length; i++) {
      for (int k = 0; k < b.length; k++) {
        for (int j = 0; j < c[i].length; j++) {
          c[i][j] += a[i][k] * b[k][j];
        }
      }
    }
    return c;
  }

  static double[][] transposed(double[][] a) {
    double[][] t = new double[a[0].length][a.length];
    for (int i = 0; i < a.length; i++) {
      for (int j = 0; j < t.length; j++) {
        t[j][i] = a[i][j];
      }
    }
    return t;
  }

  static double[][] plus(double[][] a, double factor, double[][] b) {
    double[][] c = new double[a.length][];
    for (int i = 0; i < a.length; i++) {
      c[i] = a[i].clone();
      for (int j = 0; j < c[i].length; j++) {
        c[i][j] += factor * b[i][j];
      }
    }
    return c;
  }

  static double[][] columns(double[][] a, int from, int to) {
    return Arrays.stream(a).map(row -> Arrays.copyOfRange(row, from, to)).toArray(double[][]::new);
  }

  static double[][] rows(double[][] a, int from, int to) {
    return Arrays.copyOfRange(a, from, to);
  }

  static double[][] gram(double[][] x) {
    return times(transposed(x), x);
  }

  static double norm(double[][] a) {
    return Math.sqrt(Arrays.stream(a).flatMapToDouble(Arrays::stream).map(v -> v * v).sum());
  }

  static double maxAbs(double[][] a) {
    return Arrays.stream(a).flatMapToDouble(Arrays::stream).map(Math::abs).max().orElse(0);
  }

  static double[][] inverse(double[][] a) {
    int n = a.length;
    double[][] left = plus(a, 0, a);
    double[][] right = identity(n);
    for (int p = 0; p < n; p++) {
      int best = p;
      for (int i = p + 1; i < n; i++) {
        best = Math.abs(left[i][p]) > Math.abs(left[best][p]) ? i : best;
      }
      swap(left, p, best);
      swap(right, p, best);
      double pivot = left[p][p];
      for (int j = 0; j < n; j++) {
        left[p][j] /= pivot;
        right[p][j] /= pivot;
      }
      for (int i = 0; i < n; i++) {
        double factor = i == p ? 0 : left[i][p];
        for (int j = 0; j < n; j++) {
          left[i][j] -= factor * left[p][j];
          right[i][j] -= factor * right[p][j];
        }
      }
    }
    return right;
  }

  private static void swap(double[][] a, int i, int j) {
    double[] row = a[i];
    a[i] = a[j];
    a[j] = row;
  }

  /// Singular values, descending: one-sided Jacobi on the columns.
  static double[] singularValues(double[][] a) {
    return Arrays.stream(orthogonalColumns(a)[0]).map(v -> -v).sorted().map(v -> -v).toArray();
  }

  /// The symmetric square root of a positive semi-definite matrix: with the one-sided Jacobi form
  /// `C V = V diag(λ)`.
  static double[][] squareRoot(double[][] c) {
    double[][] result = orthogonalColumns(c);
    double[] values = result[0];
    double[][] vectors = rows(result, 1, result.length);
    double[][] scaled = plus(vectors, 0, vectors);
    for (int i = 0; i < scaled.length; i++) {
      for (int j = 0; j < scaled[i].length; j++) {
        scaled[i][j] *= Math.sqrt(values[j]);
      }
    }
    return times(scaled, transposed(vectors));
  }

  /// Rotates the columns of `a` by an orthogonal V until they are orthogonal: row 0 of the result
  /// is their lengths, the rows below are V.
  private static double[][] orthogonalColumns(double[][] a) {
    int n = a[0].length;
    double[][] at = transposed(a);
    double[][] vt = identity(n);
    for (boolean rotated = true; rotated; ) {
      rotated = false;
      for (int p = 0; p < n; p++) {
        for (int q = p + 1; q < n; q++) {
          double alpha = dot(at[p], at[p]);
          double beta = dot(at[q], at[q]);
          double gamma = dot(at[p], at[q]);
          if (Math.abs(gamma) > 1e-15 * Math.sqrt(alpha * beta) && Math.abs(gamma) > 1e-300) {
            rotated = true;
            double zeta = (beta - alpha) / (2 * gamma);
            double tangent = Math.copySign(1, zeta) / (Math.abs(zeta) + Math.hypot(1, zeta));
            double cosine = 1 / Math.hypot(1, tangent);
            rotate(at[p], at[q], cosine, cosine * tangent);
            rotate(vt[p], vt[q], cosine, cosine * tangent);
          }
        }
      }
    }
    double[][] result = new double[n + 1][];
    result[0] = Arrays.stream(at).mapToDouble(column -> Math.sqrt(dot(column, column))).toArray();
    System.arraycopy(transposed(vt), 0, result, 1, n);
    return result;
  }

  private static double dot(double[] x, double[] y) {
    double sum = 0;
    for (int i = 0; i < x.length; i++) {
      sum += x[i] * y[i];
    }
    return sum;
  }

  private static void rotate(double[] x, double[] y, double cosine, double sine) {
    for (int i = 0; i < x.length; i++) {
      double old = x[i];
      x[i] = cosine * old - sine * y[i];
      y[i] = sine * old + cosine * y[i];
    }
  }
}
