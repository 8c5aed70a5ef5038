package org.modegpt.compress;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.model.Role;
import org.modegpt.tensor.Tensor;

class ValueOutputSvdTest {
  private static final String BACKENDS = "org.modegpt.compress.TestBackends#names";

  private interface Body {
    void run(Workspace workspace, Arena arena, SampleBlock block);
  }

  private static void with(String backendName, BlockSizes sizes, boolean biases, Body body) {
    try (Backend backend = Backends.open(backendName, 2);
        Arena arena = Arena.ofShared();
        Workspace workspace = new Workspace(backend)) {
      body.run(workspace, arena, new SampleBlock(backend, arena, sizes, 120, biases, 23));
    }
  }

  private static ModuleResult decompose(
      ValueOutputRule rule, Workspace workspace, Arena arena, SampleBlock block, int rank) {
    return new ValueOutputSvd(rule)
        .apply(workspace, arena, block.sizes, block.weights, block.statistics(), rank);
  }

  private static double[][] value(SampleBlock block, Tensor v, int kv) {
    int size = (int) v.rows() / block.sizes.kvHeads();
    return Dense.transposed(Dense.rows(SampleBlock.matrix(v), kv * size, (kv + 1) * size));
  }

  /// `[W_o,j …]` `[size, group * d]` of the query heads of one key/value head.
  private static double[][] outputs(SampleBlock block, Tensor o, int kv) {
    int size = (int) o.cols() / block.sizes.heads();
    int d = block.sizes.hidden();
    int group = block.sizes.group();
    double[][] all = new double[size][group * d];
    double[][] math = Dense.transposed(SampleBlock.matrix(o));
    for (int j = 0; j < group; j++) {
      for (int i = 0; i < size; i++) {
        System.arraycopy(math[(kv * group + j) * size + i], 0, all[i], j * d, d);
      }
    }
    return all;
  }

  /// The error of the pair that came out, from the matrices themselves.
  private static double error(SampleBlock block, double[][] root, ModuleResult result) {
    double lost = 0;
    double total = 0;
    for (int kv = 0; kv < block.sizes.kvHeads(); kv++) {
      double[][] before =
          Dense.times(
              value(block, block.weights.get(Role.V), kv),
              outputs(block, block.weights.get(Role.O), kv));
      double[][] after =
          Dense.times(
              value(block, result.weights().get(Role.V), kv),
              outputs(block, result.weights().get(Role.O), kv));
      lost += Math.pow(Dense.norm(Dense.times(root, Dense.plus(before, -1, after))), 2);
      total += Math.pow(Dense.norm(Dense.times(root, before)), 2);
    }
    return Math.sqrt(lost / total);
  }

  /// `sqrt(Σ tails / Σ all)` of the textbook: singular values of `C_X^½ W_v [W_o,1 …]`, a d x
  /// (group d) matrix per head.
  private static double textbookTail(SampleBlock block, double[][] root, int rank) {
    double lost = 0;
    double total = 0;
    for (int kv = 0; kv < block.sizes.kvHeads(); kv++) {
      double[][] product =
          Dense.times(
              root,
              Dense.times(
                  value(block, block.weights.get(Role.V), kv),
                  outputs(block, block.weights.get(Role.O), kv)));
      double[] singular = Dense.singularValues(Dense.transposed(product));
      lost += Arrays.stream(singular, rank, block.sizes.headDim()).map(s -> s * s).sum();
      total += Arrays.stream(singular).map(s -> s * s).sum();
    }
    return Math.sqrt(lost / total);
  }

  @ParameterizedTest
  @MethodSource(BACKENDS)
  void jointErrorIsTheTailOfTheTextbook(String backend) {
    for (BlockSizes sizes : new BlockSizes[] {SampleBlock.GROUPED, SampleBlock.UNGROUPED}) {
      with(
          backend,
          sizes,
          false,
          (workspace, arena, block) -> {
            double[][] root = Dense.squareRoot(Dense.gram(block.attentionInput));
            double last = 2;
            for (int rank = 1; rank < sizes.headDim(); rank++) {
              ModuleResult result = decompose(ValueOutputRule.JOINT, workspace, arena, block, rank);
              double tail = textbookTail(block, root, rank);
              assertThat(result.report().relativeError()).isCloseTo(tail, within(1e-6 * tail));
              assertThat(error(block, root, result)).isCloseTo(tail, within(1e-4 * tail));
              assertThat(tail).isLessThan(last);
              last = tail;
            }
            ModuleResult full =
                decompose(ValueOutputRule.JOINT, workspace, arena, block, sizes.headDim());
            assertThat(full.report().relativeError()).isZero();
            assertThat(error(block, root, full)).isLessThan(1e-6);
          });
    }
  }

