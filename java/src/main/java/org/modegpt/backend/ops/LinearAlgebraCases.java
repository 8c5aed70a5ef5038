package org.modegpt.backend.ops;

import static org.modegpt.backend.ops.Operand.in;
import static org.modegpt.backend.ops.Operand.inout;
import static org.modegpt.backend.ops.Operand.out;
import static org.modegpt.backend.ops.Operand.scratch;
import static org.modegpt.tensor.DType.F64;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.modegpt.backend.Backend;
import org.modegpt.tensor.Tensor;

/// Factorisations. Eigenvectors and singular vectors are not unique, so their cases compare the
/// values, the product of the factors and the orthogonality of the vectors.
public final class LinearAlgebraCases {

  private static final long[] ORDERS = {0, 1, 2, 3, 8, 17, 33, 64, 100};

  private LinearAlgebraCases() {}

  /// The lower triangle of a positive definite matrix with eigenvalues from about 0.1 to 4; NaN
  /// above the diagonal, where nothing may be read.
  static final Fill POSITIVE_DEFINITE =
      (t, random) -> {
        int n = (int) t.rows();
        double[][] g = new double[n][n];
        for (double[] row : g) {
          for (int j = 0; j < n; j++) {
            row[j] = random.nextGaussian() / Math.sqrt(n);
          }
        }
        Fill.each(
            t,
            (i, j) -> {
              if (j > i) {
                return Double.NaN;
              }
              double sum = i == j ? 0.1 : 0;
              for (int k = 0; k < n; k++) {
                sum += g[(int) i][k] * g[(int) j][k];
              }
              return sum;
            });
      };

  /// A well conditioned lower triangular matrix; NaN above the diagonal.
  static final Fill LOWER =
      (t, random) ->
          Fill.each(
              t,
              (i, j) ->
                  j > i
                      ? Double.NaN
                      : i == j
                          ? 1 + random.nextDouble()
                          : random.nextGaussian() / (2.0 * t.cols()));

  public static OpCase cholesky(long n) {
    return OpCase.returning(
        "cholesky",
        "",
        Bound.max(1e-13, "float64"),
        (b, t) -> b.cholesky(t[0]),
        inout(F64, n, n, POSITIVE_DEFINITE));
  }

  /// `count` matrices at once.
  public static OpCase choleskyBatch(long n, long count) {
    return OpCase.of(
        "choleskyBatch",
        count + " matrices",
        Bound.max(1e-12, "float64"),
        (b, t) -> b.choleskyBatch(t[0], t[1]),
        inout(
            F64,
            count * n,
            n,
            (t, random) -> {
              for (long i = 0; i < count; i++) {
                POSITIVE_DEFINITE.fill(t.rows(i * n, (i + 1) * n), random);
              }
            }),
        out(F64, count * n, n));
  }

  public static OpCase triangularSolve(boolean left, boolean transpose, long n, long m) {
    return OpCase.of(
        "triangularSolve",
        (left ? "left" : "right") + (transpose ? " transposed" : ""),
        Bound.max(1e-13, "float64"),
        (b, t) -> b.triangularSolve(t[0], left, transpose, t[1]),
        in(F64, n, n, LOWER),
        inout(F64, left ? n : m, left ? m : n, Fill.normal(1)));
  }

  public static OpCase triangularInverse(long n) {
    return OpCase.of(
            "triangularInverse",
            "",
            Bound.max(1e-13, "float64"),
            (b, t) -> b.triangularInverse(t[0]),
            inout(F64, n, n, LOWER))
        .compared(LinearAlgebraCases::lowerTriangle);
  }

  private static List<double[]> lowerTriangle(Backend b, List<Operand> operands, Tensor[] t) {
    double[] values = t[0].toDoubles();
    int n = Math.toIntExact(t[0].rows());
    for (int i = 0; i < n; i++) {
      Arrays.fill(values, i * n + i + 1, (i + 1) * n, 0);
    }
    return List.of(values);
  }

  public static OpCase symmetricEigen(long n) {
    return OpCase.of(
            "symmetricEigen",
            "",
            Bound.max(1e-12, "float64"),
            (b, t) -> b.symmetricEigen(t[0], t[1]),
            inout(F64, n, n, POSITIVE_DEFINITE),
            out(F64, 1, n))
        .compared((b, operands, t) ->
            List.of(
                t[1].toDoubles(),
                product(t[0], t[1], t[0], true),
                product(t[0], null, t[0], false)));
  }

