package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.modegpt.Progress;
import org.modegpt.backend.Backend;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.calibrate.Statistics;
import org.modegpt.evaluate.DivergenceProbe;
import org.modegpt.evaluate.DivergenceProbe.Variant;
import org.modegpt.model.BlockWeights;
import org.modegpt.model.Residents;
import org.modegpt.model.Role;
import org.modegpt.model.Transformer;
import org.modegpt.model.Transformer.Residence;
import org.modegpt.tensor.Tensor;

/// Spreads the budget over the modules of all layers by what their removal does on a probe text: to
/// the model's predictions (the KL divergence from the dense model) or, for {@link
/// AllocationRule#RESIDUAL_NOISE}, to the block's own output.
///
/// The first round removes 30 % of each module alone and takes the shape of its curve from the
/// local error of its decomposition; these curves are kept beside the statistics. Each later round
/// compresses the model by the plan so far, measures every module a little above and below its own
/// share with the rest compressed, and solves again within that range. Of all plans whose
/// divergence was measured the best is taken. Everything is deterministic.
final class MeasuredAllocation implements AutoCloseable {
  private static final double LEVEL = 0.3;
  private static final double[] SHAPE_LEVELS = {0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9};

  /// Range around a module's share, by round; the last value serves all later rounds.
  private static final double[] STEPS = {0.12, 0.08, 0.05};

  private static final double MOST = 0.92;

  private final Transformer model;
  private final Backend backend;
  private final Statistics statistics;
  private final Recipe recipe;
  private final BlockSizes sizes;
  private final BlockCompressor blocks;
  private final DivergenceProbe probe;
  private @Nullable Held held;
  private List<RemovalCurve> curves = List.of();
  private final CurveFile.Key key;

  /// @param sequences probe text, equally long
  MeasuredAllocation(
      Transformer model,
      Backend backend,
      Statistics statistics,
      Recipe recipe,
      List<int[]> sequences) {
    this.model = model;
    this.backend = backend;
    this.statistics = statistics;
    this.recipe = recipe;
    this.sizes = BlockSizes.of(model.config()).under(recipe);
    this.blocks = new BlockCompressor(backend, model.config(), recipe);
    this.probe = new DivergenceProbe(model, backend, sequences);
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
    List<Variant> variants = new ArrayList<>();
    for (int layer = 0; layer < layers(); layer++) {
      for (Module module : Module.values()) {
        variants.add(variant(layer, null, module, rank(module, LEVEL)));
      }
    }
    double[] costs =
        recipe.allocation() == AllocationRule.RESIDUAL_NOISE
            ? probe.noise(this::dense, variants, progress)
            : probe.measure(this::dense, variants, progress).variants();
    List<RemovalCurve> alone = new ArrayList<>();
    for (int layer = 0; layer < layers(); layer++) {
      Progress.checkCancelled();
      try (Arena arena = Arena.ofShared()) {
        Map<Role, Tensor> weights = weights(dense(layer, arena));
        LayerStatistics sums = sums(layer);
        for (Module module : Module.values()) {
          alone.add(curve(layer, weights, sums, module, costs[alone.size()]));
        }
      }
    }
    return alone;
  }

  private RemovalCurve curve(
      int layer, Map<Role, Tensor> weights, LayerStatistics sums, Module module, double measured) {
    List<Integer> ranks = new ArrayList<>();
    for (double level : SHAPE_LEVELS) {
      int rank = rank(module, level);
      if (rank < sizes.fullRank(module) && !ranks.contains(rank)) {
        ranks.add(rank);
      }
    }
    int at = ranks.indexOf(rank(module, LEVEL));
    double[] local =
        blocks.localErrors(
            layer, weights, sums, module, ranks.stream().mapToInt(Integer::intValue).toArray());
    List<RemovalCurve.Point> points = new ArrayList<>(List.of(new RemovalCurve.Point(0, 0)));
    for (int i = 0; i < local.length; i++) {
      double removed = removed(module, ranks.get(i));
      double shape =
          local[at] > 0
              ? local[i] / local[at]
              : Math.pow(removed / removed(module, ranks.get(at)), 2);
      points.add(new RemovalCurve.Point(removed, measured * shape));
    }
    return new RemovalCurve(parameters(module), points);
  }

