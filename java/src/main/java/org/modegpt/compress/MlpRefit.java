package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import org.modegpt.backend.Backend;
import org.modegpt.model.Role;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// The down projection of the MLP units S that are kept, by least squares: `W_down' = (Sᵀ C_H S)⁻¹
/// Sᵀ C_H W_down`.
///
/// Matrices are `[d, f]` here, as checkpoints store them: `W_down'ᵀ = (Wᵀ C_H S) (Sᵀ C_H S)⁻¹`.
final class MlpRefit {
  /// A unit that the units before it explain up to this share of its energy makes the refit
  /// singular in float64.
  private static final double SINGULAR = 1e-12;

  /// Rows of the Gram matrix gathered at a time.
  private static final int ROWS = 512;

  /// What serves all widths goes beyond the first one asked for by this part of the units: as far
  /// as allocation looks around a share.
  private static final int SPARE = 8;

  private MlpRefit() {}

  /// @param gram `C_H`, F64 `[f, f]`, its lower triangle
  /// @param kept units, ascending
  static ModuleResult of(
      Workspace workspace, Arena arena, Map<Role, Tensor> weights, Tensor gram, int[] kept) {
    Tensor full = workspace.matrix(gram.rows(), gram.cols());
    workspace.mirror(gram, full);
    Tensor weight = weights.get(Role.DOWN);
    Tensor targets = workspace.matrix(weight.rows(), kept.length);
    double total =
        workspace.scoped(() -> {
          Tensor down = workspace.doubles(weight);
          Tensor outputs = // Wᵀ C_H
              workspace.lasting(
                  Tensor.class, weight, gram, () -> workspace.product(down, false, full, false));
          workspace.backend.gatherColumns(outputs, workspace.index(kept), targets); // Wᵀ C_H S
          return workspace.dot(outputs, down);
        });
    Tensor solution = workspace.copy(targets);
    double jitter = solve(workspace, full, kept, weight, solution);

    // ‖H(W − S W')‖² with (Sᵀ C_H S + jI) W' = Sᵀ C_H W + j Sᵀ W used for Sᵀ C_H S W'.
    double lost = total - workspace.dot(solution, targets);
    if (jitter > 0) {
      Tensor selected = workspace.columns(workspace.doubles(weight), kept); // Wᵀ S
      lost += jitter * (workspace.dot(solution, selected) - workspace.dot(solution, solution));
    }
    double relative = ModuleReport.relative(lost, total);
    return result(workspace, arena, weights, kept, solution, relative, jitter);
  }

  /// Keeps the first `width` of the units `stay`, which is the same for all widths. Where the
  /// workspace keeps what lasts, widths share one factor.
  static ModuleResult ofFirst(
      Workspace workspace,
      Arena arena,
      Map<Role, Tensor> weights,
      Tensor gram,
      int[] stay,
      int width) {
    int[] kept = IntStream.of(stay).limit(width).sorted().toArray();
    if (workspace.keeps()) {
      int most = Math.min(stay.length, width + Math.ceilDiv(stay.length, SPARE));
      Nested nested = nested(workspace, weights.get(Role.DOWN), gram, Arrays.copyOf(stay, most));
      if (width <= nested.regular) {
        return nested.first(workspace, arena, weights, stay, kept);
      }
      workspace.reset();
    }
    return of(workspace, arena, weights, gram, kept);
  }

  private static Nested nested(Workspace workspace, Tensor weight, Tensor gram, int[] units) {
    // Asked for here, these are scratch and do not last.
    Tensor full = workspace.matrix(gram.rows(), gram.cols());
    Tensor down = workspace.matrix(weight.rows(), weight.cols());
    Tensor outputs = workspace.matrix(weight.rows(), weight.cols());
    return workspace.lasting(
        Nested.class,
        weight,
        gram,
        () -> {
          workspace.mirror(gram, full);
          workspace.backend.cast(weight, down);
          workspace.backend.gemm(false, false, 1, down, full, 0, outputs); // Wᵀ C_H
          return Nested.of(workspace, full, outputs, workspace.dot(outputs, down), units);
        });
  }

  /// What serves all widths up to some. With units in the order in which they stay, the factor of
  /// the first ones is the beginning of the factor of all: `L Lᵀ = C_H`, and of `Y = Wᵀ C_H L⁻ᵀ`
  /// too the first columns are those of the first units.
  ///
  /// @param factor `L` `[n, n]` of the first n units
  /// @param forward `Y` `[d, n]`
  /// @param total `‖H W‖²`
  /// @param regular how many units from the first have pivots that are more than rounding
  private record Nested(Tensor factor, Tensor forward, double total, int regular) {

    /// @param full `C_H` `[f, f]`
    /// @param outputs `Wᵀ C_H` `[d, f]`
    static Nested of(Workspace workspace, Tensor full, Tensor outputs, double total, int[] stay) {
      Backend backend = workspace.backend;
      Tensor factor = workspace.matrix(stay.length, stay.length);
      Tensor rows = workspace.matrix(Math.min(ROWS, stay.length), full.cols());
      select(workspace, full, stay, rows, factor);
      double[] energy = workspace.diagonal(factor);
      Tensor forward = workspace.matrix(outputs.rows(), stay.length);
      backend.gatherColumns(outputs, workspace.index(stay), forward);
      if (backend.cholesky(factor) != 0) {
        return new Nested(factor, forward, total, 0);
      }
      int regular = regularPivots(workspace.diagonal(factor), energy, 0);
      backend.triangularSolve(factor, false, true, forward);
      return new Nested(factor, forward, total, regular);
    }

    /// @param kept the first units of `stay`, ascending
    ModuleResult first(
        Workspace workspace, Arena arena, Map<Role, Tensor> weights, int[] stay, int[] kept) {
      int width = kept.length;
      Tensor solution = workspace.copy(forward.columns(0, width));
      double lost = total - workspace.dot(solution, solution);
      Tensor leading = factor.rows(0, width).columns(0, width);
      workspace.backend.triangularSolve(leading, false, false, solution);
      int[] places = new int[stay.length];
      for (int i = 0; i < width; i++) {
        places[stay[i]] = i;
      }
      int[] order = IntStream.of(kept).map(unit -> places[unit]).toArray();
      Tensor ascending = workspace.columns(solution, order);
      double relative = ModuleReport.relative(lost, total);
      return result(workspace, arena, weights, kept, ascending, relative, 0);
    }
  }

  private static ModuleResult result(
      Workspace workspace,
      Arena arena,
      Map<Role, Tensor> weights,
      int[] kept,
      Tensor solution,
      double relative,
      double jitter) {
    Backend backend = workspace.backend;
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
    int f = Math.toIntExact(weights.get(Role.DOWN).cols());
    ModuleReport report = new ModuleReport(Module.MLP, kept.length, f, relative, jitter, List.of());
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
    while (backend.cholesky(system) != 0
        || regularPivots(workspace.diagonal(system), energy, jitter) < kept.length) {
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

  /// How many units from the first have a pivot `L_ii²` that is more than rounding of what it was
  /// computed from, `C_ii + j`. Scaling units does not matter.
  private static int regularPivots(double[] factorDiagonal, double[] energy, double jitter) {
    int i = 0;
    while (i < energy.length
        && factorDiagonal[i] * factorDiagonal[i] > SINGULAR / 10 * (energy[i] + jitter)) {
      i++;
    }
    return i;
  }
}
