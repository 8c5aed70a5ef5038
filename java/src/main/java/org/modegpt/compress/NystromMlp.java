package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.util.Map;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.model.Residents;
import org.modegpt.model.Role;
import org.modegpt.tensor.Tensor;

/// Type I, Nyström approximation of an MLP. A nonlinearity stands between its matrices, so units
/// can be dropped but not mixed: keep the units S of largest ridge leverage score `s_i = [C_H (C_H
/// + λI)⁻¹]_ii` and refit the down projection by least squares, `W_down' = (Sᵀ C_H S)⁻¹ Sᵀ C_H
///   W_down`.
///
/// Only the diagonal of an inverse is needed: `s_i = 1 − λ ‖L⁻¹ e_i‖²` with `L Lᵀ = C_H + λI`.
///
/// With {@link MlpRule#BRAIN_SURGEON} and {@link MlpRule#FISHER} the units are those that {@link
/// BrainSurgeon} would remove last. An instance belongs to one block: its memo keeps the order,
/// which serves every width.
final class NystromMlp implements Decomposition {
  private final double ridge;
  private final MlpRule rule;
  private final Memo memo;

  /// What was found out about one block.
  static final class Memo {
    private BrainSurgeon.@Nullable Order order;
  }

  NystromMlp(double ridge) {
    this(ridge, MlpRule.LEVERAGE);
  }

  NystromMlp(double ridge, MlpRule rule) {
    this(ridge, rule, new Memo());
  }

  /// @param ridge λ relative to the mean of diag(C_H)
  /// @param memo of earlier instances with the same ridge, weights and statistics
  NystromMlp(double ridge, MlpRule rule, Memo memo) {
    this.ridge = ridge;
    this.rule = rule;
    this.memo = memo;
  }

  /// Share of the identity in the Fisher information, which has sampling noise.
  private static final double SHRINKAGE = 0.1;

  @Override
  public Module module() {
    return Module.MLP;
  }

  @Override
  public ModuleResult apply(
      Workspace workspace,
      Arena arena,
      BlockSizes sizes,
      Map<Role, Tensor> weights,
      LayerStatistics statistics,
      int width) {
    Tensor gram = statistics.mlpInner();
    int f = Math.toIntExact(gram.rows());
    workspace.reset();
    if (rule == MlpRule.LEVERAGE) {
      double[] spread = inverseSpread(workspace, gram, workspace.matrix(f, f));
      int[] kept = Selection.largest(DoubleStream.of(spread).map(s -> -s).toArray(), width);
      workspace.reset(); // a wide MLP's f x f scratch need not be there twice
      return MlpRefit.of(workspace, arena, weights, gram, kept);
    }
    int[] removed = order(workspace, weights, statistics).order();
    workspace.reset();
    int[] stay = IntStream.range(0, f).map(i -> removed[f - 1 - i]).toArray();
    return MlpRefit.ofFirst(workspace, arena, weights, gram, stay, width);
  }

  @Override
  public double[] removalCosts(
      Workspace workspace,
      BlockSizes sizes,
      Map<Role, Tensor> weights,
      LayerStatistics statistics,
      int... widths) {
    if (rule == MlpRule.LEVERAGE) {
      return Decomposition.super.removalCosts(workspace, sizes, weights, statistics, widths);
    }
    workspace.reset();
    double[] cost = order(workspace, weights, statistics).cost();
    int units = sizes.mlpWidth();
    return IntStream.of(widths)
        .mapToDouble(width -> width == units ? 0 : cost[units - width - 1])
        .toArray();
  }

  private BrainSurgeon.Order order(
      Workspace workspace, Map<Role, Tensor> weights, LayerStatistics statistics) {
    BrainSurgeon.Order known = memo.order;
    if (known != null) {
      return known;
    }
    Backend backend = workspace.backend;
    Tensor gram = statistics.mlpInner();
    long f = gram.rows();
    Tensor factor = workspace.matrix(f, f);
    factorRidged(workspace, gram, factor);
    backend.triangularInverse(factor);
    workspace.clearAboveDiagonal(factor);
    Tensor inverse = workspace.gram(factor, true);
    Tensor outer = outer(workspace, workspace.doubles(weights.get(Role.DOWN)), statistics);
    BrainSurgeon.Order found =
        new BrainSurgeon(backend).eliminate(inverse, outer, Math.toIntExact(f) - 1);
    BrainSurgeon.Order whole = found.withLast(Math.toIntExact(f));
    memo.order = whole;
    return whole;
  }

  /// `W M Wᵀ` `[f, f]`, where M says what a change of the output matters in each direction.
  ///
  /// @param down `Wᵀ` `[d, f]`
  private Tensor outer(Workspace workspace, Tensor down, LayerStatistics statistics) {
    if (rule != MlpRule.FISHER) {
      return workspace.gram(down, false);
    }
    Tensor gradient = LayerStatistics.required(statistics.mlpGradient());
    long d = down.rows();
    Tensor fisher = workspace.matrix(d, d);
    workspace.mirror(gradient, fisher);
    double mean = DoubleStream.of(workspace.diagonal(gradient)).average().orElseThrow();
    workspace.addToDiagonal(fisher, mean > 0 ? SHRINKAGE / (1 - SHRINKAGE) * mean : 1);
    if (workspace.backend.cholesky(fisher) != 0) {
      throw new UserException("the gradients' statistics are not finite; calibrate again");
    }
    workspace.clearAboveDiagonal(fisher);
    return workspace.gram(workspace.product(fisher, true, down, false), false);
  }

  /// Ridge leverage scores of all units, in `[0, 1)`.
  double[] scores(Workspace workspace, Tensor gram) {
    double lambda = lambda(workspace, gram);
    double[] spread = inverseSpread(workspace, gram, workspace.matrix(gram.rows(), gram.rows()));
    return DoubleStream.of(spread).map(s -> 1 - lambda * s).toArray();
  }

  private double lambda(Workspace workspace, Tensor gram) {
    double mean = DoubleStream.of(workspace.diagonal(gram)).average().orElseThrow();
    return mean > 0 ? ridge * mean : ridge;
  }

  /// `‖L⁻¹ e_i‖²`, the diagonal of `(C_H + λI)⁻¹`: small where the score is large, and without the
  /// rounding of `1 − λ(…)`.
  private double[] inverseSpread(Workspace workspace, Tensor gram, Tensor scratch) {
    factorRidged(workspace, gram, scratch);
    workspace.backend.triangularInverse(scratch);
    workspace.clearAboveDiagonal(scratch);
    Tensor norms = workspace.zeros(1, gram.rows());
    workspace.backend.columnEnergy(scratch, norms);
    return Residents.doubles(workspace.backend, norms);
  }

  /// `L` with `L Lᵀ = C_H + λI`.
  private void factorRidged(Workspace workspace, Tensor gram, Tensor scratch) {
    Backend backend = workspace.backend;
    backend.copy(gram, scratch);
    workspace.addToDiagonal(scratch, lambda(workspace, gram));
    if (backend.cholesky(scratch) != 0) {
      throw new UserException(
          "the MLP statistics with a ridge of "
              + ridge
              + " are not positive definite; use a larger ridge");
    }
  }
}
