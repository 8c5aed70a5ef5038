package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import org.modegpt.Progress;
import org.modegpt.backend.Backend;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.calibrate.OwnText;
import org.modegpt.calibrate.Statistics;
import org.modegpt.evaluate.DivergenceProbe;
import org.modegpt.evaluate.DivergenceProbe.Variant;
import org.modegpt.model.Ahead;
import org.modegpt.model.BlockWeights;
import org.modegpt.model.DenseBlocks;
import org.modegpt.model.Transformer;
import org.modegpt.tensor.Tensor;

/// Spreads the budget over the modules of all layers by what their removal does on a probe text: to
/// the model's predictions (the KL divergence from the dense model) or, for {@link
/// AllocationRule#RESIDUAL_NOISE} and {@link AllocationRule#FISHER}, to the block's own output.
///
/// The first round removes 30 % of each module alone and takes the shape of its curve from the
/// local error of its decomposition; these curves are kept beside the statistics. Each later round
/// compresses the model by the plan so far, measures every module a little above and below its own
/// share with the rest compressed, and solves again within that range. Of all plans whose
/// divergence was measured the best is taken. Everything is deterministic.
final class MeasuredAllocation implements AutoCloseable {
  /// Shares of each module that the first round removes alone.
  private static final double[] DIVERGENCE_LEVELS = {0.3};

  /// Residual noise is cheap: a variant's own block is all that runs.
  private static final double[] NOISE_LEVELS = {0.15, 0.3, 0.5, 0.7};

  private static final double[] SHAPE_LEVELS = {0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9};

  /// Range around a module's share, by round; the last value serves all later rounds.
  private static final double[] STEPS = {0.12, 0.08, 0.05};

  private static final double MOST = 0.92;

  /// Weight of a later round's own measurements against the curves of the first: single differences
  /// on little text are noisy.
  private static final double TRUST = 0.5;

  private final Transformer model;
  private final Backend backend;
  private final Statistics statistics;
  private final Ahead<LayerStatistics> sums;
  private final Recipe recipe;
  private final BlockSizes sizes;
  private final BlockCompressor blocks;
  private final DenseBlocks dense;
  private final DivergenceProbe probe;
  private @Nullable Held held;
  private List<RemovalCurve> curves = List.of();
  private final CurveFile.Key key;

  /// @param sequences probe text, equally long
  /// @param memos see {@link BlockCompressor}
  MeasuredAllocation(
      Transformer model,
      Backend backend,
      Statistics statistics,
      Recipe recipe,
      List<int[]> sequences,
      Map<Integer, NystromMlp.Memo> memos) {
    this.model = model;
    this.backend = backend;
    this.statistics = statistics;
    this.sums = statistics.ahead(backend);
    this.recipe = recipe;
    this.sizes = BlockSizes.of(model.config()).under(recipe);
    this.blocks = new BlockCompressor(backend, model.config(), recipe, memos).forManyRanks();
    this.dense = new DenseBlocks(backend, model);
    this.probe = new DivergenceProbe(model, backend, mixed(sequences), dense::get);
    this.key =
        new CurveFile.Key(
            statistics.metadata(),
            recipe.allocation(),
            recipe.queryKey(),
            recipe.valueOutput(),
            recipe.mlp(),
            recipe.ridge(),
            probe.textHash());
  }

  /// What is measured on is of the same kind as what the statistics were gathered on.
  private List<int[]> mixed(List<int[]> sequences) {
    double share = recipe.calibration().ownText();
    return new OwnText(model, backend, dense, Progress.SILENT)
        .mixed(sequences, share, recipe.seed() + 1);
  }

