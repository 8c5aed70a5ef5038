package org.modegpt.backend;

import java.util.Comparator;
import java.util.stream.IntStream;

/// Dense linear algebra in plain double precision: the textbook method each, chosen for being
/// obviously right.
final class ReferenceAlgebra {

  private static final int MAX_SWEEPS = 60;

  private ReferenceAlgebra() {}

  /// Lower factor in place (the upper triangle is not touched); 0, or the 1-based order of the
  /// failing leading minor.
  static int cholesky(double[][] a) {
    for (int j = 0; j < a.length; j++) {
      double pivot = a[j][j] - dot(a[j], a[j], j);
      if (!(pivot > 0)) {
        return j + 1;
      }
      a[j][j] = Math.sqrt(pivot);
      for (int i = j + 1; i < a.length; i++) {
        a[i][j] = (a[i][j] - dot(a[i], a[j], j)) / a[j][j];
      }
    }
    return 0;
  }

  private static double dot(double[] x, double[] y, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) {
      sum += x[i] * y[i];
    }
    return sum;
  }

  /// Solves `op(l) x = b` in place.
  static void solveLower(double[][] l, boolean transpose, double[] b) {
    int n = l.length;
    for (int step = 0; step < n; step++) {
      int i = transpose ? n - 1 - step : step;
      double sum = b[i];
      for (int k = transpose ? i + 1 : 0; k < (transpose ? n : i); k++) {
        sum -= (transpose ? l[k][i] : l[i][k]) * b[k];
      }
      b[i] = sum / l[i][i];
    }
  }

  static double[][] transpose(double[][] a, int cols) {
    double[][] t = new double[cols][a.length];
    for (int i = 0; i < a.length; i++) {
      for (int j = 0; j < cols; j++) {
        t[j][i] = a[i][j];
      }
    }
    return t;
  }

  /// Cyclic Jacobi on the symmetric matrix whose lower triangle is given. Replaces the rows of `a`
  /// by eigenvectors and returns the eigenvalues, ascending.
  static double[] symmetricEigen(double[][] a) {
    int n = a.length;
    double[][] v = new double[n][n];
    for (int i = 0; i < n; i++) {
      v[i][i] = 1;
      for (int j = 0; j < i; j++) {
        a[j][i] = a[i][j];
      }
    }
    boolean rotated = true;
    for (int sweep = 0; rotated; sweep++) {
      requireProgress("symmetricEigen", sweep);
      rotated = false;
      for (int p = 0; p < n; p++) {
        for (int q = p + 1; q < n; q++) {
          double scale = Math.abs(a[p][p]) + Math.abs(a[q][q]);
          if (Math.abs(a[p][q]) > 1e-17 * scale + Double.MIN_NORMAL) {
            rotated |= Math.abs(a[p][q]) > 1e-15 * scale;
            jacobi(a, v, p, q);
          }
        }
      }
    }
    double[] values = new double[n];
    for (int i = 0; i < n; i++) {
      values[i] = a[i][i];
    }
    int[] order = order(values, false);
    for (int i = 0; i < n; i++) {
      a[i] = v[order[i]];
    }
    return IntStream.of(order).mapToDouble(i -> values[i]).toArray();
  }

  private static void jacobi(double[][] a, double[][] v, int p, int q) {
    double theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
    double t = Math.copySign(1, theta) / (Math.abs(theta) + Math.hypot(theta, 1));
    double c = 1 / Math.hypot(t, 1);
    double s = t * c;
    for (double[] row : a) {
      double x = row[p];
      row[p] = c * x - s * row[q];
      row[q] = s * x + c * row[q];
    }
    rotate(a[p], a[q], c, s);
    rotate(v[p], v[q], c, s);
    a[p][q] = 0;
    a[q][p] = 0;
  }

  private static void rotate(double[] x, double[] y, double c, double s) {
    for (int i = 0; i < x.length; i++) {
      double xi = x[i];
      x[i] = c * xi - s * y[i];
      y[i] = s * xi + c * y[i];
    }
  }

  /// Indices that sort `values`.
  private static int[] order(double[] values, boolean descending) {
    Comparator<Integer> byValue = Comparator.comparingDouble(i -> values[i]);
    return IntStream.range(0, values.length)
        .boxed()
        .sorted(descending ? byValue.reversed() : byValue)
        .mapToInt(Integer::intValue)
        .toArray();
  }

  /// One-sided Jacobi (Hestenes): rotates the rows of `b` [k, n], k <= n, until they are
  /// orthogonal, so that `b = r diag(s) vt` with the rotations `r`. Returns s, descending; `rt` [k,
  /// k] receives the transpose of r and the rows of `b` become vt.
  static double[] svdOfRows(double[][] b, double[][] rt) {
    int k = b.length;
    for (int i = 0; i < k; i++) {
      rt[i] = new double[k];
      rt[i][i] = 1;
    }
    boolean rotated = true;
    for (int sweep = 0; rotated; sweep++) {
      requireProgress("svd", sweep);
      rotated = false;
      for (int p = 0; p < k; p++) {
        for (int q = p + 1; q < k; q++) {
          int n = b[p].length;
          double pp = dot(b[p], b[p], n);
          double qq = dot(b[q], b[q], n);
          double pq = dot(b[p], b[q], n);
          if (Math.abs(pq)
              > (1e-15 + 2e-16 * n) * Math.sqrt(pp) * Math.sqrt(qq) + Double.MIN_NORMAL) {
            rotated = true;
            double theta = (qq - pp) / (2 * pq);
            double t = Math.copySign(1, theta) / (Math.abs(theta) + Math.hypot(theta, 1));
            double c = 1 / Math.hypot(t, 1);
            rotate(b[p], b[q], c, t * c);
            rotate(rt[p], rt[q], c, t * c);
          }
        }
      }
    }
    double[] norms = new double[k];
    for (int i = 0; i < k; i++) {
      norms[i] = Math.sqrt(dot(b[i], b[i], b[i].length));
    }
    int[] order = order(norms, true);
    permute(b, order);
    permute(rt, order);
    double[] s = IntStream.of(order).mapToDouble(i -> norms[i]).toArray();
    orthonormalise(b, s);
    return s;
  }

  private static void permute(double[][] rows, int[] order) {
    double[][] old = rows.clone();
    for (int i = 0; i < rows.length; i++) {
      rows[i] = old[order[i]];
    }
  }

  /// Divides each row by its norm; rows that are zero to rounding are replaced by any direction
  /// orthogonal to the others.
  private static void orthonormalise(double[][] rows, double[] norms) {
    for (int i = 0; i < rows.length; i++) {
      int unit = 0;
      boolean tiny = !(norms[i] > 1e-14 * norms[0]);
      double norm = norms[i];
      while (tiny) {
        double[] candidate = new double[rows[i].length];
        candidate[unit++] = 1;
        for (int pass = 0; pass < 2; pass++) {
          for (int j = 0; j < i; j++) {
            double along = dot(candidate, rows[j], candidate.length);
            for (int c = 0; c < candidate.length; c++) {
              candidate[c] -= along * rows[j][c];
            }
          }
        }
        norm = Math.sqrt(dot(candidate, candidate, candidate.length));
        rows[i] = candidate;
        tiny = norm < 0.5 / Math.sqrt(candidate.length);
      }
      for (int c = 0; c < rows[i].length; c++) {
        rows[i][c] /= norm;
      }
    }
  }

  private static void requireProgress(String op, int sweep) {
    if (sweep == MAX_SWEEPS) {
      throw new BackendException(op + ": did not converge in " + MAX_SWEEPS + " sweeps");
    }
  }
}
