package org.modegpt.compress;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.DoubleStream;
import org.modegpt.UserException;

/// Plans for formats that cannot say smaller heads: only MLPs shrink, by multiples, so that the
/// whole has the same number of parameters as an ordinary plan.
public final class MlpPlan {
  /// Least share that a layer is taken to give, so that the budget can always be met.
  private static final double LEAST_SHARE = 0.02;

  private MlpPlan() {}

  /// One width for all layers.
  ///
  /// @param target matrix parameters of all blocks to keep
  public static RankPlan uniform(BlockSizes sizes, int layers, long target, int multiple) {
    double width = budget(sizes, layers, target, multiple) / layers;
    long rounded = Math.round(width / multiple) * multiple;
    int kept = Math.toIntExact(Math.clamp(rounded, multiple, sizes.mlpWidth()));
    return plan(sizes, new ArrayList<>(java.util.Collections.nCopies(layers, kept)));
  }

  /// Widths that go by the shares which an ordinary plan removes of the MLPs.
  public static RankPlan perLayer(RankPlan ordinary, BlockSizes sizes, long target, int multiple) {
    int layers = ordinary.layers().size();
    double budget = budget(sizes, layers, target, multiple);
    double[] shares =
        ordinary.layers().stream()
            .mapToDouble(r -> Math.max(LEAST_SHARE, 1 - (double) r.mlpWidth() / sizes.mlpWidth()))
            .toArray();
    double low = 0;
    double high = 1 / LEAST_SHARE;
    for (int i = 0; i < 60; i++) {
      double factor = (low + high) / 2;
      double sum = DoubleStream.of(shares).map(s -> ideal(sizes, s * factor, multiple)).sum();
      if (sum > budget) {
        low = factor;
      } else {
        high = factor;
      }
    }
    return plan(sizes, rounded(sizes, shares, high, budget, multiple));
  }

  /// Multiples below the ideal widths, then one more where most is missing until the budget is met.
  private static List<Integer> rounded(
      BlockSizes sizes, double[] shares, double factor, double budget, int multiple) {
    List<Integer> widths = new ArrayList<>();
    double left = budget;
    for (double share : shares) {
      double ideal = ideal(sizes, share * factor, multiple);
      int width =
          ideal >= sizes.mlpWidth()
              ? sizes.mlpWidth()
              : Math.max(multiple, ((int) (ideal / multiple)) * multiple);
      widths.add(width);
      left -= width;
    }
    while (left > multiple / 2.0) {
      int best = -1;
      double most = 0;
      for (int i = 0; i < shares.length; i++) {
        double missing = ideal(sizes, shares[i] * factor, multiple) - widths.get(i);
        if (missing > most) {
          most = missing;
          best = i;
        }
      }
      if (best < 0) {
        break;
      }
      int wider = Math.min(sizes.mlpWidth(), widths.get(best) + multiple);
      left -= wider - widths.get(best);
      widths.set(best, wider);
    }
    return widths;
  }

  private static double ideal(BlockSizes sizes, double removed, int multiple) {
    return Math.max(multiple, sizes.mlpWidth() * (1 - removed));
  }

  /// MLP units that all layers together may keep.
  private static double budget(BlockSizes sizes, int layers, long target, int multiple) {
    long heads =
        sizes.unitCost(Module.QUERY_KEY) * sizes.headDim()
            + sizes.unitCost(Module.VALUE_OUTPUT) * sizes.headDim();
    double units = (double) (target - layers * heads) / sizes.unitCost(Module.MLP);
    if (units < (double) layers * multiple) {
      double least = heads + (double) sizes.unitCost(Module.MLP) * multiple;
      throw new UserException(
          "only MLPs shrink in this format: of this model at most %.0f %% can be removed; lower --ratio or choose another --format"
              .formatted(Math.floor(100 * (1 - least / sizes.parameters()))));
    }
    return units;
  }

  private static RankPlan plan(BlockSizes sizes, List<Integer> widths) {
    return new RankPlan(
        widths.stream().map(w -> new LayerRanks(w, sizes.headDim(), sizes.headDim())).toList());
  }
}
