package org.modegpt.bench;

import java.lang.foreign.Arena;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import org.modegpt.backend.Activation;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.calibrate.StatisticsTap;
import org.modegpt.compress.BlockCompressor;
import org.modegpt.compress.BlockSizes;
import org.modegpt.compress.CompressedBlock;
import org.modegpt.compress.LayerRanks;
import org.modegpt.compress.Recipe;
import org.modegpt.model.BlockForward;
import org.modegpt.model.BlockTap;
import org.modegpt.model.BlockWeights;
import org.modegpt.model.Design;
import org.modegpt.model.LayerShape;
import org.modegpt.model.ModelConfig;
import org.modegpt.model.Role;
import org.modegpt.model.Rope;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// One random decoder block of SmolLM2-135M's shape with everything needed to run it.
final class SmolBlock implements AutoCloseable {
  private static final int HIDDEN = 576;
  private static final int WIDTH = 1536;
  private static final int HEADS = 9;
  private static final int KV_HEADS = 3;
  private static final int HEAD = 64;

  private final Arena arena = Arena.ofShared();
  private final Backend backend;
  private final ModelConfig config;
  private final BlockWeights weights;
  private final BlockForward forward;
  private final Tensor input;
  private final Tensor stream;
  private final Tensor positions;
  private final LayerStatistics sums;
  private final StatisticsTap tap;
  private final Tensor wide;
  private final Tensor output;
  private final Tensor square;
  private final Tensor logits;

  SmolBlock(int threads, int tokens) {
    backend = Backends.open("cpu", threads);
    double[] frequencies =
        IntStream.range(0, HEAD / 2).mapToDouble(t -> Math.pow(1e5, -2.0 * t / HEAD)).toArray();
    LayerShape shape = LayerShape.full(WIDTH, HEAD, KV_HEADS);
    config =
        new ModelConfig(
            "llama",
            HIDDEN,
            1,
            HEADS,
            KV_HEADS,
            HEAD,
            WIDTH,
            49152,
            8192,
            Design.llama(1e-5f, (float) (1 / Math.sqrt(HEAD)), Activation.SILU),
            List.of(new Rope(1e5, "default", frequencies, 1, Integer.MAX_VALUE)),
            true,
            List.of(shape),
            false);
    Random random = new Random(3);
    Map<Role, Tensor> tensors = new EnumMap<>(Role.class);
    for (Role role : Role.values()) {
      if (role.compressible() || config.design().norms().contains(role)) {
        tensors.put(
            role,
            random(
                random,
                config.rows(role, shape),
                config.cols(role, shape),
                role.compressible() ? 0.04 : 1));
      }
    }
    Tensor angles = Tensor.allocate(arena, DType.F32, KV_HEADS, HEAD / 2);
    for (int head = 0; head < KV_HEADS; head++) {
      for (int t = 0; t < HEAD / 2; t++) {
        angles.set(head, t, frequencies[t]);
      }
    }
    weights = new BlockWeights(shape, tensors, angles);
    forward = new BlockForward(backend, config);
    input = random(random, tokens, HIDDEN, 1);
    stream = Tensor.allocate(arena, DType.F32, tokens, HIDDEN);
    positions = Tensor.ofInts(arena, IntStream.range(0, tokens).toArray());
    sums = LayerStatistics.zeros(backend, arena, config, 0, true);
    // Any will do in the place of gradients: the cost of decompositions is that of their shape.
    backend.gram(input, LayerStatistics.required(sums.outputGradient()));
    tap = new StatisticsTap(backend, config, shape, 1, tokens, sums, (done, total) -> {});
    wide = Tensor.allocate(arena, DType.F32, tokens, WIDTH);
    output = Tensor.allocate(arena, DType.F32, tokens, WIDTH);
    square = Tensor.allocate(arena, DType.F32, WIDTH, WIDTH);
    logits = Tensor.allocate(arena, DType.F32, tokens, tokens);
  }

  private Tensor random(Random random, long rows, long cols, double deviation) {
    Tensor t = Tensor.allocate(arena, DType.F32, rows, cols);
    for (long i = 0; i < rows; i++) {
      for (long j = 0; j < cols; j++) {
        t.set(i, j, deviation * random.nextGaussian());
      }
    }
    return t;
  }

  Tensor forward() {
    backend.copy(input, stream);
    forward.run(weights, stream, positions, 1, BlockTap.NONE);
    return stream;
  }

  /// As calibration does it, without the sampled logit covariance after the first sequences.
  LayerStatistics statistics() {
    backend.copy(input, stream);
    tap.before(stream);
    forward.run(weights, stream, positions, 1, tap);
    tap.after(stream);
    return sums;
  }

  void bareProducts() {
    long n = input.rows();
    for (Role role : List.of(Role.Q, Role.K, Role.V, Role.O, Role.GATE, Role.UP, Role.DOWN)) {
      Tensor w = weights.get(role);
      Tensor x = w.cols() == HIDDEN ? input : wide;
      Tensor y = Tensor.host(DType.F32, n, w.rows(), output.data());
      backend.gemm(false, true, 1, x, w, 0, y);
    }
    for (int head = 0; head < HEADS; head++) { // causal: half of the queries against all keys
      Tensor q = input.rows(0, n / 2).columns(0, HEAD);
      backend.gemm(false, true, 1, q, input.columns(0, HEAD), 0, logits.rows(0, n / 2));
      backend.gemm(
          false,
          false,
          1,
          logits.rows(0, n / 2),
          input.columns(0, HEAD),
          0,
          wide.rows(0, n / 2).columns(0, HEAD));
    }
    backend.gemm(true, false, 1, wide.columns(0, WIDTH / 2), wide, 0, square.rows(0, WIDTH / 2));
    backend.gemm(
        true,
        false,
        1,
        input.columns(0, HIDDEN / 2),
        input,
        0,
        square.rows(0, HIDDEN / 2).columns(0, HIDDEN));
  }

  CompressedBlock decompose(String recipe) {
    BlockSizes sizes = BlockSizes.of(config);
    try (Arena made = Arena.ofShared();
        BlockCompressor compressor = new BlockCompressor(backend, sizes, Recipe.named(recipe))) {
      return compressor.compress(made, 0, weights.tensors(), sums, new LayerRanks(1075, 44, 44));
    }
  }

  @Override
  public void close() {
    tap.close();
    forward.close();
    backend.close();
    arena.close();
  }
}
