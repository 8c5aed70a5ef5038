package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.stream.DoubleStream;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.model.Design.QkNorm;
import org.modegpt.model.LayerAttention;
import org.modegpt.model.Residents;
import org.modegpt.model.Role;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Queries and keys with an RMS norm before the rotary embedding. Pairs are chosen by what the
/// normalised queries and keys do, by {@link ColumnRowQk} or {@link PairElimination} (whose
/// multipliers may scale a pair, but not turn it, since the norm's weights differ between its two
/// columns). Dropping columns must not change the normaliser of the others: the mean square over all
/// `h` columns. With s the sum of squares of the n kept columns, the sum over all is predicted by
/// least squares as `T ≈ α s + β`, α, β ≥ 0, and
///
///     q̂ = w q / √(T/h + ε) ≈ w' q' / √(mean q'² + ε'),   q' = c q,  c² = κ α n / h,  w' = w √(h / (α n)),
///
/// `ε' = κ (β/h + ε)`: an RMS norm over what is left, whose intercept is its epsilon. κ makes ε' the
/// same for all heads of the layer. c goes into W_q and its bias; so for keys. A norm over all heads
/// together is one such head.
///
/// @param attention of the dense layer
/// @param published whether pairs are chosen as in the publication
/// @param ridge of the logit covariance
record NormedQk(QkNorm kind, LayerAttention attention, boolean published, double ridge)
    implements Decomposition {

  @Override
  public Module module() {
    return Module.QUERY_KEY;
  }

  /// How the columns of one norm group are rescaled.
  ///
  /// @param weight c, of the projection
  /// @param norm `√(h / (α n))`, of the norm's weights
  private record Scale(double weight, double norm) {}

  private record Scales(List<Scale> groups, double eps) {}

  @Override
  public ModuleResult apply(
      Workspace workspace,
      Arena arena,
      BlockSizes sizes,
      Map<Role, Tensor> weights,
      LayerStatistics statistics,
      int rank) {
    List<PairElimination> eliminations =
        published
            ? List.of()
            : MultiplierQk.eliminations(workspace, sizes, statistics, ridge, false);
    List<List<Integer>> pairs = new ArrayList<>();
    ModuleReport report;
    if (published) {
      ModuleResult chosen =
          new ColumnRowQk().apply(workspace, arena, sizes, Map.of(), statistics, rank);
      pairs.addAll(chosen.kept());
      report = chosen.report();
    } else {
      double lost = 0;
      double total = 0;
      for (PairElimination head : eliminations) {
        pairs.add(head.kept(rank / 2));
        lost += head.cost((sizes.headDim() - rank) / 2);
        total += head.energy();
      }
      report =
          new ModuleReport(
              Module.QUERY_KEY,
              rank,
              sizes.headDim(),
              ModuleReport.relative(lost, total),
              0,
              List.of());
    }
    double tokens = Residents.doubles(workspace.backend, statistics.influence())[2];
    int[] queryRows = ColumnRowQk.rows(sizes, sizes.heads(), pairs);
    int[] keyRows = ColumnRowQk.rows(sizes, sizes.kvHeads(), pairs);
    Scales queries =
        scales(workspace, statistics, "query", tokens, attention.queryNormEps(), queryRows);
    Scales keys = scales(workspace, statistics, "key", tokens, attention.keyNormEps(), keyRows);
    double[] multipliers = new double[queryRows.length];
    Arrays.fill(multipliers, 1);
    for (int i = 0; !published && i < multipliers.length; i++) {
      int head = i / rank;
      int kv = head / sizes.group();
      int pair = pairs.get(kv).get(i % rank % (rank / 2));
      multipliers[i] = eliminations.get(kv).multiplier(rank / 2, head % sizes.group(), pair)[0];
    }
    Map<Role, Tensor> result = new EnumMap<>(Role.class);
    weights.forEach((role, tensor) -> {
      switch (role) {
        case Q, Q_BIAS ->
            result.put(
                role,
                scaled(
                    workspace, arena, tensor, queryRows, weightFactors(queries, queryRows.length)));
        case K, K_BIAS ->
            result.put(
                role,
                scaled(workspace, arena, tensor, keyRows, weightFactors(keys, keyRows.length)));
        case Q_NORM ->
            result.put(
                role,
                scaled(workspace, arena, tensor, queryRows, normFactors(queries, multipliers)));
        case K_NORM -> {
          double[] ones = DoubleStream.generate(() -> 1).limit(keyRows.length).toArray();
          result.put(role, scaled(workspace, arena, tensor, keyRows, normFactors(keys, ones)));
        }
        default -> {}
      }
    });
    LayerAttention changed = attention.withNormEps((float) queries.eps, (float) keys.eps);
    return new ModuleResult(result, pairs, report, changed);
  }

  /// @param kept columns, ascending by group
  private static Scales scales(
      Workspace workspace,
      LayerStatistics statistics,
      String side,
      double tokens,
      double eps,
      int... kept) {
    double[] energy =
        Residents.doubles(workspace.backend, statistics.extra().get(side + "_norm_energy"));
    Tensor squaresTensor = statistics.extra().get(side + "_norm_squares");
    double[] squares = Residents.doubles(workspace.backend, squaresTensor);
    int size = Math.toIntExact(squaresTensor.cols());
    int groups = energy.length / size;
    int left = kept.length / groups;
    double[] alpha = new double[groups];
    double[] headEps = new double[groups];
    for (int g = 0; g < groups; g++) {
      boolean[] stays = new boolean[size];
      for (int i = g * left; i < (g + 1) * left; i++) {
        stays[kept[i] - g * size] = true;
      }
      double s = 0;
      double t = 0;
      double ss = 0;
      double st = 0;
      for (int i = 0; i < size; i++) {
        t += energy[g * size + i] / tokens;
        s += stays[i] ? energy[g * size + i] / tokens : 0;
        for (int j = 0; stays[i] && j < size; j++) {
          double both = squares[(g * size + i) * size + j] / tokens;
          st += both;
          ss += stays[j] ? both : 0;
        }
      }
      double spread = ss - s * s;
      double slope = spread > 1e-12 * ss ? (st - s * t) / spread : 0;
      double intercept = t - slope * s;
      if (!(slope > 0) || intercept < 0) {
        slope = slope > 0 && ss > 0 ? st / ss : s > 0 ? t / s : 1;
        intercept = 0;
      }
      alpha[g] = slope;
      headEps[g] = intercept / size + eps;
    }
    double layerEps = DoubleStream.of(headEps).average().orElseThrow();
    List<Scale> result = new ArrayList<>();
    for (int g = 0; g < groups; g++) {
      double share = alpha[g] * left / size;
      result.add(new Scale(Math.sqrt(layerEps / headEps[g] * share), Math.sqrt(1 / share)));
    }
    return new Scales(result, layerEps);
  }

  private static double[] weightFactors(Scales scales, int rows) {
    double[] factors = new double[rows];
    Arrays.setAll(factors, i -> scales.groups.get(i / (rows / scales.groups.size())).weight);
    return factors;
  }

  private static double[] normFactors(Scales scales, double... multipliers) {
    double[] factors = new double[multipliers.length];
    int perGroup = factors.length / scales.groups.size();
    Arrays.setAll(factors, i -> scales.groups.get(i / perGroup).norm * multipliers[i]);
    return factors;
  }

  /// Kept rows of a matrix, or entries of a vector, each times its factor; F32.
  private static Tensor scaled(
      Workspace workspace, Arena arena, Tensor weight, int[] rows, double... factors) {
    boolean vector = weight.rows() == 1;
    Tensor host;
    try (Arena copy = Arena.ofConfined()) {
      Tensor kept = workspace.kept(copy, weight, rows);
      Tensor single = workspace.backend.allocate(copy, DType.F32, kept.rows(), kept.cols());
      workspace.backend.cast(kept, single);
      host = Tensor.allocate(arena, DType.F32, kept.rows(), kept.cols());
      host.copyFrom(Residents.download(workspace.backend, copy, single));
    }
    for (int i = 0; i < rows.length; i++) {
      if (vector) {
        host.set(0, i, host.get(0, i) * factors[i]);
      } else {
        for (long column = 0; column < host.cols(); column++) {
          host.set(i, column, host.get(i, column) * factors[i]);
        }
      }
    }
    return Residents.upload(workspace.backend, arena, host);
  }
}
