package org.modegpt.compress;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.model.Role;

class ColumnRowQkTest {

  @Test
  void scoresAddUpOverPairAndGroup() {
    BlockSizes sizes = new BlockSizes(4, 4, 2, 4, 8, true, true);
    double[] q = {1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 1, 1, 2, 2, 2, 2};
    double[] k = {1, 10, 100, 1000, 1, 0, 0, 1};
    double[][] scores = ColumnRowQk.squaredScores(sizes, q, k);
    assertThat(scores[0]).containsExactly(1 + 5 + 300 + 700, 20 + 60 + 4000 + 8000);
    assertThat(scores[1]).containsExactly(1 + 2, 1 + 2);
  }

  @Test
  void headsKeepTheRotateHalfLayout() {
    BlockSizes sizes = new BlockSizes(4, 2, 1, 8, 8, true, true);
    assertThat(ColumnRowQk.rows(sizes, 2, List.of(List.of(1, 3))))
        .containsExactly(1, 3, 5, 7, 9, 11, 13, 15);
  }

  @Test
  void equalScoresKeepTheLowestIndices() {
    assertThat(Selection.largest(new double[] {1, 2, 1, 2, 1}, 3)).containsExactly(0, 1, 3);
    assertThat(Selection.largest(new double[] {0, 0, 0}, 2)).containsExactly(0, 1);
  }

  @ParameterizedTest
  @MethodSource("org.modegpt.compress.TestBackends#names")
  void keepsTheStrongestPairsBitForBit(String name) {
    try (Backend backend = Backends.open(name, 1);
        Arena arena = Arena.ofShared();
        Workspace workspace = new Workspace(backend)) {
      SampleBlock block = new SampleBlock(backend, arena, SampleBlock.GROUPED, 100, true, 3);
      double last = 2;
      for (int rank = 2; rank <= 8; rank += 2) {
        ModuleResult result =
            new ColumnRowQk()
                .apply(workspace, arena, block.sizes, block.weights, block.statistics(), rank);
        double error = energyDropped(block, result.kept());
        assertThat(result.report().relativeError()).isCloseTo(error, within(1e-7)).isLessThan(last);
        last = result.report().relativeError();
        for (Role role : new Role[] {Role.Q, Role.K, Role.Q_BIAS, Role.K_BIAS}) {
          boolean query = role == Role.Q || role == Role.Q_BIAS;
          int heads = query ? block.sizes.heads() : block.sizes.kvHeads();
          int[] rows = ColumnRowQk.rows(block.sizes, heads, result.kept());
          double[][] from = SampleBlock.matrix(block.weights.get(role));
          double[][] to = SampleBlock.matrix(result.weights().get(role));
          from = role.bias() ? Dense.transposed(from) : from;
          to = role.bias() ? Dense.transposed(to) : to;
          assertThat(to).hasNumberOfRows(rows.length);
          for (int i = 0; i < rows.length; i++) {
            assertThat(to[i]).containsExactly(from[rows[i]]);
          }
        }
      }
      assertThat(last).isZero();
    }
  }

  /// `sqrt(Σ dropped ‖q_t‖² ‖k_t‖² / Σ all)` straight from the activations.
  private static double energyDropped(SampleBlock block, List<List<Integer>> kept) {
    int h = block.sizes.headDim();
    double lost = 0;
    double total = 0;
    for (int head = 0; head < block.sizes.heads(); head++) {
      int shared = head / block.sizes.group();
      for (int t = 0; t < h; t++) {
        int column = head * h + t;
        double q = Dense.norm(Dense.columns(block.queries, column, column + 1));
        double k = Dense.norm(Dense.columns(block.keys, shared * h + t, shared * h + t + 1));
        total += q * q * k * k;
        lost += kept.get(shared).contains(t % (h / 2)) ? 0 : q * q * k * k;
      }
    }
    return Math.sqrt(lost / total);
  }
}
