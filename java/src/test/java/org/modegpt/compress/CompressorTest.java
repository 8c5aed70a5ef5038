package org.modegpt.compress;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.Progress;
import org.modegpt.TestData;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.calibrate.CalibrationData;
import org.modegpt.calibrate.Calibrator;
import org.modegpt.calibrate.Statistics;
import org.modegpt.io.CheckpointWriter;
import org.modegpt.io.Json;
import org.modegpt.model.LayerShape;
import org.modegpt.model.ModelLogits;
import org.modegpt.model.Transformer;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/// From a checkpoint to a smaller one and back into the engine.
class CompressorTest {
  @TempDir private Path folder;
  private Path statistics;
  private final int[] ids = new int[96];

  @BeforeEach
  void calibrate() {
    for (int i = 0; i < ids.length; i++) {
      ids[i] = (i * 37 + 11) % 500;
    }
    statistics = folder.resolve("statistics");
    try (Transformer model = Transformer.open(TestData.model("stories260K"));
        Backend backend = Backends.open("cpu", 2)) {
      CalibrationData data = new CalibrationData(List.of(ids, ids.clone()), "hash", "test", 0);
      new Calibrator(model, backend).run(data, statistics, Progress.SILENT);
    }
  }

  private CompressionText text() {
    return new CompressionText(List.of(ids), Collections.nCopies(8, ids));
  }

  private Path compress(Recipe recipe, String name) {
    try (Transformer model = Transformer.open(TestData.model("stories260K"));
        Backend backend = Backends.open("cpu", 2);
        Statistics sums = Statistics.open(statistics)) {
      Compressor compressor = new Compressor(model, backend);
      RankPlan plan =
          compressor
              .plans(sums, recipe, List.of(recipe.ratio()), text(), Progress.SILENT)
              .getFirst();
      Path out = folder.resolve(name);
      CompressionReport report =
          compressor.run(
              sums,
              recipe,
              plan,
              text(),
              new Compressor.Output(out, null, CheckpointWriter.DEFAULT_SHARD_BYTES, false),
              Progress.SILENT);
      assertThat(report.reachedRatio())
          .isCloseTo(recipe.ratio(), org.assertj.core.data.Offset.offset(2e-3));
      return out;
    }
  }

  private float[] logits(Path path) {
    return ModelLogits.of(path, ids);
  }

  @Test
  void fullKeepReturnsTheSameLogits() {
    for (String recipe : Recipe.names()) {
      Path out = compress(Recipe.named(recipe).withRatio(0), recipe);
      assertThat(logits(out)).as(recipe).isEqualTo(logits(TestData.model("stories260K")));
    }
  }

  @Test
  void everyRecipeMakesASmallerModelThatReloads() throws IOException {
    for (String recipe : Recipe.names()) {
      Path out = compress(Recipe.named(recipe).withRatio(0.3), recipe);
      try (Transformer model = Transformer.open(out)) {
        assertThat(model.config().compressed()).isTrue();
        assertThat(model.tensors().names()).isNotEmpty();
      }
      for (float value : logits(out)) {
        assertThat(value).isFinite();
      }
      for (String file :
          List.of("config.json", "recipe.json", "report.json", "README.md", "tokenizer.json")) {
        assertThat(Files.size(out.resolve(file))).as(file).isPositive();
      }
      assertThat(Recipe.ofJson(Files.readString(out.resolve("recipe.json")), "recipe.json"))
          .isEqualTo(Recipe.named(recipe).withRatio(0.3));
    }
  }

