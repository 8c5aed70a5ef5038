package org.modegpt.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.modegpt.TestData;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.calibrate.StatisticsTap;
import org.modegpt.io.SafetensorsFile;
import org.modegpt.model.Transformer.Residence;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;
import tools.jackson.databind.json.JsonMapper;

/// A tiny random model of every family against the logits and residual streams of `transformers`.
class FamilyTest {
  private static final double TOLERANCE = 1e-4;

  /// Of differences, relative to the stream: small, for at the kink of a ReLU there is no gradient.
  private static final double STEP = 1e-4;

  static Stream<String> families() {
    return TestData.families().stream();
  }

  @ParameterizedTest
  @MethodSource("families")
  void forwardPass(String name) {
    try (Golden golden = new Golden(name);
        StreamingPass pass =
            new StreamingPass(golden.backend, golden.model, 1, golden.ids.length)) {
      pass.embed(List.of(golden.ids));
      for (int layer = 0; layer < golden.model.config().layers(); layer++) {
        float[] stream = pass.stream().toFloats();
        assertThat(difference(stream, golden.row("hidden", layer)))
            .as("%s: residual stream before layer %d", name, layer)
            .isLessThan(TOLERANCE);
        pass.block(layer, StreamingPass.LayerTap.NONE);
      }
      try (LanguageHead head = new LanguageHead(golden.backend, golden.model, Residence.F32)) {
        double worst = difference(head.logits(pass.stream()).toFloats(), golden.logits());
        System.out.printf("%s: largest logit difference %.1e%n", name, worst);
        assertThat(worst).isLessThan(TOLERANCE);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("families")
  void decodingWithTheCacheGivesTheSameLogits(String name) {
    try (Golden golden = new Golden(name)) {
      int[] ids = golden.ids;
      int vocabulary = golden.model.config().vocabSize();
      float[] expected = golden.logits();
      try (Decoder decoder = new Decoder(golden.backend, golden.model, ids.length)) {
        // A prompt longer than a window, a few tokens, then one at a time.
        int[] ends = {13, 17, 18};
        int from = 0;
        for (int end = ends[0]; end <= ids.length; end++) {
          if (end < ends[2] && end != ends[0] && end != ends[1]) {
            continue;
          }
          float[] logits = decoder.feed(Arrays.copyOfRange(ids, from, end));
          float[] row = Arrays.copyOfRange(expected, (end - 1) * vocabulary, end * vocabulary);
          assertThat(difference(logits, row))
              .as("%s: token %d", name, end - 1)
              .isLessThan(TOLERANCE);
          from = end;
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("families")
  void statistics(String name) {
    try (Golden golden = new Golden(name);
        StreamingPass pass =
            new StreamingPass(golden.backend, golden.model, 1, golden.ids.length)) {
      pass.embed(List.of(golden.ids));
      for (int layer = 0; layer < golden.model.config().layers(); layer++) {
        ModelConfig config = golden.model.config();
        LayerStatistics sums =
            LayerStatistics.zeros(golden.backend, golden.arena, config, layer, false);
        try (StatisticsTap tap =
            new StatisticsTap(
                golden.backend,
                config,
                config.shapes().get(layer),
                1,
                golden.ids.length,
                sums,
                (_, _) -> {})) {
          pass.block(layer, tap);
        }
        assertDiagonal(
            name, sums.attentionInput(), golden.file.get("attention_energy", golden.arena), layer);
        assertDiagonal(name, sums.mlpInner(), golden.file.get("mlp_energy", golden.arena), layer);
        assertThat(sums.tokens()).isEqualTo(golden.ids.length);
      }
    }
  }

  /// The gradient of a random linear function of every block's output, and of the head's loss,
  /// against differences of the forward pass in random directions.
  @ParameterizedTest
  @MethodSource("families")
  void gradients(String name) {
    try (Golden golden = new Golden(name);
        StreamingPass pass =
            new StreamingPass(golden.backend, golden.model, 1, golden.ids.length)) {
      ModelConfig config = golden.model.config();
      Tensor positions = Residents.positions(golden.backend, golden.arena, 0, golden.ids.length, 1);
      BlockBackward backward = new BlockBackward(golden.backend, config);
      SplittableRandom random = new SplittableRandom(7);
      pass.embed(List.of(golden.ids));
      for (int layer = 0; layer < config.layers(); layer++) {
        BlockWeights weights =
            golden.model.block(golden.backend, golden.arena, layer, Residence.F32);
        Tensor x = golden.like(pass.stream());
        golden.backend.copy(pass.stream(), x);
        double size = Math.sqrt(dot(x, x) / (x.rows() * x.cols()));
        Tensor output = golden.random(x, random, 1);
        Tensor gradient = golden.like(x);
        golden.backend.copy(output, gradient);
        backward.run(weights, x, positions, 1, gradient, _ -> {});
        double norm = Math.sqrt(dot(gradient, gradient));
        for (int direction = 0; direction < 3; direction++) {
          Tensor step = golden.random(x, random, STEP * size);
          double expected =
              (dot(golden.through(weights, x, step, 1, positions), output)
                      - dot(golden.through(weights, x, step, -1, positions), output))
                  / 2;
          assertThat(dot(gradient, step))
              .as("%s layer %d", name, layer)
              .isCloseTo(expected, within(5e-3 * norm * STEP * size));
        }
        pass.block(layer, StreamingPass.LayerTap.NONE);
      }
      try (LanguageHead head = new LanguageHead(golden.backend, golden.model, Residence.F32)) {
        Tensor x = pass.stream();
        double size = Math.sqrt(dot(x, x) / (x.rows() * x.cols()));
        Tensor uniforms = Tensor.allocate(golden.arena, DType.F32, 1, x.rows());
        for (long i = 0; i < x.rows(); i++) {
          uniforms.set(0, i, random.nextInt(1 << 24) * 0x1p-24);
        }
        Tensor ids = Tensor.allocate(golden.arena, DType.I32, 1, x.rows());
        Tensor gradient = golden.like(x);
        head.sampledGradient(x, uniforms, ids, gradient);
        Tensor step = golden.random(x, random, STEP * size);
        double expected =
            (golden.loss(head, x, step, 1, ids) - golden.loss(head, x, step, -1, ids)) / 2;
        double norm = Math.sqrt(dot(gradient, gradient));
        assertThat(dot(gradient, step))
            .as("%s head", name)
            .isCloseTo(expected, within(5e-3 * norm * STEP * size));
      }
    }
  }

  private static double dot(Tensor a, Tensor b) {
    double sum = 0;
    for (long i = 0; i < a.rows(); i++) {
      for (long j = 0; j < a.cols(); j++) {
        sum += a.get(i, j) * b.get(i, j);
      }
    }
    return sum;
  }

  private static void assertDiagonal(String name, Tensor gram, Tensor energies, int layer) {
    for (int i = 0; i < gram.rows(); i++) {
      double expected = energies.get(layer, i);
      assertThat(gram.get(i, i))
          .as("%s layer %d column %d", name, layer, i)
          .isCloseTo(expected, within(1e-6 + 1e-5 * expected));
    }
  }

  @Test
  void unsupportedFamiliesAreRefusedByName() {
    assertThatThrownBy(() -> Architecture.of("mixtral"))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("'mixtral' (a mixture of experts) is not supported");
    assertThatThrownBy(() -> Architecture.of("qwen3_moe"))
        .hasMessageContaining("'qwen3_moe' (a mixture of experts)");
    assertThatThrownBy(() -> Architecture.of("mamba2"))
        .hasMessageContaining("'mamba2' is not supported; supported: llama");
    assertThatThrownBy(() ->
            ModelConfig.of(
                JsonMapper.shared()
                    .readTree(
                        """
                        {"model_type": "opt", "hidden_size": 32, "do_layer_norm_before": false}\
                        """)))
        .hasMessageContaining("opt models with do_layer_norm_before false are not supported");
  }

  private static double difference(float[] a, float[] b) {
    assertThat(a).hasSameSizeAs(b);
    double worst = 0;
    for (int i = 0; i < a.length; i++) {
      worst = Math.max(worst, Math.abs(a[i] - b[i]));
    }
    return worst;
  }

  /// A model and what transformers made of it.
  private static final class Golden implements AutoCloseable {
    final Arena arena = Arena.ofConfined();
    final Transformer model;
    final Backend backend = Backends.open("cpu", 2);
    final SafetensorsFile file;
    final int[] ids;

    Golden(String name) {
      model = Transformer.open(TestData.family(name));
      file = SafetensorsFile.open(TestData.family(name).resolve("golden.safetensors"));
      ids = file.get("ids", arena).toInts();
    }

    float[] row(String tensor, int row) {
      return file.get(tensor, arena).rows(row, row + 1L).toFloats();
    }

    Tensor like(Tensor x) {
      return Tensor.allocate(arena, DType.F32, x.rows(), x.cols());
    }

    /// Normally distributed.
    Tensor random(Tensor like, SplittableRandom random, double size) {
      Tensor result = like(like);
      for (long i = 0; i < result.rows(); i++) {
        for (long j = 0; j < result.cols(); j++) {
          result.set(i, j, size * random.nextGaussian());
        }
      }
      return result;
    }

    private Tensor moved(Tensor x, Tensor step, float sign) {
      Tensor moved = like(x);
      backend.copy(x, moved);
      backend.add(sign, step, moved);
      return moved;
    }

    /// A block's output for a moved input.
    Tensor through(BlockWeights weights, Tensor x, Tensor step, float sign, Tensor positions) {
      Tensor moved = moved(x, step, sign);
      try (BlockForward forward = new BlockForward(backend, model.config())) {
        forward.run(weights, moved, positions, 1, BlockTap.NONE);
      }
      return moved;
    }

    /// Summed loss of the head for a moved stream.
    double loss(LanguageHead head, Tensor x, Tensor step, float sign, Tensor ids) {
      return Arrays.stream(head.negativeLogLikelihood(moved(x, step, sign), ids.toInts())).sum();
    }

    float[] logits() {
      return file.get("logits", arena).toFloats();
    }

    @Override
    public void close() {
      file.close();
      backend.close();
      model.close();
      arena.close();
    }
  }
}