  /// The ranks for `target` matrix parameters to keep. Curves of the first round serve every
  /// target.
  RankPlan plan(long target, Progress progress) {
    if (curves.isEmpty()) {
      Path file = CurveFile.beside(statistics.path());
      List<RemovalCurve> known = statistics.inFile() ? CurveFile.find(file, key) : null;
      curves = known != null ? known : measureAlone(progress);
      if (known == null && statistics.inFile()) {
        CurveFile.add(file, key, curves);
      }
    }
    double toRemove = (double) sizes.parameters() * layers() - target;
    RankPlan plan = budget(CurvePlanner.shares(curves, toRemove), target);
    if (toRemove <= 0 || recipe.rounds() == 1) {
      return plan.withCosts(costs(plan));
    }
    RankPlan best = plan;
    for (int round = 1; round < recipe.rounds(); round++) {
      double step = STEPS[Math.min(round, STEPS.length) - 1];
      List<RemovalCurve> around = new ArrayList<>();
      best = better(best, plan.withDivergence(measureAround(plan, step, around, progress)));
      plan = budget(CurvePlanner.shares(around, toRemove), target);
    }
    best = better(best, plan.withDivergence(divergence(plan, progress)));
    return best.withCosts(costs(best));
  }

  private static RankPlan better(RankPlan best, RankPlan measured) {
    Double known = best.divergence();
    boolean worse = known != null && !(measured.divergence() < known);
    return worse ? best : measured;
  }

  /// What the curves of the first round say of every module's share.
  private List<RankPlan.ModuleCosts> costs(RankPlan plan) {
    List<RankPlan.ModuleCosts> costs = new ArrayList<>();
    for (LayerRanks ranks : plan.layers()) {
      double[] cost = new double[Module.values().length];
      for (Module module : Module.values()) {
        RemovalCurve curve = curves.get(costs.size() * cost.length + module.ordinal());
        cost[module.ordinal()] = curve.cost(removed(module, ranks.of(module)));
      }
      costs.add(new RankPlan.ModuleCosts(cost[0], cost[1], cost[2]));
    }
    return costs;
  }

  private int layers() {
    return model.config().layers();
  }

  private RankPlan budget(double[] shares, long target) {
    List<Removal> removals = new ArrayList<>();
    int count = Module.values().length;
    for (int layer = 0; layer < layers(); layer++) {
      Map<Module, Double> share = new EnumMap<>(Module.class);
      for (int m = 0; m < count; m++) {
        share.put(Module.values()[m], Math.clamp(shares[layer * count + m], 0, 1));
      }
      removals.add(
          new Removal(
              share.get(Module.QUERY_KEY), share.get(Module.VALUE_OUTPUT), share.get(Module.MLP)));
    }
    return Budget.plan(sizes, removals, target, recipe.multipleOf());
  }

  private int rank(Module module, double removed) {
    int granularity = sizes.granularity(module, 1);
    long rank = Math.round((1 - removed) * sizes.fullRank(module) / granularity) * granularity;
    return Math.toIntExact(Math.clamp(rank, granularity, sizes.fullRank(module)));
  }

  private double removed(Module module, int rank) {
    return 1 - (double) rank / sizes.fullRank(module);
  }

  private long parameters(Module module) {
    return sizes.unitCost(module) * sizes.fullRank(module);
  }

  // ---- first round

  private List<RemovalCurve> measureAlone(Progress progress) {
    boolean predictions = recipe.allocation() == AllocationRule.MEASURED;
    double[] levels = predictions ? DIVERGENCE_LEVELS : NOISE_LEVELS;
    List<Variant> variants = new ArrayList<>();
    for (int layer = 0; layer < layers(); layer++) {
      for (Module module : Module.values()) {
        for (double level : levels) {
          variants.add(variant(layer, null, module, rank(module, level)));
        }
      }
    }
    double[] costs =
        predictions
            ? probe.measure(this::dense, variants, progress).variants()
            : probe.changes(this::dense, variants, this::change, progress);
    List<RemovalCurve> alone = new ArrayList<>();
    for (int layer = 0; layer < layers(); layer++) {
      Progress.checkCancelled();
      Held of = held(layer);
      for (Module module : Module.values()) {
        Map<Integer, Double> measured = new TreeMap<>();
        for (int i = 0; i < levels.length; i++) {
          measured.put(rank(module, levels[i]), costs[alone.size() * levels.length + i]);
        }
        alone.add(curve(of, module, measured));
      }
    }
    return alone;
  }