  @Test
  void outputsSayEverythingThatTransformersNeeds() {
    Path out = compress(Recipe.PAPER.withRatio(0.3), "remote");
    ObjectNode config = Json.object(out.resolve("config.json"));
    String entry = config.path("auto_map").path("AutoModelForCausalLM").asString();
    assertThat(entry).isEqualTo("modeling_modegpt.ModegptForCausalLM");
    assertThat(out.resolve("modeling_modegpt.py"))
        .content()
        .contains("class ModegptForCausalLM(", "class ModegptConfig(", "class ModegptModel(");
    assertThat(out.resolve("tokenizer_config.json")).content().contains("PreTrainedTokenizerFast");
    JsonNode compact = config.path("modegpt");
    assertThat(compact.path("attention_scale").asDouble())
        .isCloseTo(1 / Math.sqrt(8), org.assertj.core.data.Offset.offset(1e-7));
    assertThat(compact.path("rotary_frequencies").get(0).get(1).asDouble()).isEqualTo(0.1);
    assertThat(compact.path("activation").asString()).isEqualTo("silu");
    try (Transformer model = Transformer.open(out)) {
      for (int layer = 0; layer < model.config().layers(); layer++) {
        LayerShape shape = model.config().shapes().get(layer);
        JsonNode stated = compact.path("layers").get(layer);
        assertThat(stated.path("vo_dim").asInt()).isEqualTo(shape.voDim());
        assertThat(stated.path("rotary_pairs").get(0).size()).isEqualTo(shape.qkDim() / 2);
        assertThat(stated.has("biases")).isFalse();
      }
    }
  }

  @Test
  void theSameRunGivesTheSameBytes() throws IOException {
    Path a = compress(Recipe.DEFAULT.withRatio(0.3), "a");
    Path b = compress(Recipe.DEFAULT.withRatio(0.3), "b");
    assertThat(Files.mismatch(a.resolve("model.safetensors"), b.resolve("model.safetensors")))
        .isEqualTo(-1);
    assertThat(Files.mismatch(a.resolve("config.json"), b.resolve("config.json"))).isEqualTo(-1);
  }

  @Test
  void measuredRecipesLoseLessThanThePublication() {
    float[] dense = logits(TestData.model("stories260K"));
    double paper = distance(dense, logits(compress(Recipe.PAPER.withRatio(0.3), "paper")));
    double measured = distance(dense, logits(compress(Recipe.DEFAULT.withRatio(0.3), "measured")));
    assertThat(measured).isLessThan(paper);
  }

  @Test
  void refitsBringTheModelNearerToTheDenseOne() {
    float[] dense = logits(TestData.model("stories260K"));
    Recipe plain = Recipe.PAPER.withRatio(0.4);
    Recipe refitted = plain.withRefit(new Recipe.Refit(8, 1));
    double before = distance(dense, logits(compress(plain, "plain")));
    double after = distance(dense, logits(compress(refitted, "refitted")));
    assertThat(after).isLessThan(0.8 * before);
  }

  @Test
  void curvesServeLaterRatiosUnlessTheyAreOfOtherText() throws IOException {
    Path file = CurveFile.beside(statistics);
    Recipe noise = Recipe.DEFAULT.withAllocation(AllocationRule.RESIDUAL_NOISE).withRounds(1);
    compress(noise.withRatio(0.2), "first");
    String once = Files.readString(file);
    assertThat(once).contains("residual-noise");
    compress(noise.withRatio(0.4), "second");
    assertThat(file).content().isEqualTo(once);
    compress(noise.withRatio(0.4).with("mlp", "leverage"), "other");
    assertThat(file).content().isNotEqualTo(once).contains("leverage");
  }

  private static double distance(float[] a, float[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += (double) (a[i] - b[i]) * (a[i] - b[i]);
    }
    return sum;
  }

  @Test
  void brainSurgeonOrderIsThatOfTheDefinition() {
    int f = 70;
    try (Backend backend = Backends.open("cpu", 1);
        Arena arena = Arena.ofConfined()) {
      SampleMatrices sample = new SampleMatrices(f, 9, 5);
      BrainSurgeon.Order order =
          new BrainSurgeon(backend).eliminate(sample.inverse(arena), sample.outer(arena), f - 1);
      BrainSurgeon.Order expected = sample.naiveOrder();
      assertThat(order.order()).isEqualTo(expected.order());
      for (int i = 0; i < f - 1; i++) {
        assertThat(order.cost()[i])
            .isCloseTo(expected.cost()[i], org.assertj.core.data.Percentage.withPercentage(1e-4));
      }
    }
  }
}
