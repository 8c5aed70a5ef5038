package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.modegpt.backend.Activation;
import org.modegpt.backend.Backend;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.model.BlockForward;
import org.modegpt.model.BlockTap;
import org.modegpt.model.BlockWeights;
import org.modegpt.model.Design;
import org.modegpt.model.LayerShape;
import org.modegpt.model.ModelConfig;
import org.modegpt.model.Residents;
import org.modegpt.model.Role;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// A small random decoder block, a random residual stream, and the statistics of the stream through
/// the block, summed in double precision by plain loops.
final class SampleBlock implements BlockTap {
  static final BlockSizes GROUPED = new BlockSizes(24, 4, 2, 8, 40, true, true);
  static final BlockSizes UNGROUPED = new BlockSizes(24, 3, 3, 8, 40, true, true);

  final Backend backend;
  final Arena arena;
  final BlockSizes sizes;
  final Map<Role, Tensor> weights = new EnumMap<>(Role.class);
  final Tensor stream;
  double[][] attentionInput = {};
  double[][] queries = {};
  double[][] keys = {};
  double[][] mlpInner = {};

  SampleBlock(
      Backend backend, Arena arena, BlockSizes sizes, int tokens, boolean biases, long seed) {
    this.backend = backend;
    this.arena = arena;
    this.sizes = sizes;
    Random random = new Random(seed);
    int d = sizes.hidden();
    int q = sizes.heads() * sizes.headDim();
    int k = sizes.kvHeads() * sizes.headDim();
    int f = sizes.mlpWidth();
    weight(random, Role.Q, q, d, 2);
    weight(random, Role.K, k, d, 2);
    weight(random, Role.V, k, d, 1);
    weight(random, Role.O, d, q, 1);
    weight(random, Role.GATE, f, d, 1);
    weight(random, Role.UP, f, d, 1);
    weight(random, Role.DOWN, d, f, 1);
    weight(random, Role.ATTENTION_NORM, 1, d, 1);
    weight(random, Role.MLP_NORM, 1, d, 1);
    if (biases) {
      weight(random, Role.Q_BIAS, 1, q, 1);
      weight(random, Role.K_BIAS, 1, k, 1);
      weight(random, Role.V_BIAS, 1, k, 1);
      weight(random, Role.O_BIAS, 1, d, 1);
      weight(random, Role.GATE_BIAS, 1, f, 1);
      weight(random, Role.UP_BIAS, 1, f, 1);
      weight(random, Role.DOWN_BIAS, 1, d, 1);
    }
    double[][] x = Dense.times(Dense.random(random, tokens, d), Dense.random(random, d, d));
    stream = singles(x);
    forward(LayerShape.full(f, sizes.headDim(), sizes.kvHeads()), weights, this);
  }

  private void weight(Random random, Role role, int rows, int cols, double scale) {
    double[][] values = Dense.random(random, rows, cols);
    double factor = scale / Math.sqrt(cols);
    weights.put(role, singles(Dense.plus(new double[rows][cols], factor, values)));
  }

  /// What the block makes of the residual stream `[tokens, d]`.
  double[][] forward(LayerShape shape, Map<Role, Tensor> tensors, BlockTap tap) {
    Tensor x = backend.allocate(arena, DType.F32, stream.rows(), stream.cols());
    backend.copy(stream, x);
    try (BlockForward forward = new BlockForward(backend, config(shape))) {
      Tensor positions = Residents.positions(backend, arena, 0, (int) x.rows(), 1);
      forward.run(new BlockWeights(shape, tensors, frequencies(shape)), x, positions, 1, tap);
    }
    return matrix(x);
  }

  private ModelConfig config(LayerShape shape) {
    return new ModelConfig(
        "llama",
        sizes.hidden(),
        1,
        sizes.heads(),
        sizes.kvHeads(),
        sizes.headDim(),
        sizes.mlpWidth(),
        16,
        1024,
        Design.llama(1e-5f, (float) (1 / Math.sqrt(sizes.headDim())), Activation.SILU),
        List.of(),
        true,
        List.of(shape),
        false);
  }

  private Tensor frequencies(LayerShape shape) {
    int pairs = shape.qkDim() / 2;
    float[] values = new float[sizes.kvHeads() * pairs];
    for (int i = 0; i < values.length; i++) {
      int pair = shape.rotaryPairs().get(i / pairs).get(i % pairs);
      values[i] = (float) Math.pow(100, -2.0 * pair / sizes.headDim());
    }
    return Tensor.ofFloats(arena, sizes.kvHeads(), pairs, values);
  }

  @Override
  public void attentionInput(Tensor x) {
    attentionInput = matrix(x);
  }

  @Override
  public void queriesAndKeys(Tensor q, Tensor k) {
    queries = matrix(q);
    keys = matrix(k);
  }

  @Override
  public void mlpInner(Tensor h) {
    mlpInner = matrix(h);
  }

  LayerStatistics statistics() {
    return statistics(attentionInput, mlpInner);
  }

  /// Statistics of other inputs than those seen; only the lower triangles are filled.
  LayerStatistics statistics(double[][] x, double[][] h) {
    return new LayerStatistics(
        lower(Dense.gram(x)),
        lower(Dense.gram(h)),
        energy(queries),
        energy(keys),
        Tensor.allocate(arena, DType.F64, (long) sizes.heads() * sizes.headDim(), sizes.headDim()),
        Tensor.allocate(arena, DType.F64, (long) sizes.heads() * sizes.headDim(), sizes.headDim()),
        Tensor.ofDoubles(arena, 1, 3, 0, 0, (double) stream.rows()));
  }

  private Tensor lower(double[][] symmetric) {
    Tensor t = doubles(symmetric);
    for (int i = 0; i < symmetric.length; i++) {
      for (int j = i + 1; j < symmetric.length; j++) {
        t.set(i, j, 1e30); // nobody may look at it
      }
    }
    return t;
  }

  private Tensor energy(double[][] x) {
    double[] sums = new double[x[0].length];
    for (double[] row : x) {
      for (int j = 0; j < row.length; j++) {
        sums[j] += row[j] * row[j];
      }
    }
    return Tensor.ofDoubles(arena, 1, sums.length, sums);
  }

  /// A weight `[in, out]`, as formulas have it.
  double[][] math(Role role) {
    return Dense.transposed(matrix(weights.get(role)));
  }

  Tensor singles(double[][] values) {
    Tensor t = Tensor.allocate(arena, DType.F32, values.length, values[0].length);
    fill(t, values);
    return t;
  }

  Tensor doubles(double[][] values) {
    Tensor t = Tensor.allocate(arena, DType.F64, values.length, values[0].length);
    fill(t, values);
    return t;
  }

  private static void fill(Tensor t, double[][] values) {
    for (int i = 0; i < values.length; i++) {
      for (int j = 0; j < values[i].length; j++) {
        t.set(i, j, values[i][j]);
      }
    }
  }

  static double[][] matrix(Tensor t) {
    double[][] values = new double[(int) t.rows()][(int) t.cols()];
    for (int i = 0; i < values.length; i++) {
      int row = i;
      Arrays.setAll(values[i], j -> t.get(row, j));
    }
    return values;
  }
}
