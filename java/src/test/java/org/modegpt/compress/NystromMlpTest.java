package org.modegpt.compress;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.model.Role;

class NystromMlpTest {
  private static final NystromMlp NYSTROM = new NystromMlp(1e-2);

  private interface Body {
    void run(Workspace workspace, Arena arena, SampleBlock block);
  }

  private static void with(String backendName, Body body) {
    try (Backend backend = Backends.open(backendName, 2);
        Arena arena = Arena.ofShared();
        Workspace workspace = new Workspace(backend)) {
      body.run(
          workspace, arena, new SampleBlock(backend, arena, SampleBlock.GROUPED, 160, false, 11));
    }
  }

  private static ModuleResult decompose(
      Workspace workspace, Arena arena, SampleBlock block, LayerStatistics statistics, int width) {
    return apply(NYSTROM, workspace, arena, block, statistics, width);
  }

  /// `W_down − S W_down'` `[f, d]`.
  private static double[][] residual(SampleBlock block, ModuleResult result) {
    double[][] residual = block.math(Role.DOWN);
    double[][] refitted = Dense.transposed(SampleBlock.matrix(result.weights().get(Role.DOWN)));
    List<Integer> kept = result.kept().getFirst();
    for (int i = 0; i < kept.size(); i++) {
      for (int j = 0; j < residual[0].length; j++) {
        residual[kept.get(i)][j] -= refitted[i][j];
      }
    }
    return residual;
  }

  @ParameterizedTest
  @MethodSource("org.modegpt.compress.TestBackends#names")
  void scoresAreRidgeLeverages(String backend) {
    with(
        backend,
        (workspace, arena, block) -> {
          double[][] gram = Dense.gram(block.mlpInner);
          int f = gram.length;
          double lambda =
              1e-2 * IntStream.range(0, f).mapToDouble(i -> gram[i][i]).average().orElseThrow();
          double[][] leverage =
              Dense.times(gram, Dense.inverse(Dense.plus(gram, lambda, Dense.identity(f))));
          double[] scores = NYSTROM.scores(workspace, block.statistics().mlpInner());
          for (int i = 0; i < f; i++) {
            assertThat(scores[i]).isCloseTo(leverage[i][i], within(1e-10));
          }
          List<Integer> kept =
              decompose(workspace, arena, block, block.statistics(), 17).kept().getFirst();
          double least = kept.stream().mapToDouble(i -> leverage[i][i]).min().orElseThrow();
          assertThat(kept).hasSize(17).isSorted();
          assertThat(
                  IntStream.range(0, f).filter(i -> leverage[i][i] > least + 1e-9).boxed().toList())
              .isSubsetOf(kept);
        });
  }

  @ParameterizedTest
  @MethodSource("org.modegpt.compress.TestBackends#names")
  void residualIsOrthogonalToKeptUnits(String backend) {
    with(
        backend,
        (workspace, arena, block) -> {
          double[][] gram = Dense.gram(block.mlpInner);
          double[][] all = Dense.times(gram, block.math(Role.DOWN));
          for (int width : new int[] {1, 9, 25, 39}) {
            ModuleResult result = decompose(workspace, arena, block, block.statistics(), width);
            double[][] left = Dense.times(gram, residual(block, result));
            for (int unit : result.kept().getFirst()) {
              assertThat(Dense.maxAbs(new double[][] {left[unit]}))
                  .isLessThan(1e-5 * Dense.maxAbs(all));
            }
            assertThat(result.report().jitter()).isZero();
          }
        });
  }

  @ParameterizedTest
  @MethodSource("org.modegpt.compress.TestBackends#names")
  void reportedErrorIsTheErrorAndFallsWithTheWidth(String backend) {
    with(
        backend,
        (workspace, arena, block) -> {
          double output = Dense.norm(Dense.times(block.mlpInner, block.math(Role.DOWN)));
          double last = 1;
          for (int width = 1; width <= block.sizes.mlpWidth(); width++) {
            ModuleResult result = decompose(workspace, arena, block, block.statistics(), width);
            double error =
                Dense.norm(Dense.times(block.mlpInner, residual(block, result))) / output;
            assertThat(result.report().relativeError()).isCloseTo(error, within(1e-6));
            assertThat(error).isLessThan(last + 1e-6);
            last = error;
          }
          assertThat(last).isLessThan(1e-6);
        });
  }

