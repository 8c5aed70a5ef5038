package org.modegpt.compress;

/// Dense algebra on matrices of a head's size, where a call to a library would cost more than the
/// work.
final class SmallMatrix {
  private SmallMatrix() {}

  /// Inverse of a symmetric positive definite matrix.
  static double[][] inverse(double[][] a) {
    int n = a.length;
    double[][] l = cholesky(a);
    double[][] inverse = new double[n][n];
    for (int column = 0; column < n; column++) {
      double[] x = new double[n];
      x[column] = 1;
      for (int i = column; i < n; i++) {
        for (int k = column; k < i; k++) {
          x[i] -= l[i][k] * x[k];
        }
        x[i] /= l[i][i];
      }
      for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++) {
          x[i] -= l[k][i] * x[k];
        }
        x[i] /= l[i][i];
      }
      inverse[column] = x;
    }
    return inverse;
  }

  private static double[][] cholesky(double[][] a) {
    int n = a.length;
    double[][] l = new double[n][n];
    for (int i = 0; i < n; i++) {
      for (int j = 0; j <= i; j++) {
        double sum = a[i][j];
        for (int k = 0; k < j; k++) {
          sum -= l[i][k] * l[j][k];
        }
        if (i != j) {
          l[i][j] = sum / l[j][j];
        } else if (sum > 0) {
          l[i][i] = Math.sqrt(sum);
        } else {
          throw new IllegalArgumentException("matrix is not positive definite at row " + i);
        }
      }
    }
    return l;
  }
}
