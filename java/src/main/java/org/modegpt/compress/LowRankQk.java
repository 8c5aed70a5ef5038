package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.modegpt.backend.Backend;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.model.Residents;
import org.modegpt.model.Role;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Queries and keys of heads whose columns do not all turn with the position: the first `2 pairs` of
/// them do, the rest (all of them without a rotary embedding) do not. Nothing stands between the
/// latter, so they may be mixed: with the Gram matrices `C_q` (summed over the query heads of a key
/// head) and `C_k` of queries and keys, biases included, the new `q' = A q`, `k' = B k` minimise
///
///     ‖C_q^½ (I − AᵀB) C_k^½‖,    A and B from the truncated SVD of `L_qᵀ L_k`, `C = L Lᵀ`
///
/// and a bias goes through the same map as its weight. Rotary pairs are dropped by {@link
/// ColumnRowQk}'s score, which is in the same unit: a pair's score is the square of what is lost
/// with it. Of all splits of the rank into pairs and mixed columns the one that loses least is taken,
/// the same for all heads of the layer.
///
/// @param pairs rotary pairs of a head
/// @param centred whether C_k is taken about the mean key, which shifts all logits of a query alike
///   and so is nothing to softmax
record LowRankQk(int pairs, boolean centred) implements Decomposition {

  @Override
  public Module module() {
    return Module.QUERY_KEY;
  }

  /// What one key head and its query heads are made of.
  private record Head(double[] pairScores, ValueOutputSvd.Maps maps) {}

  @Override
  public ModuleResult apply(
      Workspace workspace,
      Arena arena,
      BlockSizes sizes,
      Map<Role, Tensor> weights,
      LayerStatistics statistics,
      int rank) {
    workspace.reset();
    List<Head> heads = new ArrayList<>();
    double[][] scores = pairScores(workspace, sizes, statistics);
    for (int kv = 0; kv < sizes.kvHeads(); kv++) {
      heads.add(head(workspace, sizes, statistics, scores[kv], kv));
    }
    int keptPairs = split(sizes, heads, rank);
    List<List<Integer>> kept = new ArrayList<>();
    for (Head head : heads) {
      kept.add(Selection.list(Selection.largest(head.pairScores, keptPairs)));
    }
    int mixed = rank - 2 * keptPairs;
    Map<Role, Tensor> result = new EnumMap<>(Role.class);
    weights.forEach((role, tensor) -> {
      boolean query = role == Role.Q || role == Role.Q_BIAS;
      if (query || role == Role.K || role == Role.K_BIAS) {
        result.put(role, reduced(workspace, arena, sizes, tensor, query, kept, heads, mixed));
      }
    });
    double total = heads.stream().mapToDouble(h -> captured(h, pairs, free(sizes))).sum();
    double left = heads.stream().mapToDouble(h -> captured(h, keptPairs, mixed)).sum();
    ModuleReport report =
        new ModuleReport(
            Module.QUERY_KEY,
            rank,
            sizes.headDim(),
            ModuleReport.relative(Math.max(0, total - left), total),
            0,
            List.of());
    return new ModuleResult(result, kept, report);
  }

  private int free(BlockSizes sizes) {
    return sizes.headDim() - 2 * pairs;
  }

  /// `[kvHeads][pairs]`, squared.
  private double[][] pairScores(Workspace workspace, BlockSizes sizes, LayerStatistics statistics) {
    double[] queries = Residents.doubles(workspace.backend, statistics.queryEnergy());
    double[] keys = Residents.doubles(workspace.backend, statistics.keyEnergy());
    double[][] scores = new double[sizes.kvHeads()][pairs];
    for (int j = 0; j < sizes.heads(); j++) {
      int kv = j / sizes.group();
      for (int c = 0; c < 2 * pairs; c++) {
        scores[kv][c % pairs] += queries[j * sizes.headDim() + c] * keys[kv * sizes.headDim() + c];
      }
    }
    return scores;
  }

