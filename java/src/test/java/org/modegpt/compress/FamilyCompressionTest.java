package org.modegpt.compress;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.modegpt.Progress;
import org.modegpt.TestData;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.calibrate.CalibrationData;
import org.modegpt.calibrate.Calibrator;
import org.modegpt.calibrate.Statistics;
import org.modegpt.io.CheckpointWriter;
import org.modegpt.model.BlockTap;
import org.modegpt.model.BlockWeights;
import org.modegpt.model.Decoder;
import org.modegpt.model.ModelLogits;
import org.modegpt.model.StreamingPass;
import org.modegpt.model.Transformer;
import org.modegpt.model.Transformer.Residence;
import org.modegpt.tensor.Tensor;

/// Every family, calibrated and compressed: what is kept whole is exact, errors fall with rank, and
/// the output reloads.
class FamilyCompressionTest {
  private static final int TOKENS = 48;

  @TempDir private Path folder;
  private final List<int[]> text = text();

  private static List<int[]> text() {
    Random random = new Random(3);
    return Stream.generate(() -> random.ints(TOKENS, 0, 96).toArray()).limit(6).toList();
  }

  static Stream<String> families() {
    return TestData.families().stream();
  }

  private Path calibrate(String name) {
    Path statistics = folder.resolve(name + ".statistics");
    try (Transformer model = Transformer.open(TestData.family(name));
        Backend backend = Backends.open("cpu", 2)) {
      CalibrationData data = new CalibrationData(text.subList(0, 5), "hash", "test", 0);
      new Calibrator(model, backend).run(data, statistics, Progress.SILENT);
    }
    return statistics;
  }

  private Path compress(String name, Path statistics, Recipe recipe) {
    Path out = folder.resolve(name + "-" + recipe.name() + "-" + recipe.ratio());
    try (Transformer model = Transformer.open(TestData.family(name));
        Backend backend = Backends.open("cpu", 2);
        Statistics sums = Statistics.open(statistics)) {
      Compressor compressor = new Compressor(model, backend);
      CompressionText probe = new CompressionText(text.subList(5, 6), text.subList(0, 5));
      RankPlan plan =
          compressor
              .plans(sums, recipe, List.of(recipe.ratio()), probe, Progress.SILENT)
              .getFirst();
      compressor.run(
          sums,
          recipe,
          plan,
          probe,
          new Compressor.Output(out, null, CheckpointWriter.DEFAULT_SHARD_BYTES, false),
          Progress.SILENT);
    }
    return out;
  }

  private float[] logits(Path path) {
    return ModelLogits.of(path, text.get(5));
  }

  private float[] lastLogitsWithCache(Path path) {
    try (Transformer model = Transformer.open(path);
        Backend backend = Backends.open("cpu", 2);
        Decoder decoder = new Decoder(backend, model, 2, TOKENS)) {
      int[] ids = text.get(5);
      decoder.feed(Arrays.copyOf(ids, TOKENS - 2));
      decoder.feed(ids[TOKENS - 2]);
      // Beside another sequence.
      return decoder
          .feed(List.of(new Decoder.Tokens(1, ids[0]), new Decoder.Tokens(0, ids[TOKENS - 1])))[1];
    }
  }

  @ParameterizedTest
  @MethodSource("families")
  void modelsGetSmallerAndReload(String name) {
    Path statistics = calibrate(name);
    float[] dense = logits(TestData.family(name));
    for (Recipe recipe : List.of(Recipe.PAPER, Recipe.DEFAULT)) {
      Path whole = compress(name, statistics, recipe.withRatio(0));
      assertThat(logits(whole)).as("%s, nothing removed", name).isEqualTo(dense);
      List<Double> distances = new ArrayList<>();
      for (double ratio : new double[] {0.1, 0.5}) {
        Path out = compress(name, statistics, recipe.withRatio(ratio));
        float[] logits = logits(out);
        distances.add(distance(dense, logits));
        float[] last = Arrays.copyOfRange(logits, logits.length - 96, logits.length);
        float[] decoded = lastLogitsWithCache(out);
        for (int i = 0; i < last.length; i++) {
          assertThat(decoded[i]).as("%s, decoding", name).isCloseTo(last[i], within(2e-4f));
        }
      }
      System.out.printf(
          "%s, %s: logits move by %s at 10 and 50 %%%n", name, recipe.name(), distances);
      assertThat(distances.getFirst()).as("%s %s", name, recipe.name()).isGreaterThan(0);
      assertThat(distances.getFirst())
          .as("%s %s", name, recipe.name())
          .isLessThan(distances.getLast());
    }
  }