  // ---- later rounds

  /// Measures every module a step below and above its rank in `plan`; returns the plan's own
  /// divergence.
  private double measureAround(
      RankPlan plan, double step, List<RemovalCurve> result, Progress progress) {
    List<Variant> variants = new ArrayList<>();
    List<List<Integer>> ranks = new ArrayList<>();
    for (int layer = 0; layer < layers(); layer++) {
      for (Module module : Module.values()) {
        int own = plan.layers().get(layer).of(module);
        List<Integer> measured = new ArrayList<>();
        for (double removed : new double[] {-step, step}) {
          int rank = rank(module, Math.min(MOST, removed(module, own) + removed));
          if (rank != own) {
            measured.add(rank);
            variants.add(variant(layer, plan.layers().get(layer), module, rank));
          }
        }
        ranks.add(measured);
      }
    }
    DivergenceProbe.Result divergence = probe.measure(compressed(plan), variants, progress);
    int next = 0;
    int index = 0;
    for (int layer = 0; layer < layers(); layer++) {
      for (Module module : Module.values()) {
        double own = removed(module, plan.layers().get(layer).of(module));
        List<RemovalCurve.Point> points = new ArrayList<>();
        points.add(new RemovalCurve.Point(own, 0));
        for (int rank : ranks.get(index++)) {
          double removed = removed(module, rank);
          double change = divergence.variants()[next++] - divergence.base();
          // Noise must not make removing more look like a gain, nor keeping more like a loss.
          double cost = removed < own ? Math.min(0, change) : Math.max(0, change);
          points.add(new RemovalCurve.Point(removed, cost));
        }
        points.sort(Comparator.comparingDouble(RemovalCurve.Point::removed));
        result.add(new RemovalCurve(parameters(module), points));
      }
    }
    return divergence.base();
  }

  private double divergence(RankPlan plan, Progress progress) {
    return probe.measure(compressed(plan), List.of(), progress).base();
  }

  private DivergenceProbe.Blocks compressed(RankPlan plan) {
    return (layer, arena) -> {
      Map<Role, Tensor> weights = weights(dense(layer, arena));
      CompressedBlock block =
          blocks.compress(arena, layer, weights, sums(layer), plan.layers().get(layer));
      return loaded(block, arena);
    };
  }

  // ---- blocks

  /// The block of the plan (dense when there is none) with one module at another rank.
  private Variant variant(int layer, @Nullable LayerRanks ranks, Module module, int rank) {
    return new Variant(
        layer,
        arena -> {
          Map<Role, Tensor> weights = weights(dense(layer, arena));
          LayerRanks base = ranks == null ? LayerRanks.full(sizes) : ranks;
          CompressedBlock block =
              blocks.compress(arena, layer, weights, sums(layer), base.with(module, rank));
          return loaded(block, arena);
        });
  }

  /// The dense block and its sums that were asked for last: all variants of a layer start from
  /// them.
  private final class Held implements AutoCloseable {
    final int layer;
    final Arena memory = Arena.ofShared();
    final BlockWeights weights;
    final LayerStatistics sums;

    Held(int layer) {
      this.layer = layer;
      this.weights = model.block(backend, memory, layer, Residence.F32);
      this.sums = uploaded(layer, memory);
    }

    @Override
    public void close() {
      backend.sync();
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

  private LayerStatistics sums(int layer) {
    return held(layer).sums;
  }

  private BlockWeights loaded(CompressedBlock block, Arena arena) {
    return model.block(backend, arena, block.shape(), block.weights());
  }

  private static Map<Role, Tensor> weights(BlockWeights block) {
    return block.tensors();
  }

  private LayerStatistics uploaded(int layer, Arena arena) {
    Map<String, Tensor> sums = new LinkedHashMap<>();
    statistics
        .layer(layer, arena)
        .named()
        .forEach((name, tensor) -> sums.put(name, Residents.upload(backend, arena, tensor)));
    return LayerStatistics.of(sums);
  }

  @Override
  public void close() {
    if (held != null) {
      held.close();
    }
    probe.close();
    blocks.close();
  }
}