  private Head head(
      Workspace workspace, BlockSizes sizes, LayerStatistics statistics, double[] scores, int kv) {
    Backend backend = workspace.backend;
    Tensor queryGram = workspace.zeros(free(sizes), free(sizes));
    for (int j = kv * sizes.group(); j < (kv + 1) * sizes.group(); j++) {
      backend.add(1, freeBlock(sizes, statistics.extra().get("query_gram"), j), queryGram);
    }
    Tensor keyGram = workspace.copy(freeBlock(sizes, statistics.extra().get("key_gram"), kv));
    if (centred) {
      long from = (long) kv * sizes.headDim() + 2L * pairs;
      Tensor sum =
          workspace.copy(statistics.extra().get("key_sum").columns(from, from + free(sizes)));
      double tokens = Residents.doubles(backend, statistics.influence())[2];
      backend.gemm(true, false, -1 / tokens, sum, sum, 1, keyGram);
    }
    return new Head(scores, ValueOutputSvd.joint(workspace, queryGram, keyGram));
  }

  /// The columns that do not turn, of one head of `grams` `[heads * h, h]`.
  private Tensor freeBlock(BlockSizes sizes, Tensor grams, int head) {
    long from = (long) head * sizes.headDim();
    return grams
        .rows(from + 2L * pairs, from + sizes.headDim())
        .columns(2L * pairs, sizes.headDim());
  }

  /// How many pairs to keep so that the most is captured.
  private int split(BlockSizes sizes, List<Head> heads, int rank) {
    int best = -1;
    double most = Double.NEGATIVE_INFINITY;
    for (int p = 0; p <= Math.min(pairs, rank / 2); p++) {
      int kept = p;
      int mixed = rank - 2 * p;
      double captured = heads.stream().mapToDouble(h -> captured(h, kept, mixed)).sum();
      if (mixed <= free(sizes) && captured > most) {
        most = captured;
        best = p;
      }
    }
    return best;
  }

  private static double captured(Head head, int keptPairs, int mixed) {
    double sum = 0;
    for (int pair : Selection.largest(head.pairScores, keptPairs)) {
      sum += head.pairScores[pair];
    }
    double[] singular = head.maps.singular();
    for (int i = 0; i < Math.min(mixed, singular.length); i++) {
      sum += singular[i] * singular[i];
    }
    return sum;
  }

  /// Kept pairs' rows, then mixed ones, of every head of a weight or bias.
  private Tensor reduced(
      Workspace workspace,
      Arena arena,
      BlockSizes sizes,
      Tensor weight,
      boolean query,
      List<List<Integer>> kept,
      List<Head> decomposed,
      int mixed) {
    Backend backend = workspace.backend;
    boolean bias = weight.rows() == 1;
    Tensor all = workspace.doubles(weight);
    Tensor from = bias ? all.reshape(all.cols(), 1) : all;
    int heads = query ? sizes.heads() : sizes.kvHeads();
    int h = sizes.headDim();
    int rank = 2 * kept.getFirst().size() + mixed;
    Tensor to = workspace.matrix((long) heads * rank, from.cols());
    for (int head = 0; head < heads; head++) {
      int kv = query ? head / sizes.group() : head;
      long at = (long) head * rank;
      for (int half = 0; half < 2; half++) {
        for (int pair : kept.get(kv)) {
          long row = (long) head * h + half * (long) pairs + pair;
          backend.copy(from.rows(row, row + 1), to.rows(at, at + 1));
          at++;
        }
      }
      if (mixed > 0) {
        ValueOutputSvd.Maps maps = decomposed.get(kv).maps;
        Tensor map = (query ? maps.value() : maps.output()).rows(0, mixed);
        Tensor free = from.rows((long) head * h + 2L * pairs, (head + 1L) * h);
        backend.gemm(false, false, 1, map, free, 0, to.rows(at, at + mixed));
      }
    }
    Tensor single =
        backend.allocate(arena, DType.F32, bias ? 1 : to.rows(), bias ? to.rows() : to.cols());
    backend.cast(bias ? to.reshape(1, to.rows()) : to, single);
    return single;
  }
}