  private double change(int layer, Tensor base, Tensor changed) {
    if (recipe.allocation() == AllocationRule.RESIDUAL_NOISE) {
      return probe.noise(base, changed);
    }
    Fisher fisher = held(layer).fisher();
    backend.add(-1, base, changed);
    return fisher.divergence(changed);
  }

  /// The curve through the measured costs by rank; between and beyond them it has the shape of the
  /// local error.
  private RemovalCurve curve(Held of, Module module, Map<Integer, Double> measured) {
    TreeSet<Integer> ranks = new TreeSet<>(measured.keySet());
    for (double level : SHAPE_LEVELS) {
      ranks.add(rank(module, level));
    }
    ranks.remove(sizes.fullRank(module));
    int[] descending = ranks.descendingSet().stream().mapToInt(Integer::intValue).toArray();
    double[] errors =
        blocks.localErrors(of.layer, of.weights.tensors(), of.sums.value(), module, descending);
    Map<Integer, Double> local = new TreeMap<>();
    for (int i = 0; i < errors.length; i++) {
      local.put(descending[i], errors[i]);
    }
    List<RemovalCurve.Point> points = new ArrayList<>(List.of(new RemovalCurve.Point(0, 0)));
    for (int rank : descending) {
      int anchor = nearest(measured.keySet(), rank);
      double removed = removed(module, rank);
      double error = local.getOrDefault(anchor, 0.0);
      double shape =
          error > 0 ? local.get(rank) / error : Math.pow(removed / removed(module, anchor), 2);
      points.add(new RemovalCurve.Point(removed, measured.get(anchor) * shape));
    }
    return new RemovalCurve(parameters(module), points);
  }

  private static int nearest(Set<Integer> ranks, int rank) {
    return ranks.stream().min(Comparator.comparingInt(r -> Math.abs(r - rank))).orElseThrow();
  }

  // ---- later rounds

  /// A module a step away from its share in the plan.
  ///
  /// @param curve index of the module among all
  private record Neighbour(int curve, double own, double removed) {}

  /// Measures every module a step below and above its rank in `plan`; returns the plan's own
  /// divergence.
  private double measureAround(
      RankPlan plan, double step, List<RemovalCurve> result, Progress progress) {
    List<Variant> variants = new ArrayList<>();
    List<Neighbour> neighbours = new ArrayList<>();
    List<List<RemovalCurve.Point>> points = new ArrayList<>();
    for (int layer = 0; layer < layers(); layer++) {
      LayerRanks ranks = plan.layers().get(layer);
      for (Module module : Module.values()) {
        double own = removed(module, ranks.of(module));
        for (double change : new double[] {-step, step}) {
          int rank = rank(module, Math.min(MOST, own + change));
          if (rank != ranks.of(module)) {
            variants.add(variant(layer, ranks, module, rank));
            neighbours.add(new Neighbour(points.size(), own, removed(module, rank)));
          }
        }
        points.add(new ArrayList<>(List.of(new RemovalCurve.Point(own, 0))));
      }
    }
    DivergenceProbe.Result measured = probe.measure(compressed(plan), variants, progress);
    double scale = scale(neighbours, measured);
    for (int i = 0; i < neighbours.size(); i++) {
      Neighbour n = neighbours.get(i);
      double expected = scale * expected(n);
      double change = measured.variants()[i] - measured.base();
      double blend = Double.isFinite(change) ? TRUST * change + (1 - TRUST) * expected : expected;
      // Noise must not make removing more look like a gain, nor keeping more like a loss.
      double cost = n.removed < n.own ? Math.min(0, blend) : Math.max(0, blend);
      points.get(n.curve).add(new RemovalCurve.Point(n.removed, cost));
    }
    for (int i = 0; i < points.size(); i++) {
      points.get(i).sort(Comparator.comparingDouble(RemovalCurve.Point::removed));
      result.add(new RemovalCurve(curves.get(i).parameters(), points.get(i)));
    }
    return measured.base();
  }

