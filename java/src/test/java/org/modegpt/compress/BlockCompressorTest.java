package org.modegpt.compress;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.Arena;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.model.BlockTap;
import org.modegpt.model.LayerShape;
import org.modegpt.model.Role;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

class BlockCompressorTest {
  private static final String BACKENDS = "org.modegpt.compress.TestBackends#names";

  private interface Body {
    void run(BlockCompressor compressor, Arena arena, SampleBlock block);
  }

  private static void with(String backendName, boolean biases, Body body) {
    BlockSizes sizes = SampleBlock.GROUPED;
    try (Backend backend = Backends.open(backendName, 2);
        Arena arena = Arena.ofShared();
        BlockCompressor compressor = new BlockCompressor(backend, sizes, Recipe.JOINT)) {
      body.run(compressor, arena, new SampleBlock(backend, arena, sizes, 150, biases, 31));
    }
  }

  private static double change(SampleBlock block, LayerShape shape, Map<Role, Tensor> weights) {
    LayerShape full =
        LayerShape.full(block.sizes.mlpWidth(), block.sizes.headDim(), block.sizes.kvHeads());
    double[][] before = block.forward(full, block.weights, BlockTap.NONE);
    double[][] after = block.forward(shape, weights, BlockTap.NONE);
    double[][] stream = SampleBlock.matrix(block.stream);
    return Dense.norm(Dense.plus(before, -1, after)) / Dense.norm(Dense.plus(before, -1, stream));
  }

  @ParameterizedTest
  @MethodSource(BACKENDS)
  void fullRanksReturnTheSameTensors(String backend) {
    with(
        backend,
        true,
        (compressor, arena, block) -> {
          CompressedBlock same =
              compressor.compress(
                  arena, 0, block.weights, block.statistics(), LayerRanks.full(block.sizes));
          assertThat(same.weights()).isEqualTo(block.weights);
          assertThat(same.shape()).isEqualTo(LayerShape.full(40, 8, 2));
          assertThat(same.units()).hasSize(40);
          assertThat(same.reports())
              .allMatch(r -> r.relativeError() == 0 && r.rank() == r.fullRank());
        });
  }

  @ParameterizedTest
  @MethodSource(BACKENDS)
  void everyModuleAloneChangesLessWithMoreRank(String backend) {
    with(
        backend,
        true,
        (compressor, arena, block) -> {
          for (Module module : Module.values()) {
            int full = block.sizes.fullRank(module);
            double first = 0;
            double last = 0;
            for (int rank = 2; rank < full; rank += 2) {
              LayerRanks ranks =
                  new LayerRanks(
                      module == Module.MLP ? rank : 40,
                      module == Module.QUERY_KEY ? rank : 8,
                      module == Module.VALUE_OUTPUT ? rank : 8);
              CompressedBlock small =
                  compressor.compress(arena, 0, block.weights, block.statistics(), ranks);
              last = change(block, small.shape(), small.weights());
              first = rank == 2 ? last : first;
              assertThat(small.reports().get(module.ordinal()).relativeError()).isPositive();
            }
            assertThat(last).as("%s", module).isLessThan(first).isLessThan(0.5);
          }
        });
  }

  @ParameterizedTest
  @MethodSource(BACKENDS)
  void denseViewComputesTheSame(String backendName) {
    for (boolean biases : new boolean[] {false, true}) {
      with(
          backendName,
          biases,
          (compressor, arena, block) -> {
            LayerRanks ranks = new LayerRanks(22, 4, 5);
            CompressedBlock small =
                compressor.compress(arena, 0, block.weights, block.statistics(), ranks);
            assertThat(small.shape().rotaryPairs()).allMatch(p -> p.size() == 2);
            Map<Role, Tensor> dense =
                new DenseView(block.backend, block.sizes).of(arena, small.shape(), small.weights());
            LayerShape full = LayerShape.full(40, 8, 2);
            dense.forEach((role, tensor) -> {
              if (block.weights.containsKey(role)) {
                assertThat(tensor.sameShape(block.weights.get(role))).as("%s", role).isTrue();
              }
            });
            double[][] compact = block.forward(small.shape(), small.weights(), BlockTap.NONE);
            double[][] padded = block.forward(full, dense, BlockTap.NONE);
            assertThat(Dense.maxAbs(Dense.plus(compact, -1, padded)))
                .isLessThan(2e-5 * Dense.maxAbs(compact));
            assertThat(change(block, full, dense)).isBetween(0.01, 1.5);
          });
    }
  }

  @ParameterizedTest
  @MethodSource(BACKENDS)
  void bf16WeightsStayBf16WhereTheyAreOnlySliced(String backendName) {
    with(
        backendName,
        false,
        (compressor, arena, block) -> {
          Map<Role, Tensor> half = new HashMap<>();
          block.weights.forEach((role, tensor) -> {
            Tensor t = Tensor.allocate(arena, DType.BF16, tensor.rows(), tensor.cols());
            block.backend.cast(tensor, t);
            half.put(role, t);
          });
          CompressedBlock small =
              compressor.compress(arena, 0, half, block.statistics(), new LayerRanks(20, 4, 4));
          assertThat(small.weights().get(Role.Q).dtype()).isEqualTo(DType.BF16);
          assertThat(small.weights().get(Role.GATE).dtype()).isEqualTo(DType.BF16);
          assertThat(small.weights().get(Role.DOWN).dtype()).isEqualTo(DType.F32);
          assertThat(small.weights().get(Role.V).dtype()).isEqualTo(DType.F32);
        });
  }

  @ParameterizedTest
  @MethodSource(BACKENDS)
  void sameInputSameBytes(String backendName) {
    with(
        backendName,
        false,
        (compressor, arena, block) -> {
          LayerRanks ranks = new LayerRanks(21, 6, 3);
          CompressedBlock first =
              compressor.compress(arena, 0, block.weights, block.statistics(), ranks);
          CompressedBlock again =
              compressor.compress(arena, 0, block.weights, block.statistics(), ranks);
          assertThat(again.reports()).isEqualTo(first.reports());
          first
              .weights()
              .forEach((role, t) ->
                  assertThat(again.weights().get(role).toFloats()).containsExactly(t.toFloats()));
        });
  }

  @ParameterizedTest
  @MethodSource(BACKENDS)
  void badStatisticsAreRefused(String backendName) {
    with(
        backendName,
        false,
        (compressor, arena, block) -> {
          LayerRanks ranks = new LayerRanks(20, 4, 4);
          LayerStatistics bad = block.statistics();
          bad.mlpInner().set(3, 2, Double.NaN);
          assertThatThrownBy(() -> compressor.compress(arena, 17, block.weights, bad, ranks))
              .isInstanceOf(UserException.class)
              .hasMessageContaining("layer 17")
              .hasMessageContaining("1 values of mlp_inner");
          LayerStatistics other =
              block.statistics(new double[1][block.sizes.hidden() - 1], block.mlpInner);
          assertThatThrownBy(() -> compressor.compress(arena, 2, block.weights, other, ranks))
              .isInstanceOf(UserException.class)
              .hasMessageContaining("layer 2");
          assertThatThrownBy(() ->
                  compressor.compress(
                      arena, 2, block.weights, block.statistics(), new LayerRanks(20, 3, 4)))
              .isInstanceOf(IllegalArgumentException.class)
              .hasMessageContaining("qk rank 3");
        });
  }
}
