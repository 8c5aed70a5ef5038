package org.modegpt.compress;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class BudgetTest {
  private static final double[] RATIOS = {
    0, 0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 0.9, 0.95
  };

  private static RankPlan uniform(BlockSizes sizes, int layers, double ratio, int multipleOf) {
    List<Removal> removals = Collections.nCopies(layers, Removal.of(ratio));
    return Budget.plan(sizes, removals, Budget.target(sizes, layers, ratio), multipleOf);
  }

  private static long distance(BlockSizes sizes, RankPlan plan, double ratio) {
    return Math.abs(plan.parameters(sizes) - Budget.target(sizes, plan.layers().size(), ratio));
  }

  private static void assertAllowed(BlockSizes sizes, RankPlan plan, int multipleOf) {
    plan.requireFit(sizes, plan.layers().size());
    for (LayerRanks ranks : plan.layers()) {
      for (Module module : Module.values()) {
        int rank = ranks.of(module);
        assertThat(rank == sizes.fullRank(module) || rank % multipleOf == 0)
            .as("%s of %s", ranks, sizes)
            .isTrue();
      }
    }
  }

  /// hidden, heads, key/value heads, head size, MLP width, layers of real models.
  @ParameterizedTest
  @CsvSource({
    "384, 6, 2, 64, 1024, 8", // wiki-16m
    "576, 9, 3, 64, 1536, 30", // SmolLM2-135M
    "2048, 32, 8, 64, 8192, 16", // Llama-3.2-1B
    "4096, 32, 32, 128, 11008, 32", // Llama-2-7B
    "4096, 32, 8, 128, 14336, 32" // Llama-3-8B
  })
  void realModelsMeetEveryRatioAtEveryMultiple(
      int d, int heads, int kvHeads, int h, int f, int layers) {
    BlockSizes sizes = new BlockSizes(d, heads, kvHeads, h, f, true, true);
    long total = sizes.parameters() * layers;
    for (double ratio : RATIOS) {
      for (int multipleOf : new int[] {1, 8, 16, 64}) {
        RankPlan plan = uniform(sizes, layers, ratio, multipleOf);
        assertAllowed(sizes, plan, multipleOf);
        // A step of 64 units is more than 0.2 % of the smallest of these models.
        long halfStep = multipleOf == 64 ? 32 * sizes.unitCost(Module.MLP) : 0;
        int least = Math.max(2, multipleOf);
        long floor = sizes.parameters(new LayerRanks(multipleOf, least, multipleOf)) * layers;
        if (Budget.target(sizes, layers, ratio) < floor) {
          assertThat(plan.parameters(sizes)).isEqualTo(floor);
        } else {
          assertThat(distance(sizes, plan, ratio))
              .as("ratio %s, multiple of %d", ratio, multipleOf)
              .isLessThanOrEqualTo(Math.max(total / 1000, halfStep));
        }
      }
    }
  }

  @Test
  void widthsMeetTheRatioClosely() {
    BlockSizes smol = new BlockSizes(576, 9, 3, 64, 1536, true, true);
    for (double ratio : RATIOS) {
      RankPlan plan = uniform(smol, 30, ratio, 1);
      assertThat(distance(smol, plan, ratio)).isLessThanOrEqualTo(smol.unitCost(Module.MLP) / 2);
    }
  }

  @Test
  void nothingRemovedKeepsEverything() {
    BlockSizes odd = new BlockSizes(64, 8, 4, 8, 172, true, true);
    for (int multipleOf : new int[] {1, 8, 64, 1000}) {
      assertThat(uniform(odd, 5, 0, multipleOf).layers()).containsOnly(LayerRanks.full(odd));
    }
  }

  @Test
  void randomShapesAndAllocationsEndWithinHalfAStep() {
    Random random = new Random(99);
    for (int trial = 0; trial < 3000; trial++) {
      int kvHeads = 1 + random.nextInt(4);
      int group = 1 + random.nextInt(4);
      int h = 2 * (1 + random.nextInt(48));
      int d = 8 + random.nextInt(600);
      int f = 8 + random.nextInt(2000);
      BlockSizes sizes =
          new BlockSizes(
              d, kvHeads * group, kvHeads, h, f, random.nextBoolean(), random.nextBoolean());
      int layers = 1 + random.nextInt(12);
      double ratio = RATIOS[random.nextInt(RATIOS.length)];
      List<Double> influence = random.doubles(layers).boxed().toList();
      List<Removal> removals = new BlockInfluence(influence, 0.3, 0.9).allocate(layers, ratio);
      long target = Budget.target(sizes, layers, ratio);

      RankPlan plan = Budget.plan(sizes, removals, target, 1);
      assertAllowed(sizes, plan, 1);
      long least = sizes.parameters(new LayerRanks(1, sizes.rotary() ? 2 : 1, 1)) * layers;
      if (target >= least) {
        long step = sizes.unitCost(Module.MLP) * (isMinimal(sizes, plan, target) ? 2 : 1);
        assertThat(distance(sizes, plan, ratio))
            .as("%s at %s", sizes, ratio)
            .isLessThanOrEqualTo(step);
      } else {
        assertThat(plan.parameters(sizes)).isEqualTo(least);
      }
      for (int multipleOf : new int[] {8, 16, 64}) {
        assertLocallyBest(
            sizes, Budget.plan(sizes, removals, target, multipleOf), target, multipleOf);
      }
    }
  }

  /// Whether so little is left that MLP widths are at one unit and cannot balance the rest.
  private static boolean isMinimal(BlockSizes sizes, RankPlan plan, long target) {
    return plan.layers().stream().anyMatch(r -> r.mlpWidth() == 1) && target < sizes.parameters();
  }

  /// With coarse multiples the target may be out of reach; then no allowed single step comes
  /// nearer.
  private static void assertLocallyBest(
      BlockSizes sizes, RankPlan plan, long target, int multipleOf) {
    assertAllowed(sizes, plan, multipleOf);
    long distance = Math.abs(plan.parameters(sizes) - target);
    for (LayerRanks ranks : plan.layers()) {
      for (Module module : Module.values()) {
        int step = sizes.granularity(module, multipleOf);
        int rank = ranks.of(module);
        List<Integer> neighbours = new ArrayList<>();
        neighbours.add(Math.min(sizes.fullRank(module), rank + step));
        int below = (rank - 1) / step * step;
        neighbours.add(below < 1 ? rank : below);
        for (int next : neighbours) {
          long changed = plan.parameters(sizes) + (next - rank) * sizes.unitCost(module);
          assertThat(Math.abs(changed - target)).isGreaterThanOrEqualTo(distance);
        }
      }
    }
  }

  @Test
  void ranksFollowTheAllocation() {
    BlockSizes sizes = new BlockSizes(576, 9, 3, 64, 1536, true, true);
    List<Removal> removals = List.of(new Removal(0.5, 0.25, 0.1), new Removal(0, 0, 0.3));
    long ideal =
        sizes.parameters(new LayerRanks(1382, 32, 48))
            + sizes.parameters(new LayerRanks(1075, 64, 64));
    RankPlan plan = Budget.plan(sizes, removals, ideal, 1);
    assertThat(plan.layers())
        .containsExactly(new LayerRanks(1382, 32, 48), new LayerRanks(1075, 64, 64));
    assertThat(plan.table(sizes).get(0).kept())
        .isEqualTo(sizes.parameters(plan.layers().get(0)) / (double) sizes.parameters());
  }

  @Test
  void isDeterministic() {
    BlockSizes sizes = new BlockSizes(576, 9, 3, 64, 1536, true, true);
    assertThat(uniform(sizes, 30, 0.3, 8)).isEqualTo(uniform(sizes, 30, 0.3, 8));
  }
}