  /// Root mean square of the difference relative to that of the dense logits about their mean.
  private static double distance(float[] dense, float[] other) {
    double mean = 0;
    for (float x : dense) {
      mean += x / dense.length;
    }
    double difference = 0;
    double spread = 0;
    for (int i = 0; i < dense.length; i++) {
      difference += (dense[i] - other[i]) * (dense[i] - other[i]);
      spread += (dense[i] - mean) * (dense[i] - mean);
    }
    return Math.sqrt(difference / spread);
  }

  /// The families whose queries and keys need more than dropping pairs.
  @ParameterizedTest
  @ValueSource(strings = {"opt", "gpt2", "gpt_neox", "smollm3", "qwen3", "gemma3", "olmo2"})
  void queryKeyErrorsFallWithRank(String name) {
    Path statistics = calibrate(name);
    try (Transformer model = Transformer.open(TestData.family(name));
        Backend backend = Backends.open("cpu", 2);
        Statistics sums = Statistics.open(statistics)) {
      int h = model.config().headDim();
      for (Recipe recipe : List.of(Recipe.PAPER, Recipe.DEFAULT)) {
        double[] errors = new double[h / 2 + 1];
        for (int rank = 2; rank <= h; rank += 2) {
          errors[rank / 2] = attentionError(model, backend, sums, recipe, rank);
        }
        System.out.printf("%s, %s: %s%n", name, recipe.name(), Arrays.toString(errors));
        assertThat(errors[h / 2]).isZero();
        for (int i = 2; i < errors.length; i++) {
          assertThat(errors[i])
              .as("%s %s rank %d", name, recipe.name(), 2 * i)
              .isLessThan(1.1 * errors[i - 1]);
        }
        assertThat(errors[h / 2 - 1]).isLessThan(0.7 * errors[1]);
      }
    }
  }

  /// Squared change of what attention gives when only queries and keys are shrunk, relative, summed
  /// over the layers, each on the dense stream of the calibration text.
  private double attentionError(
      Transformer model, Backend backend, Statistics sums, Recipe recipe, int rank) {
    double lost = 0;
    double total = 0;
    BlockSizes sizes = BlockSizes.of(model.config());
    LayerRanks ranks = LayerRanks.full(sizes).with(Module.QUERY_KEY, rank);
    try (StreamingPass dense = new StreamingPass(backend, model, 5, TOKENS);
        StreamingPass shrunk = new StreamingPass(backend, model, 5, TOKENS);
        BlockCompressor blocks = new BlockCompressor(backend, model.config(), recipe)) {
      dense.embed(text.subList(0, 5));
      for (int layer = 0; layer < model.config().layers(); layer++) {
        try (Arena arena = Arena.ofShared()) {
          BlockWeights weights = model.block(backend, arena, layer, Residence.F32);
          CompressedBlock block =
              blocks.compress(arena, layer, weights.tensors(), sums.layer(layer, arena), ranks);
          backend.copy(dense.stream(), shrunk.stream());
          Outputs expected = new Outputs();
          Outputs actual = new Outputs();
          dense.block(weights, expected);
          shrunk.block(model.block(backend, arena, block.shape(), block.weights()), actual);
          for (int i = 0; i < expected.values.length; i++) {
            lost += Math.pow(expected.values[i] - actual.values[i], 2);
            total += Math.pow(expected.values[i], 2);
          }
        }
      }
    }
    return lost / total;
  }

  /// The output of attention.
  private static final class Outputs implements StreamingPass.LayerTap {
    float[] values = {};

    @Override
    public BlockTap activations() {
      return new BlockTap() {
        @Override
        public void attentionOutput(Tensor output, Tensor stream) {
          values = output.toFloats();
        }
      };
    }
  }