  /// A random matrix of rank `rank`, which is at most min(m, n).
  public static OpCase svd(long m, long n, long rank) {
    long k = Math.min(m, n);
    Fill fill = rank == k ? Fill.normal(1) : lowRank(rank);
    return OpCase.of(
            "svd",
            "rank " + rank,
            Bound.max(1e-12, "float64"),
            (b, t) -> b.svd(t[0], t[1], t[2], t[3]),
            scratch(F64, m, n, fill),
            out(F64, m, k),
            out(F64, 1, k),
            out(F64, k, n))
        .compared((b, operands, t) ->
            List.of(
                t[2].toDoubles(),
                product(transposed(t[1]), t[2], t[3], true),
                product(t[1], null, t[1], true),
                product(t[3], null, t[3], false)));
  }

  /// `count` square matrices at once.
  public static OpCase svdBatch(long n, long count) {
    return OpCase.of(
            "svdBatch",
            count + " matrices",
            Bound.max(1e-12, "float64"),
            (b, t) -> b.svdBatch(t[0], t[1], t[2], t[3]),
            scratch(F64, count * n, n, Fill.normal(1)),
            out(F64, count * n, n),
            out(F64, count, n),
            out(F64, count * n, n))
        .compared((b, operands, t) -> {
          List<double[]> all = new ArrayList<>(List.of(t[2].toDoubles()));
          for (long i = 0; i < count; i++) {
            Tensor u = t[1].rows(i * n, (i + 1) * n);
            Tensor vt = t[3].rows(i * n, (i + 1) * n);
            all.add(product(transposed(u), t[2].rows(i, i + 1), vt, true));
            all.add(product(u, null, u, true));
            all.add(product(vt, null, vt, false));
          }
          return all;
        });
  }

  private static Fill lowRank(long rank) {
    return (t, random) -> {
      double[] left = random.doubles(t.rows() * rank, -1, 1).toArray();
      double[] right = random.doubles(t.cols() * rank, -1, 1).toArray();
      Fill.each(
          t,
          (i, j) -> {
            double sum = 0;
            for (int r = 0; r < rank; r++) {
              sum += left[(int) (i * rank + r)] * right[(int) (j * rank + r)];
            }
            return sum;
          });
    };
  }

  private static Tensor transposed(Tensor t) {
    Tensor out = Tensor.allocate(Arena.ofAuto(), F64, t.cols(), t.rows());
    Fill.each(out, (i, j) -> t.get(j, i));
    return out;
  }

  /// `aᵀ diag(d) b` (inner dimension: rows), or `a diag(d) bᵀ` (inner dimension: columns).
  private static double[] product(Tensor a, Tensor d, Tensor b, boolean overRows) {
    int m = (int) (overRows ? a.cols() : a.rows());
    int n = (int) (overRows ? b.cols() : b.rows());
    long inner = overRows ? a.rows() : a.cols();
    double[] out = new double[m * n];
    for (int i = 0; i < m; i++) {
      for (int j = 0; j < n; j++) {
        for (long k = 0; k < inner; k++) {
          double x = overRows ? a.get(k, i) * b.get(k, j) : a.get(i, k) * b.get(j, k);
          out[i * n + j] += d == null ? x : x * d.get(0, k);
        }
      }
    }
    return out;
  }

  static void addTo(List<OpCase> cases) {
    for (long n : ORDERS) {
      for (OpCase c : List.of(cholesky(n), triangularInverse(n), symmetricEigen(n))) {
        cases.add(c);
        cases.add(c.padded(3));
      }
      for (int variant = 0; variant < 4; variant++) {
        OpCase c = triangularSolve(variant % 2 == 0, variant / 2 == 0, n, 13);
        cases.add(c);
        cases.add(c.padded(2));
      }
    }
    // Beyond what CUDA leaves to its library.
    cases.add(triangularInverse(600));
    for (long[] shape :
        new long[][] {
          {1, 1}, {5, 5}, {3, 9}, {9, 3}, {64, 65}, {100, 40}, {40, 100}, {0, 4}, {4, 0}
        }) {
      OpCase c = svd(shape[0], shape[1], Math.min(shape[0], shape[1]));
      cases.add(c);
      cases.add(c.padded(3));
    }
    cases.add(svdBatch(1, 2));
    cases.add(svdBatch(7, 3).padded(1));
    cases.add(svdBatch(64, 2));
    cases.add(svdBatch(128, 3));
    // Beyond the shared memory of a card.
    cases.add(svdBatch(170, 2));
    for (long n : new long[] {1, 7, 64, 128, 170, 256}) {
      cases.add(choleskyBatch(n, 3));
    }
    cases.add(choleskyBatch(33, 2).padded(1));
    cases.add(svd(30, 20, 6));
    cases.add(svd(20, 30, 6));
  }
}