  /// What the curves of the first round say of a step.
  private double expected(Neighbour n) {
    RemovalCurve curve = curves.get(n.curve);
    return curve.cost(n.removed) - curve.cost(n.own);
  }

  /// Brings the first round's curves to the size of the changes measured now.
  private double scale(List<Neighbour> neighbours, DivergenceProbe.Result measured) {
    double seen = 0;
    double expected = 0;
    for (int i = 0; i < neighbours.size(); i++) {
      double change = Math.abs(measured.variants()[i] - measured.base());
      if (Double.isFinite(change)) {
        seen += change;
        expected += Math.abs(expected(neighbours.get(i)));
      }
    }
    return expected > 0 ? seen / expected : 0;
  }

  private double divergence(RankPlan plan, Progress progress) {
    return probe.measure(compressed(plan), List.of(), progress).base();
  }

  private DivergenceProbe.Blocks compressed(RankPlan plan) {
    return (layer, arena) -> loaded(base(layer, plan.layers().get(layer)), arena);
  }

  // ---- blocks

  /// The block of the plan (dense when there is none) with one module at another rank.
  private Variant variant(int layer, @Nullable LayerRanks ranks, Module module, int rank) {
    return new Variant(
        layer,
        arena -> {
          CompressedBlock base = base(layer, ranks == null ? LayerRanks.full(sizes) : ranks);
          Held of = held(layer);
          CompressedBlock block =
              blocks.replace(
                  arena, layer, of.weights.tensors(), of.sums.value(), base, module, rank);
          return loaded(block, arena);
        });
  }

  /// The block at these ranks, made once for its variants; valid until another layer is asked for.
  private CompressedBlock base(int layer, LayerRanks ranks) {
    Held of = held(layer);
    CompressedBlock made = of.made;
    if (made == null || !ranks.equals(of.ranks)) {
      made = blocks.compress(of.memory, layer, of.weights.tensors(), of.sums.value(), ranks);
      of.made = made;
      of.ranks = ranks;
    }
    return made;
  }

  /// The dense block and its sums that were asked for last, and the block made of them: all
  /// variants of a layer start from these.
  private final class Held implements AutoCloseable {
    final int layer;
    final Arena memory = Arena.ofShared();
    final BlockWeights weights;
    final Ahead<LayerStatistics>.Loaded sums;
    @Nullable Fisher fisher;
    @Nullable CompressedBlock made;
    @Nullable LayerRanks ranks;

    Held(int layer) {
      this.layer = layer;
      this.weights = dense.get(layer, memory);
      this.sums = MeasuredAllocation.this.sums.get(layer);
    }

    Fisher fisher() {
      Fisher known = fisher;
      if (known == null) {
        known = Fisher.of(backend, memory, sums.value());
        fisher = known;
      }
      return known;
    }

    @Override
    public void close() {
      backend.sync();
      sums.close();
      memory.close();
    }
  }

  private Held held(int layer) {
    Held known = held;
    if (known == null || known.layer != layer) {
      if (known != null) {
        known.close();
      }
      known = new Held(layer);
      held = known;
    }
    return known;
  }

  /// Valid until another layer is asked for.
  private BlockWeights dense(int layer, Arena unused) {
    return held(layer).weights;
  }

  private BlockWeights loaded(CompressedBlock block, Arena arena) {
    return model.block(backend, arena, block.shape(), block.weights());
  }

  @Override
  public void close() {
    if (held != null) {
      held.close();
    }
    sums.close();
    probe.close();
    dense.close();
    blocks.close();
  }
}