  /// Zero-padded to the original shapes the blocks do the same; where queries and keys are
  /// normalised that needs them whole.
  @ParameterizedTest
  @MethodSource("families")
  void paddedBlocksAreTheSame(String name) {
    Path statistics = calibrate(name);
    boolean normed = List.of("qwen3", "gemma3", "olmo2").contains(name);
    Recipe recipe =
        Recipe.ofJson(
            "{\"name\": \"paper\", \"query_key\": \"" + (normed ? "keep" : "column-row") + "\"}",
            "test");
    try (Transformer model = Transformer.open(TestData.family(name));
        Backend backend = Backends.open("cpu", 2);
        Statistics sums = Statistics.open(statistics);
        BlockCompressor blocks = new BlockCompressor(backend, model.config(), recipe);
        StreamingPass small = new StreamingPass(backend, model, 1, TOKENS);
        StreamingPass padded = new StreamingPass(backend, model, 1, TOKENS)) {
      BlockSizes sizes = BlockSizes.of(model.config());
      RankPlan plan = new Compressor(model, backend).uniformPlan(recipe.withRatio(0.4));
      DenseView view = new DenseView(backend, sizes);
      small.embed(text.subList(5, 6));
      padded.embed(text.subList(5, 6));
      for (int layer = 0; layer < model.config().layers(); layer++) {
        try (Arena arena = Arena.ofShared()) {
          BlockWeights dense = model.block(backend, arena, layer, Residence.F32);
          LayerRanks ranks = plan.layers().get(layer);
          assertThat(ranks.qkRank() == sizes.headDim()).isEqualTo(normed);
          CompressedBlock block =
              blocks.compress(arena, layer, dense.tensors(), sums.layer(layer, arena), ranks);
          small.block(
              model.block(backend, arena, block.shape(), block.weights()),
              StreamingPass.LayerTap.NONE);
          padded.block(
              new BlockWeights(
                  dense.shape(),
                  view.of(arena, block.shape(), block.weights()),
                  dense.frequencies()),
              StreamingPass.LayerTap.NONE);
        }
        float[] expected = small.stream().toFloats();
        float[] actual = padded.stream().toFloats();
        for (int i = 0; i < actual.length; i++) {
          assertThat(actual[i])
              .as("%s layer %d", name, layer)
              .isCloseTo(expected[i], within(2e-4f));
        }
      }
    }
  }

  /// Without a rotary embedding the reported error is that of all logits, tokens by tokens.
  @ParameterizedTest
  @ValueSource(strings = {"opt", "gpt2"})
  void lowRankErrorIsThatOfTheLogits(String name) {
    Path statistics = calibrate(name);
    try (Transformer model = Transformer.open(TestData.family(name));
        Backend backend = Backends.open("cpu", 2);
        Statistics sums = Statistics.open(statistics);
        StreamingPass pass = new StreamingPass(backend, model, 5, TOKENS);
        BlockCompressor blocks = new BlockCompressor(backend, model.config(), Recipe.PAPER);
        Arena arena = Arena.ofShared()) {
      BlockSizes sizes = BlockSizes.of(model.config());
      for (int rank = 1; rank < sizes.headDim(); rank++) {
        BlockWeights weights = model.block(backend, arena, 0, Residence.F32);
        LayerRanks ranks = LayerRanks.full(sizes).with(Module.QUERY_KEY, rank);
        CompressedBlock block =
            blocks.compress(arena, 0, weights.tensors(), sums.layer(0, arena), ranks);
        Logits dense = new Logits();
        Logits shrunk = new Logits();
        pass.embed(text.subList(0, 5));
        pass.block(weights, dense);
        pass.embed(text.subList(0, 5));
        pass.block(model.block(backend, arena, block.shape(), block.weights()), shrunk);
        double error = dense.relativeError(shrunk, sizes.heads());
        assertThat(block.reports().getFirst().relativeError()).isCloseTo(error, within(1e-4));
      }
    }
  }

  private static final class Logits implements StreamingPass.LayerTap {
    double[][] queries = {};
    double[][] keys = {};

    @Override
    public BlockTap activations() {
      return new BlockTap() {
        @Override
        public void queriesAndKeys(Tensor q, Tensor k) {
          queries = SampleBlock.matrix(q);
          keys = SampleBlock.matrix(k);
        }
      };
    }

    /// Of the logits of all queries with all keys, head by head.
    double relativeError(Logits other, int heads) {
      double lost = 0;
      double total = 0;
      for (int head = 0; head < heads; head++) {
        for (int m = 0; m < queries.length; m++) {
          for (int n = 0; n < keys.length; n++) {
            double logit = dot(queries[m], keys[n], head, heads);
            double change = logit - dot(other.queries[m], other.keys[n], head, heads);
            lost += change * change;
            total += logit * logit;
          }
        }
      }
      return Math.sqrt(lost / total);
    }

    private static double dot(double[] q, double[] k, int head, int heads) {
      int size = q.length / heads;
      double sum = 0;
      for (int i = head * size; i < (head + 1) * size; i++) {
        sum += q[i] * k[i];
      }
      return sum;
    }
  }
}
