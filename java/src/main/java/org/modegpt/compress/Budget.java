package org.modegpt.compress;

import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// Turns real-valued shares into integer ranks that meet a parameter count.
///
/// Every rank starts at the allowed value nearest to its share. Then single steps, each taken where
/// it costs least distance from the shares, bring the total towards the target while they get
/// nearer to it; they end within half of the finest step (one MLP unit when ranks need not be
/// multiples of anything). Where steps are coarse, exchanges of one step down against one step up
/// follow. What cannot be reached (tiny models, coarse multiples, ranks at their minimum) is not
/// hidden: the plan states its own total.
public final class Budget {
  private Budget() {}

  /// Matrix parameters to keep so that `ratio` of them goes.
  public static long target(BlockSizes sizes, int layers, double ratio) {
    return Math.round((double) sizes.parameters() * layers * (1 - ratio));
  }

  /// The ranks that come nearest to the target.
  ///
  /// @param removals one entry per block
  /// @param target matrix parameters of all blocks to keep
  /// @param multipleOf ranks are multiples of this (and even where rotary pairs must stay whole),
  ///   or full
  public static RankPlan plan(
      BlockSizes sizes, List<Removal> removals, long target, int multipleOf) {
    List<Map<Module, Item>> blocks = new ArrayList<>();
    for (Removal removal : removals) {
      Map<Module, Item> block = new EnumMap<>(Module.class);
      for (Module module : Module.values()) {
        block.put(module, new Item(sizes, module, removal, multipleOf));
      }
      blocks.add(block);
    }
    List<Item> items = blocks.stream().flatMap(block -> block.values().stream()).toList();
    long excess = items.stream().mapToLong(i -> i.rank * i.cost).sum() - target;
    for (long before = Long.MAX_VALUE; excess != before; ) {
      before = excess;
      excess = exchange(items, step(items, excess));
    }
    return new RankPlan(blocks.stream().map(Budget::ranks).toList());
  }

  private static LayerRanks ranks(Map<Module, Item> block) {
    return new LayerRanks(
        block.get(Module.MLP).rank,
        block.get(Module.QUERY_KEY).rank,
        block.get(Module.VALUE_OUTPUT).rank);
  }

  /// Takes the most favoured single step that brings the total nearer to the target, until there is
  /// none.
  private static long step(List<Item> items, long excess) {
    while (excess != 0) {
      boolean up = excess < 0;
      Item best = null;
      for (Item item : items) {
        long change = Math.abs(item.change(up));
        boolean nearer = change != 0 && change < 2 * Math.abs(excess);
        if (nearer && (best == null || item.favour(up) > best.favour(up))) {
          best = item;
        }
      }
      if (best == null) {
        return excess;
      }
      excess += best.take(up);
    }
    return 0;
  }

  /// Takes the pair of one step up and one step down that brings the total nearest to the target,
  /// if any does.
  private static long exchange(List<Item> items, long excess) {
    long nearest = Math.abs(excess);
    @Nullable Item raised = null;
    @Nullable Item lowered = null;
    for (Item a : items) {
      long up = a.change(true);
      for (Item b : items) {
        long down = b.change(false);
        long distance = Math.abs(excess + up + down);
        if (a != b && up != 0 && down != 0 && distance < nearest) {
          nearest = distance;
          raised = a;
          lowered = b;
        }
      }
    }
    return raised == null || lowered == null
        ? excess
        : excess + raised.take(true) + lowered.take(false);
  }

  /// The rank of one module of one block on its way.
  private static final class Item {
    final long cost;
    final int full;
    final int granularity;
    final double ideal;
    int rank;

    Item(BlockSizes sizes, Module module, Removal removal, int multipleOf) {
      cost = sizes.unitCost(module);
      full = sizes.fullRank(module);
      granularity = sizes.granularity(module, multipleOf);
      ideal = (1 - removal.of(module)) * full;
      int below = ((int) (ideal / granularity)) * granularity;
      int above = Math.min(below + granularity, full);
      rank = below < 1 || ideal - below > above - ideal ? above : below;
    }

    /// The next allowed rank; the present one at the end of the range.
    private int next(boolean up) {
      if (up) {
        return Math.min(full, rank + granularity);
      }
      int below = (rank - 1) / granularity * granularity;
      return below < 1 ? rank : below;
    }

    /// What a step changes in parameters.
    long change(boolean up) {
      return (next(up) - rank) * cost;
    }

    /// What the step takes off the squared distance from the ideal, in shares of the full rank, per
    /// parameter; negative when it leads away. Fine steps, of MLP units, so go before coarse ones.
    double favour(boolean up) {
      double before = (rank - ideal) / full;
      double after = (next(up) - ideal) / full;
      return (before * before - after * after) / Math.abs(change(up));
    }

    long take(boolean up) {
      long change = change(up);
      rank = next(up);
      return change;
    }
  }
}
