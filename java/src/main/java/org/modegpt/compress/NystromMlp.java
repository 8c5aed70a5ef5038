package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.model.Residents;
import org.modegpt.model.Role;
import org.modegpt.tensor.DType;
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

  /// A unit that the units before it explain up to this share of its energy makes the refit
  /// singular in float64.
  private static final double SINGULAR = 1e-12;

  /// Share of the identity in the Fisher information, which has sampling noise.
  private static final double SHRINKAGE = 0.1;

  /// Rows of the Gram matrix gathered at a time.
  private static final int ROWS = 512;

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
    int[] kept = kept(workspace, weights, statistics, width);
    workspace.reset(); // a wide MLP's f x f scratch need not be there twice
    Tensor square = workspace.matrix(f, f);
    workspace.mirror(gram, square);
    return refit(workspace, arena, weights, gram, square, kept);
  }

  private int[] kept(
      Workspace workspace, Map<Role, Tensor> weights, LayerStatistics statistics, int width) {
    Tensor gram = statistics.mlpInner();
    int f = Math.toIntExact(gram.rows());
    if (rule == MlpRule.LEVERAGE) {
      double[] spread = inverseSpread(workspace, gram, workspace.matrix(f, f));
      return Selection.largest(DoubleStream.of(spread).map(s -> -s).toArray(), width);
    }
    int[] removed = order(workspace, weights, statistics).order();
    return IntStream.of(removed).skip(f - width).sorted().toArray();
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

  /// @param sums the statistics
  /// @param gram the same in full, F64 `[f, f]`
  private static ModuleResult refit(
      Workspace workspace,
      Arena arena,
      Map<Role, Tensor> weights,
      Tensor sums,
      Tensor gram,
      int[] kept) {
    Backend backend = workspace.backend;
    Tensor weight = weights.get(Role.DOWN); // [d, f]
    Tensor targets = workspace.matrix(weight.rows(), kept.length);
    double total =
        workspace.scoped(() -> {
          Tensor down = workspace.doubles(weight);
          Tensor outputs = // Wᵀ C_H
              workspace.lasting(
                  Tensor.class, weight, sums, () -> workspace.product(down, false, gram, false));
          backend.gatherColumns(outputs, workspace.index(kept), targets); // Wᵀ C_H S
          return workspace.dot(outputs, down);
        });
    Tensor solution = workspace.copy(targets);
    double jitter = solve(workspace, gram, kept, weight, solution);

    // ‖H(W − S W')‖² with (Sᵀ C_H S + jI) W' = Sᵀ C_H W + j Sᵀ W used for Sᵀ C_H S W'.
    double lost = total - workspace.dot(solution, targets);
    if (jitter > 0) {
      Tensor selected = workspace.columns(workspace.doubles(weight), kept); // Wᵀ S
      lost += jitter * (workspace.dot(solution, selected) - workspace.dot(solution, solution));
    }

    Map<Role, Tensor> result = new EnumMap<>(Role.class);
    weights.forEach((role, tensor) -> {
      switch (role) {
        case GATE, UP, GATE_BIAS, UP_BIAS -> result.put(role, workspace.kept(arena, tensor, kept));
        case DOWN -> {
          Tensor refitted = backend.allocate(arena, DType.F32, tensor.rows(), kept.length);
          backend.cast(solution, refitted);
          result.put(role, refitted);
        }
        case DOWN_BIAS -> result.put(role, tensor);
        default -> {}
      }
    });
    int f = Math.toIntExact(weight.cols());
    ModuleReport report =
        new ModuleReport(
            Module.MLP, kept.length, f, ModuleReport.relative(lost, total), jitter, List.of());
    return new ModuleResult(result, List.of(Selection.list(kept)), report);
  }

  /// Solves `X (Sᵀ C_H S + jI) = targets + j Wᵀ S` in place of `targets`. The jitter `j` is 0
  /// unless the system is singular; then it pulls towards dropping units without a refit and grows
  /// until the system is regular.
  ///
  /// @return the jitter
  private static double solve(
      Workspace workspace, Tensor gram, int[] kept, Tensor weight, Tensor targets) {
    Backend backend = workspace.backend;
    Tensor system = workspace.matrix(kept.length, kept.length);
    Tensor rows = workspace.matrix(Math.min(ROWS, kept.length), gram.cols());
    select(workspace, gram, kept, rows, system);
    double[] energy = workspace.diagonal(system);
    double mean = DoubleStream.of(energy).average().orElseThrow();
    float jitter = 0;
    while (backend.cholesky(system) != 0 || singular(workspace.diagonal(system), energy, jitter)) {
      jitter = jitter == 0 ? (float) (SINGULAR * (mean > 0 ? mean : 1)) : 100 * jitter;
      select(workspace, gram, kept, rows, system);
      workspace.addToDiagonal(system, jitter);
    }
    if (jitter > 0) {
      backend.add(jitter, workspace.columns(workspace.doubles(weight), kept), targets);
    }
    backend.triangularSolve(system, false, true, targets);
    backend.triangularSolve(system, false, false, targets);
    return jitter;
  }

  /// `Sᵀ C_H S` into `system`, some rows at a time.
  private static void select(
      Workspace workspace, Tensor gram, int[] kept, Tensor rows, Tensor system) {
    Tensor columns = workspace.index(kept);
    for (int from = 0; from < kept.length; from += ROWS) {
      int to = Math.min(from + ROWS, kept.length);
      Tensor some = rows.rows(0, to - from);
      workspace.rows(gram, Arrays.copyOfRange(kept, from, to), some);
      workspace.backend.gatherColumns(some, columns, system.rows(from, to));
    }
  }

  /// Whether a pivot `L_ii²` is only rounding of what it was computed from, `C_ii + j`. Scaling
  /// units does not matter.
  private static boolean singular(double[] factorDiagonal, double[] energy, double jitter) {
    for (int i = 0; i < energy.length; i++) {
      if (!(factorDiagonal[i] * factorDiagonal[i] > SINGULAR / 10 * (energy[i] + jitter))) {
        return true;
      }
    }
    return false;
  }
}
