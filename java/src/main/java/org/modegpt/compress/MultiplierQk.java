package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.model.Residents;
import org.modegpt.model.Role;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Queries and keys under rotary embeddings, by {@link PairElimination}: pairs leave one at a time,
/// and the kept pairs of every query head are multiplied by a complex number that folds into W_q.
///
/// @param ridge of the logit covariance, relative to the mean of its diagonal
record MultiplierQk(double ridge) implements Decomposition {

  @Override
  public Module module() {
    return Module.QUERY_KEY;
  }

  @Override
  public ModuleResult apply(
      Workspace workspace,
      Arena arena,
      BlockSizes sizes,
      Map<Role, Tensor> weights,
      LayerStatistics statistics,
      int rank) {
    List<PairElimination> heads = eliminations(workspace, sizes, statistics, ridge, true);
    List<List<Integer>> pairs = new ArrayList<>();
    double lost = 0;
    double total = 0;
    for (PairElimination head : heads) {
      pairs.add(head.reduceTo(rank / 2));
      lost += head.cost(sizes.headDim() / 2 - rank / 2);
      total += head.energy();
    }
    int[] queryRows = ColumnRowQk.rows(sizes, sizes.heads(), pairs);
    int[] keyRows = ColumnRowQk.rows(sizes, sizes.kvHeads(), pairs);
    Map<Role, Tensor> result = new EnumMap<>(Role.class);
    weights.forEach((role, tensor) -> {
      switch (role) {
        case Q, Q_BIAS ->
            result.put(role, multiplied(workspace, arena, sizes, tensor, heads, pairs, queryRows));
        case K, K_BIAS -> result.put(role, workspace.kept(arena, tensor, keyRows));
        default -> {}
      }
    });
    ModuleReport report =
        new ModuleReport(
            Module.QUERY_KEY,
            rank,
            sizes.headDim(),
            ModuleReport.relative(lost, total),
            0,
            List.of());
    return new ModuleResult(result, pairs, report);
  }

  /// One per key head.
  ///
  /// @param turning whether multipliers may turn a pair, and not only scale it
  static List<PairElimination> eliminations(
      Workspace workspace,
      BlockSizes sizes,
      LayerStatistics statistics,
      double ridge,
      boolean turning) {
    int h = sizes.headDim();
    double[] all = Residents.doubles(workspace.backend, statistics.logitCovariance());
    List<PairElimination> result = new ArrayList<>();
    for (int kv = 0; kv < sizes.kvHeads(); kv++) {
      List<double[][]> covariances = new ArrayList<>();
      for (int j = kv * sizes.group(); j < (kv + 1) * sizes.group(); j++) {
        double[][] g = new double[h][h];
        // Without covariance to the imaginary features their multipliers stay 0.
        int used = turning ? h : h / 2;
        for (int i = 0; i < used; i++) {
          System.arraycopy(all, (j * h + i) * h, g[i], 0, used);
        }
        covariances.add(g);
      }
      result.add(new PairElimination(covariances, ridge));
    }
    return result;
  }

  /// Kept rows of W_q (or its bias) times the multipliers: rows `p` and `p + h/2` become `a p − b
  /// p'` and `b p + a p'`.
  private static Tensor multiplied(
      Workspace workspace,
      Arena arena,
      BlockSizes sizes,
      Tensor weight,
      List<PairElimination> heads,
      List<List<Integer>> pairs,
      int... rows) {
    boolean bias = weight.rows() == 1;
    Tensor kept = workspace.kept(arena, weight, rows);
    Tensor host;
    try (Arena copy = Arena.ofConfined()) {
      Tensor single = workspace.backend.allocate(copy, DType.F32, kept.rows(), kept.cols());
      workspace.backend.cast(kept, single);
      Tensor source = Residents.download(workspace.backend, copy, single);
      host =
          Tensor.allocate(
              arena, DType.F32, bias ? rows.length : kept.rows(), bias ? 1 : kept.cols());
      host.copyFrom(bias ? source.reshape(rows.length, 1) : source);
    }
    int count = rows.length / sizes.heads() / 2;
    for (int head = 0; head < sizes.heads(); head++) {
      int shared = head / sizes.group();
      for (int t = 0; t < count; t++) {
        double[] m = heads.get(shared).multiplier(head % sizes.group(), pairs.get(shared).get(t));
        int first = head * 2 * count + t;
        int second = first + count;
        for (long column = 0; column < host.cols(); column++) {
          double x = host.get(first, column);
          double y = host.get(second, column);
          host.set(first, column, m[0] * x - m[1] * y);
          host.set(second, column, m[1] * x + m[0] * y);
        }
      }
    }
    return Residents.upload(workspace.backend, arena, bias ? host.reshape(1, rows.length) : host);
  }
}