  @ParameterizedTest
  @MethodSource("org.modegpt.compress.TestBackends#names")
  void uncorrelatedUnitsAreOnlySelected(String backend) {
    with(
        backend,
        (workspace, arena, block) -> {
          int f = block.sizes.mlpWidth();
          LayerStatistics white = block.statistics(block.attentionInput, Dense.identity(f));
          ModuleResult result = decompose(workspace, arena, block, white, 13);
          assertThat(result.kept().getFirst()).isEqualTo(IntStream.range(0, 13).boxed().toList());
          float[][] slices = {
            block.weights.get(Role.DOWN).columns(0, 13).toFloats(),
            block.weights.get(Role.UP).rows(0, 13).toFloats(),
            block.weights.get(Role.GATE).rows(0, 13).toFloats()
          };
          assertThat(result.weights().get(Role.DOWN).toFloats()).containsExactly(slices[0]);
          assertThat(result.weights().get(Role.UP).toFloats()).containsExactly(slices[1]);
          assertThat(result.weights().get(Role.GATE).toFloats()).containsExactly(slices[2]);
        });
  }

  /// Units 7 and 20 depend on others, unit 30 is dead.
  private static LayerStatistics dependent(SampleBlock block) {
    double[][] h = Dense.random(new Random(5), 160, block.sizes.mlpWidth());
    for (double[] row : h) {
      row[7] = row[3];
      row[20] = row[3] + row[4];
      row[30] = 0;
    }
    return block.statistics(block.attentionInput, h);
  }

  @ParameterizedTest
  @MethodSource("org.modegpt.compress.TestBackends#names")
  void dependentAndDeadUnitsNeedAReportedJitter(String backend) {
    with(
        backend,
        (workspace, arena, block) -> {
          LayerStatistics dependent = dependent(block);
          ModuleResult result = decompose(workspace, arena, block, dependent, 39);
          assertThat(result.kept().getFirst()).doesNotContain(30).contains(3, 7);
          assertThat(result.report().jitter()).isPositive();
          assertThat(result.report().relativeError()).isLessThan(1e-5);
          assertThat(Dense.maxAbs(SampleBlock.matrix(result.weights().get(Role.DOWN))))
              .isLessThan(10);

          LayerStatistics silent = block.statistics(block.attentionInput, new double[1][40]);
          ModuleResult nothing = decompose(workspace, arena, block, silent, 10);
          assertThat(nothing.report().relativeError()).isZero();
          assertThat(nothing.weights().get(Role.DOWN).toFloats())
              .containsExactly(block.weights.get(Role.DOWN).columns(0, 10).toFloats());
        });
  }

  /// Widths below the first, a little above it, far above it, and with units that need a jitter.
  @ParameterizedTest
  @MethodSource("org.modegpt.compress.TestBackends#names")
  void widthsThatShareAFactorAreWhatTheyAreAlone(String backend) {
    with(
        backend,
        (alone, arena, block) -> {
          LayerStatistics dependent = dependent(block);
          for (LayerStatistics statistics : List.of(block.statistics(), dependent)) {
            NystromMlp mlp = new NystromMlp(1e-2, MlpRule.BRAIN_SURGEON);
            try (Workspace shared = new Workspace(alone.backend)) {
              shared.keepLasting();
              for (int width : List.of(20, 12, 1, 24, 39)) {
                ModuleResult one = apply(mlp, shared, arena, block, statistics, width);
                ModuleResult other = apply(mlp, alone, arena, block, statistics, width);
                assertThat(one.kept()).isEqualTo(other.kept());
                assertThat(one.report().jitter()).isEqualTo(other.report().jitter());
                assertThat(one.report().relativeError())
                    .isCloseTo(other.report().relativeError(), within(1e-7));
                assertThat(one.weights().get(Role.DOWN).toFloats())
                    .containsExactly(other.weights().get(Role.DOWN).toFloats(), within(1e-5f));
                assertThat(one.weights().get(Role.UP).toFloats())
                    .containsExactly(other.weights().get(Role.UP).toFloats());
              }
            }
          }
        });
  }

  private static ModuleResult apply(
      NystromMlp mlp,
      Workspace workspace,
      Arena arena,
      SampleBlock block,
      LayerStatistics statistics,
      int width) {
    return mlp.apply(workspace, arena, block.sizes, block.weights, statistics, width);
  }
}
