package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.modegpt.backend.Backend;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.model.Residents;
import org.modegpt.model.Role;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Queries and keys under rotary embeddings, by {@link PairElimination}: pairs leave one at a time,
/// and the kept pairs of every query head are multiplied by a complex number that folds into W_q.
///
/// An instance belongs to one block: it remembers the order, which serves every rank.
final class MultiplierQk implements Decomposition {
  private final double ridge;
  private @Nullable List<PairElimination> eliminations;

  /// @param ridge of the logit covariance, relative to the mean of its diagonal
  MultiplierQk(double ridge) {
    this.ridge = ridge;
  }

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
    workspace.reset();
    List<PairElimination> heads = eliminations(workspace, sizes, statistics);
    List<List<Integer>> pairs = new ArrayList<>();
    double lost = 0;
    double total = 0;
    for (PairElimination head : heads) {
      pairs.add(head.kept(rank / 2));
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

  @Override
  public double[] removalCosts(
      Workspace workspace,
      BlockSizes sizes,
      Map<Role, Tensor> weights,
      LayerStatistics statistics,
      int... ranks) {
    List<PairElimination> heads = eliminations(workspace, sizes, statistics);
    return IntStream.of(ranks)
        .map(rank -> sizes.headDim() / 2 - rank / 2)
        .mapToDouble(removed -> heads.stream().mapToDouble(e -> e.cost(removed)).sum())
        .toArray();
  }

  private List<PairElimination> eliminations(
      Workspace workspace, BlockSizes sizes, LayerStatistics statistics) {
    List<PairElimination> known = eliminations;
    if (known == null) {
      known = eliminations(workspace, sizes, statistics, ridge, true);
      eliminations = known;
    }
    return known;
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
    double[] all = Residents.doubles(workspace.backend, statistics.logitCovariance());
    return IntStream.range(0, sizes.kvHeads())
        .parallel()
        .mapToObj(kv -> new PairElimination(covariances(sizes, all, kv, turning), ridge))
        .toList();
  }

  private static List<double[][]> covariances(
      BlockSizes sizes, double[] all, int kv, boolean turning) {
    int h = sizes.headDim();
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
    return covariances;
  }

  /// Kept rows of W_q (or its bias) times the multipliers: rows `p` and `p + h/2` become `a p − b
  /// p'` and `b p + a p'`. Choice and multipliers of a head are one small matrix.
  private static Tensor multiplied(
      Workspace workspace,
      Arena arena,
      BlockSizes sizes,
      Tensor weight,
      List<PairElimination> heads,
      List<List<Integer>> pairs,
      int... rows) {
    Backend backend = workspace.backend;
    boolean bias = weight.rows() == 1;
    int h = sizes.headDim();
    int width = rows.length / sizes.heads();
    Tensor wide = workspace.doubles(weight);
    Tensor source = bias ? wide.reshape(weight.cols(), 1) : wide;
    Tensor target = workspace.matrix(rows.length, source.cols());
    try (Arena call = Arena.ofShared()) {
      Tensor chosen = Tensor.allocate(call, DType.F64, rows.length, h);
      for (int head = 0; head < sizes.heads(); head++) {
        int shared = head / sizes.group();
        for (int t = 0; t < width / 2; t++) {
          int pair = pairs.get(shared).get(t);
          double[] m = heads.get(shared).multiplier(width / 2, head % sizes.group(), pair);
          int real = head * width + t;
          int imaginary = real + width / 2;
          int first = rows[real] - head * h;
          int second = rows[imaginary] - head * h;
          chosen.set(real, first, m[0]);
          chosen.set(real, second, -m[1]);
          chosen.set(imaginary, first, m[1]);
          chosen.set(imaginary, second, m[0]);
        }
      }
      Tensor multipliers = Residents.upload(backend, call, chosen);
      for (int head = 0; head < sizes.heads(); head++) {
        long from = (long) head * width;
        Tensor own = source.rows((long) head * h, (head + 1L) * h);
        Tensor some = multipliers.rows(from, from + width);
        backend.gemm(false, false, 1, some, own, 0, target.rows(from, from + width));
      }
      backend.sync();
    }
    Tensor result =
        backend.allocate(
            arena, DType.F32, bias ? 1 : rows.length, bias ? rows.length : weight.cols());
    backend.cast(bias ? target.reshape(1, rows.length) : target, result);
    return result;
  }
}
