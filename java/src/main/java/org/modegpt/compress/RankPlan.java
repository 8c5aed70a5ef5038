package org.modegpt.compress;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;

/// The ranks of every block, before any work is done: what `--dry-run` prints and what a run
/// follows.
///
/// @param costs per block what removal curves predict each module's share to cost alone, in nats
///   per token (residual noise for curves of that source); null without curves
/// @param divergence of a model with these ranks from the dense one on the probe text, in nats per
///   token; null when it was not measured
public record RankPlan(
    List<LayerRanks> layers, @Nullable List<ModuleCosts> costs, @Nullable Double divergence) {

  public RankPlan {
    layers = List.copyOf(layers);
    costs = costs == null ? null : List.copyOf(costs);
  }

  /// What removing each module's share of one block costs.
  public record ModuleCosts(double queryKey, double valueOutput, double mlp) {

    public double of(Module module) {
      return switch (module) {
        case QUERY_KEY -> queryKey;
        case VALUE_OUTPUT -> valueOutput;
        case MLP -> mlp;
      };
    }
  }

  RankPlan(List<LayerRanks> layers) {
    this(layers, null, null);
  }

  RankPlan withCosts(List<ModuleCosts> value) {
    return new RankPlan(layers, value, divergence);
  }

  RankPlan withDivergence(double value) {
    return new RankPlan(layers, costs, value);
  }

  /// One line of the rank table; `kept` is the share of the block's matrix parameters.
  public record Row(
      int layer, int qkRank, int voRank, int mlpWidth, long parameters, double kept) {}

  /// Matrix parameters of all blocks under this plan.
  public long parameters(BlockSizes sizes) {
    return layers.stream().mapToLong(sizes::parameters).sum();
  }

  /// The share of the blocks' matrix parameters that this plan removes.
  public double ratio(BlockSizes sizes) {
    return 1 - (double) parameters(sizes) / (sizes.parameters() * layers.size());
  }

  public List<Row> table(BlockSizes sizes) {
    List<Row> rows = new ArrayList<>();
    for (LayerRanks r : layers) {
      long parameters = sizes.parameters(r);
      double kept = (double) parameters / sizes.parameters();
      rows.add(new Row(rows.size(), r.qkRank(), r.voRank(), r.mlpWidth(), parameters, kept));
    }
    return rows;
  }

  /// Throws a {@link UserException} unless the plan fits a model of `count` such blocks.
  public void requireFit(BlockSizes sizes, int count) {
    if (layers.size() != count) {
      throw new UserException("the rank plan has " + layers.size() + " layers, the model " + count);
    }
    for (int i = 0; i < count; i++) {
      for (Module module : Module.values()) {
        int rank = layers.get(i).of(module);
        boolean odd = module == Module.QUERY_KEY && sizes.rotary() && rank % 2 != 0;
        if (rank < 1 || rank > sizes.fullRank(module) || odd) {
          throw new UserException(
              "rank plan, layer %d: a %s rank of %d is not possible; the model has %d%s"
                  .formatted(
                      i,
                      module.label(),
                      rank,
                      sizes.fullRank(module),
                      odd ? " and keeps whole rotary pairs" : ""));
        }
      }
    }
  }

  public String toJson() {
    return RecordJson.write(this);
  }

  /// Reads a plan.
  ///
  /// @param source names the text in error messages
  public static RankPlan ofJson(String json, String source) {
    return RecordJson.read(json, source, RankPlan.class);
  }
}
