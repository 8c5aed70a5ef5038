package org.modegpt.compress;

import java.util.ArrayList;
import java.util.List;
import org.modegpt.backend.Backend;
import org.modegpt.model.Residents;
import org.modegpt.tensor.Tensor;

/// A factor `A` of a positive semi-definite `G = A Aᵀ [h, h]`, with its (pseudo-)inverse.
/// Cholesky's when `G` is regular; when it is not, the eigenvectors of the eigenvalues above
/// rounding, scaled by their roots.
final class GramFactor {
  /// Pivots (relative to their diagonal entry) and eigenvalues (relative to the largest) below this
  /// are rounding.
  private static final double ROUNDING = 1e-13;

  private final Workspace workspace;
  private final Tensor factor;
  private final Tensor inverse;

  private GramFactor(Workspace workspace, Tensor factor, Tensor inverse) {
    this.workspace = workspace;
    this.factor = factor;
    this.inverse = inverse;
  }

  /// Of matrices of one size.
  ///
  /// @param grams symmetric F64, not changed
  static List<GramFactor> of(Workspace workspace, List<Tensor> grams) {
    long h = grams.getFirst().rows();
    Tensor pile = workspace.matrix(grams.size() * h, h);
    Tensor inverses = workspace.matrix(grams.size() * h, h);
    List<Tensor> factors = new ArrayList<>();
    for (int i = 0; i < grams.size(); i++) {
      factors.add(pile.rows(i * h, (i + 1) * h));
      workspace.backend.copy(grams.get(i), factors.get(i));
    }
    long[] failed = workspace.backend.choleskyBatch(pile, inverses);
    double[][] pivots = workspace.diagonals(factors);
    double[][] energies = workspace.diagonals(grams);
    List<GramFactor> all = new ArrayList<>();
    for (int i = 0; i < grams.size(); i++) {
      if (failed[i] == 0 && regular(pivots[i], energies[i])) {
        all.add(new GramFactor(workspace, factors.get(i), inverses.rows(i * h, (i + 1) * h)));
      } else {
        all.add(symmetricRoot(workspace, grams.get(i)));
      }
    }
    return all;
  }

  private static boolean regular(double[] factorDiagonal, double[] energy) {
    for (int i = 0; i < energy.length; i++) {
      if (!(factorDiagonal[i] * factorDiagonal[i] > ROUNDING * energy[i])) {
        return false;
      }
    }
    return true;
  }

  /// `A = Q Λ^½` and `A⁺ = Λ^-½ Qᵀ` over the eigenvalues that are not rounding; at least one
  /// column, which may be zero.
  private static GramFactor symmetricRoot(Workspace workspace, Tensor gram) {
    Backend backend = workspace.backend;
    int h = Math.toIntExact(gram.rows());
    Tensor vectors = workspace.copy(gram);
    Tensor values = workspace.matrix(1, h);
    backend.symmetricEigen(vectors, values);
    double[] ascending = Residents.doubles(backend, values);
    int first = 0;
    while (first < h - 1 && !(ascending[first] > h * ROUNDING * ascending[h - 1])) {
      first++;
    }
    double[] roots = new double[h - first];
    double[] inverses = new double[h - first];
    for (int i = 0; i < roots.length; i++) {
      roots[i] = Math.sqrt(Math.max(0, ascending[first + i]));
      inverses[i] = roots[i] > 0 ? 1 / roots[i] : 0;
    }
    Tensor used = vectors.rows(first, h); // [k, h]
    Tensor factor = workspace.product(used, true, workspace.diagonalMatrix(roots), false);
    Tensor inverse = workspace.product(workspace.diagonalMatrix(inverses), false, used, false);
    return new GramFactor(workspace, factor, inverse);
  }

  /// `A [h, k]`, k the numerical rank.
  Tensor factor() {
    return factor;
  }

  /// `y A⁺`, for y `[r, k]`.
  Tensor timesInverse(Tensor y) {
    return workspace.product(y, false, inverse, false);
  }
}