  @ParameterizedTest
  @MethodSource(BACKENDS)
  void publishedRuleIsTheSvdOfTheValuesAlone(String backend) {
    with(
        backend,
        SampleBlock.GROUPED,
        false,
        (workspace, arena, block) -> {
          double[][] root = Dense.squareRoot(Dense.gram(block.attentionInput));
          for (int rank = 1; rank <= block.sizes.headDim(); rank++) {
            ModuleResult published =
                decompose(ValueOutputRule.PUBLISHED, workspace, arena, block, rank);
            ModuleResult joint = decompose(ValueOutputRule.JOINT, workspace, arena, block, rank);
            assertThat(error(block, root, published))
                .isCloseTo(published.report().relativeError(), within(1e-6))
                .isGreaterThan(joint.report().relativeError() - 1e-6);
            for (int kv = 0; kv < block.sizes.kvHeads(); kv++) {
              double[][] weighted = Dense.times(root, value(block, block.weights.get(Role.V), kv));
              double[] singular = Dense.singularValues(weighted);
              for (int i = rank; i < singular.length; i++) {
                assertThat(published.report().tail().get(kv).get(i - rank))
                    .isCloseTo(singular[i], within(1e-6 * singular[0]));
              }
              double[][] kept =
                  Dense.times(root, value(block, published.weights().get(Role.V), kv));
              assertThat(Math.pow(Dense.norm(kept), 2))
                  .isCloseTo(
                      Arrays.stream(singular, 0, rank).map(s -> s * s).sum(),
                      within(1e-5 * singular[0] * singular[0]));
            }
          }
        });
  }

  @ParameterizedTest
  @MethodSource(BACKENDS)
  void withoutGroupedQueriesTheRulesAgree(String backend) {
    with(
        backend,
        SampleBlock.UNGROUPED,
        false,
        (workspace, arena, block) -> {
          ModuleResult published = decompose(ValueOutputRule.PUBLISHED, workspace, arena, block, 5);
          ModuleResult joint = decompose(ValueOutputRule.JOINT, workspace, arena, block, 5);
          for (Role role : new Role[] {Role.V, Role.O}) {
            assertThat(published.weights().get(role).toFloats())
                .containsExactly(joint.weights().get(role).toFloats());
          }
        });
  }

  @ParameterizedTest
  @MethodSource(BACKENDS)
  void valueBiasBecomesOutputBias(String backend) {
    with(
        backend,
        SampleBlock.GROUPED,
        true,
        (workspace, arena, block) -> {
          for (ValueOutputRule rule : ValueOutputRule.values()) {
            ModuleResult result = decompose(rule, workspace, arena, block, 3);
            assertThat(result.weights()).containsOnlyKeys(Role.V, Role.O, Role.O_BIAS);
            double[][] expected = SampleBlock.matrix(block.weights.get(Role.O_BIAS));
            double[] bias = SampleBlock.matrix(block.weights.get(Role.V_BIAS))[0];
            double[][] o = block.math(Role.O);
            int h = block.sizes.headDim();
            for (int i = 0; i < o.length; i++) {
              int kv = i / h / block.sizes.group();
              expected = Dense.plus(expected, bias[kv * h + i % h], new double[][] {o[i]});
            }
            double[][] got = SampleBlock.matrix(result.weights().get(Role.O_BIAS));
            assertThat(Dense.maxAbs(Dense.plus(expected, -1, got))).isLessThan(1e-6);
          }
        });
  }

  @ParameterizedTest
  @MethodSource(BACKENDS)
  void deficientStatisticsAndWeightsStayFinite(String backend) {
    with(
        backend,
        SampleBlock.GROUPED,
        false,
        (workspace, arena, block) -> {
          double[][] few = Dense.random(new Random(1), 5, block.sizes.hidden());
          LayerStatistics narrow = block.statistics(few, block.mlpInner);
          double[][] root = Dense.squareRoot(Dense.gram(few));
          for (int rank : new int[] {3, 5, 7}) {
            ModuleResult result =
                new ValueOutputSvd(ValueOutputRule.JOINT)
                    .apply(workspace, arena, block.sizes, block.weights, narrow, rank);
            assertThat(error(block, root, result))
                .isCloseTo(textbookTail(block, root, rank), within(2e-6));
            assertThat(Dense.maxAbs(SampleBlock.matrix(result.weights().get(Role.V))))
                .isLessThan(20);
            assertThat(Dense.maxAbs(SampleBlock.matrix(result.weights().get(Role.O))))
                .isLessThan(20);
          }
          LayerStatistics silent =
              block.statistics(new double[1][block.sizes.hidden()], block.mlpInner);
          for (ValueOutputRule rule : ValueOutputRule.values()) {
            ModuleResult result =
                new ValueOutputSvd(rule)
                    .apply(workspace, arena, block.sizes, block.weights, silent, 4);
            assertThat(result.report().relativeError()).isZero();
            assertThat(Dense.maxAbs(SampleBlock.matrix(result.weights().get(Role.V))))
                .isLessThan(20);
          }
        });
  }
}
