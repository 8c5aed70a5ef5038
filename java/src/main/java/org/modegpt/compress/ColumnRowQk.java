package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.stream.DoubleStream;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.model.Residents;
import org.modegpt.model.Role;
import org.modegpt.tensor.Tensor;

/// Type II, column-row decomposition of queries and keys under rotary embeddings. A rotation per
/// position stands between the two, so coordinates can be dropped but not mixed, and only whole
/// rotary pairs `(t, t + h/2)`.
///
/// The score of coordinate t is `‖C_q^½ e_t‖ ‖C_k^½ e_t‖ = sqrt(C_q[t,t] C_k[t,t])`; squared scores
/// add up over the two coordinates of a pair and over the query heads that share a key head. Kept
/// pairs stay in their order, heads keep the rotate-half layout: first coordinates of all kept
/// pairs, then second ones. Nothing is recomputed.
record ColumnRowQk() implements Decomposition {

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
    double[][] scores =
        squaredScores(
            sizes,
            Residents.doubles(workspace.backend, statistics.queryEnergy()),
            Residents.doubles(workspace.backend, statistics.keyEnergy()));
    List<List<Integer>> pairs = new ArrayList<>();
    double lost = 0;
    double total = 0;
    for (double[] head : scores) {
      int[] kept = Selection.largest(head, rank / 2);
      pairs.add(Selection.list(kept));
      double all = DoubleStream.of(head).sum();
      total += all;
      lost += all;
      for (int pair : kept) {
        lost -= head[pair];
      }
    }
    ModuleReport report =
        new ModuleReport(
            Module.QUERY_KEY,
            rank,
            sizes.headDim(),
            ModuleReport.relative(lost, total),
            0,
            List.of());
    return new ModuleResult(slice(workspace, arena, sizes, weights, pairs), pairs, report);
  }

  /// `[kvHeads][pairs]`.
  static double[][] squaredScores(BlockSizes sizes, double[] queryEnergy, double[] keyEnergy) {
    int half = sizes.headDim() / 2;
    double[][] scores = new double[sizes.kvHeads()][half];
    for (int head = 0; head < sizes.heads(); head++) {
      int shared = head / sizes.group();
      int q = head * sizes.headDim();
      int k = shared * sizes.headDim();
      for (int t = 0; t < half; t++) {
        scores[shared][t] +=
            queryEnergy[q + t] * keyEnergy[k + t]
                + queryEnergy[q + t + half] * keyEnergy[k + t + half];
      }
    }
    return scores;
  }

  private static Map<Role, Tensor> slice(
      Workspace workspace,
      Arena arena,
      BlockSizes sizes,
      Map<Role, Tensor> weights,
      List<List<Integer>> pairs) {
    int[] queryRows = rows(sizes, sizes.heads(), pairs);
    int[] keyRows = rows(sizes, sizes.kvHeads(), pairs);
    Map<Role, Tensor> result = new EnumMap<>(Role.class);
    weights.forEach((role, tensor) -> {
      switch (role) {
        case Q, Q_BIAS -> result.put(role, workspace.kept(arena, tensor, queryRows));
        case K, K_BIAS -> result.put(role, workspace.kept(arena, tensor, keyRows));
        default -> {}
      }
    });
    return result;
  }

  /// The kept rows of a matrix of `heads` heads that share the key heads' pairs.
  static int[] rows(BlockSizes sizes, int heads, List<List<Integer>> pairs) {
    int half = sizes.headDim() / 2;
    List<Integer> rows = new ArrayList<>();
    for (int head = 0; head < heads; head++) {
      List<Integer> kept = pairs.get(head / (heads / sizes.kvHeads()));
      for (int offset = 0; offset <= half; offset += half) {
        for (int pair : kept) {
          rows.add(head * sizes.headDim() + offset + pair);
        }
      }
    }
    return rows.stream().mapToInt(Integer::intValue).toArray();
  }
}
