package org.modegpt.export;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.modegpt.Progress;
import org.modegpt.TestData;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.calibrate.CalibrationData;
import org.modegpt.calibrate.Calibrator;
import org.modegpt.calibrate.Statistics;
import org.modegpt.compress.CompressionText;
import org.modegpt.compress.Compressor;
import org.modegpt.compress.RankPlan;
import org.modegpt.compress.Recipe;
import org.modegpt.io.CheckpointWriter;
import org.modegpt.io.ModelDirectory;
import org.modegpt.io.TensorSource;
import org.modegpt.model.ModelConfig;
import org.modegpt.model.ModelLogits;
import org.modegpt.model.Transformer;
import org.modegpt.tensor.DType;
import tools.jackson.databind.JsonNode;

/// What is written in another format computes the same.
class ExportTest {
  /// Characters that are tokens, for models too small for a real tokenizer.
  private static final String TOKENIZER =
      """
      {"version": "1.0", "added_tokens": [{"id": 2, "content": "<s>", "special": true,
         "single_word": false, "lstrip": false, "rstrip": false, "normalized": false},
         {"id": 4, "content": "<end_of_turn>", "special": true,
         "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}],
       "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
       "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
       "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "<s>": 2, "ab": 3, "<end_of_turn>": 4}, "merges": [["a", "b"]]}}
      """;

  @TempDir private Path folder;
  private final int[] ids = IntStream.range(0, 40).map(i -> (i * 37 + 11) % 60).toArray();

  static Stream<String> families() {
    return TestData.families().stream();
  }

  @ParameterizedTest
  @MethodSource("families")
  void aFolderHasTheFamilysOwnTensors(String family) {
    Path out = export(TestData.family(family), OutputFormat.DENSE, DType.BF16);
    try (ModelDirectory original = ModelDirectory.open(TestData.family(family));
        ModelDirectory copy = ModelDirectory.open(out)) {
      TensorSource a = original.tensors();
      TensorSource b = copy.tensors();
      assertThat(b.names()).containsExactlyInAnyOrderElementsOf(a.names());
      for (String name : a.names()) {
        assertThat(b.info(name).shape()).as(name).isEqualTo(a.info(name).shape());
        assertThat(a.info(name).dtype()).isEqualTo("BF16");
        assertThat(a.stored(name).mismatch(b.stored(name))).as(name).isEqualTo(-1);
      }
      assertThat(copy.config().path("model_type")).isEqualTo(original.config().path("model_type"));
    }
  }

  @ParameterizedTest
  @MethodSource("families")
  void ggufFilesComputeTheSame(String family) {
    Path source = withTokenizer(TestData.family(family));
    Path out;
    try {
      out = export(source, OutputFormat.GGUF, DType.F32);
    } catch (UserException e) {
      System.out.printf("%s is not written to GGUF: %s%n", family, e.getMessage());
      assertThat(e.getMessage()).contains("llama.cpp has no architecture for 'opt' models");
      return;
    }
    assertSame(out, source, 2e-5);
  }

  @ParameterizedTest
  @MethodSource("families")
  void compressedModelsComputeTheSameInEveryFormat(String family) {
    Path source = withTokenizer(TestData.family(family));
    Path compact = compress(source, 0.3, OutputFormat.DENSE);
    for (OutputFormat format :
        List.of(OutputFormat.DENSE, OutputFormat.UNIFORM, OutputFormat.GGUF)) {
      if (format == OutputFormat.GGUF && family.equals("opt")) {
        continue; // refused, see above
      }
      assertSame(export(compact, format, DType.F32), compact, 5e-5);
    }
    Path again = export(compact, OutputFormat.COMPACT, DType.F32);
    assertThat(logits(again)).isEqualTo(logits(compact));
    assertThat(again.resolve("modeling_modegpt.py")).exists();
  }

  @Test
  void normalisedQueriesAndKeysStayWholeInTheFamilysShapes() {
    Path source = withTokenizer(TestData.family("qwen3"));
    Path whole = compress(source, 0.3, OutputFormat.GGUF);
    Path smaller = compress(source, 0.3, OutputFormat.COMPACT);
    try (Transformer a = Transformer.open(whole);
        Transformer b = Transformer.open(smaller)) {
      assertThat(a.config().shapes()).allMatch(s -> s.qkDim() == a.config().headDim());
      assertThat(b.config().shapes()).anyMatch(s -> s.qkDim() < b.config().headDim());
      // The budget is met by the other modules: within one step of the finest.
      double kept = a.config().matrixParameters() / (double) b.config().matrixParameters();
      assertThat(kept).isCloseTo(1, within(0.01));
    }
    assertThatThrownBy(() -> export(smaller, OutputFormat.DENSE, DType.F32))
        .hasMessageContaining("compress the original again with this --format");
    assertThatThrownBy(() -> compress(source, 0.93, OutputFormat.DENSE))
        .hasMessageContaining("with queries and keys whole at most");
    assertThat(OutputFormat.COMPACT.recipe(Recipe.PAPER, config(source))).isEqualTo(Recipe.PAPER);
    Path llama = TestData.family("llama");
    assertThat(OutputFormat.DENSE.recipe(Recipe.PAPER, config(llama))).isEqualTo(Recipe.PAPER);
  }

  @ParameterizedTest
  @ValueSource(strings = {"mistral", "qwen2-window"})
  void aWindowThatLlamaCppLacksBecomesTheContext(String family) {
    Path out = folder.resolve("window.gguf");
    try (Transformer model = Transformer.open(withTokenizer(TestData.family(family)))) {
      int window = model.config().shapes().getLast().attention().window();
      assertThat(window).isBetween(1, model.config().contextLength() - 1);
      List<String> notes =
          new Export(model, OutputFormat.GGUF, DType.F32)
              .write(out, false, CheckpointWriter.DEFAULT_SHARD_BYTES, 2, Progress.SILENT);
      assertThat(notes).hasSize(1).first().asString().contains(window + " tokens");
      assertThat(config(out).contextLength()).isEqualTo(window);
    }
  }

  @Test
  void longRopeIsKeptForLongTextsToo() {
    Path out =
        export(withTokenizer(TestData.family("phi3-longrope")), OutputFormat.GGUF, DType.F32);
    try (ModelDirectory original = ModelDirectory.open(TestData.family("phi3-longrope"));
        ModelDirectory file = ModelDirectory.open(out)) {
      JsonNode before = original.config();
      JsonNode after = file.config();
      assertThat(after.path("max_position_embeddings"))
          .isEqualTo(before.path("max_position_embeddings"));
      for (String key : List.of("short_factor", "long_factor")) {
        JsonNode stated =
            before
                .path(before.has("rope_parameters") ? "rope_parameters" : "rope_scaling")
                .path(key);
        JsonNode found = after.path("rope_scaling").path(key);
        assertThat(found.size()).isEqualTo(stated.size()).isPositive();
        for (int i = 0; i < stated.size(); i++) {
          assertThat(found.get(i).asDouble()).isCloseTo(stated.get(i).asDouble(), within(1e-6));
        }
      }
    }
  }

  @Test
  void generationFromAGgufFileEndsWithTheTurn() {
    Path out = export(withTokenizer(TestData.family("gemma3")), OutputFormat.GGUF, DType.F32);
    try (ModelDirectory file = ModelDirectory.open(out)) {
      assertThat(file.generationConfig().path("eos_token_id").toString()).isEqualTo("[2,4]");
    }
  }

  @Test
  void aWidthPerLayer() {
    Path compact = compress(withTokenizer(TestData.family("llama-bias")), 0.3, OutputFormat.DENSE);
    float[] expected = logits(compact);
    for (OutputFormat format : List.of(OutputFormat.DECI, OutputFormat.GGUF_DECI)) {
      Path out = export(compact, format, DType.F32);
      assertClose(logits(out), expected, 5e-5);
      try (Transformer model = Transformer.open(out)) {
        assertThat(model.config().shapes()).allMatch(s -> s.mlpWidth() % 256 == 0);
      }
    }
    Path other = compress(withTokenizer(TestData.family("qwen2")), 0.3, OutputFormat.DENSE);
    assertThatThrownBy(() -> export(other, OutputFormat.GGUF_DECI, DType.F32))
        .hasMessageContaining("llama models only");
  }

  @Test
  void typesThatAFormatDoesNotHave() {
    assertThatThrownBy(() -> export(TestData.family("llama"), OutputFormat.DENSE, DType.Q8_0))
        .hasMessageContaining("add --format gguf");
    assertThatThrownBy(() -> export(TestData.family("llama"), OutputFormat.COMPACT, DType.F32))
        .hasMessageContaining("is not compressed");
    assertThat(folder).isEmptyDirectory();
  }

  private Path export(Path source, OutputFormat format, DType dtype) {
    Path out = folder.resolve("out-" + System.nanoTime() + (format.gguf() ? ".gguf" : ""));
    try (Transformer model = Transformer.open(source)) {
      new Export(model, format, dtype)
          .write(out, false, CheckpointWriter.DEFAULT_SHARD_BYTES, 2, Progress.SILENT);
    }
    return out;
  }

  private Path withTokenizer(Path model) {
    Path copy = folder.resolve("model-" + System.nanoTime());
    try {
      Files.createDirectories(copy);
      for (String name : List.of("config.json", "model.safetensors")) {
        Files.copy(model.resolve(name), copy.resolve(name));
      }
      Files.writeString(copy.resolve("tokenizer.json"), TOKENIZER);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return copy;
  }

  private static ModelConfig config(Path path) {
    try (Transformer model = Transformer.open(path)) {
      return model.config();
    }
  }

  /// The compact model from which `format` is to be made.
  private Path compress(Path source, double ratio, OutputFormat format) {
    Path statistics = folder.resolve("statistics-" + System.nanoTime());
    Path out = folder.resolve("compact-" + System.nanoTime());
    try (Transformer model = Transformer.open(source);
        Backend backend = Backends.open("cpu", 2)) {
      Recipe recipe = format.recipe(Recipe.PAPER.withRatio(ratio), model.config());
      CalibrationData data = new CalibrationData(List.of(ids, ids.clone()), "hash", "test", 0);
      new Calibrator(model, backend).run(data, statistics, Progress.SILENT);
      try (Statistics sums = Statistics.open(statistics)) {
        Compressor compressor = new Compressor(model, backend);
        CompressionText text = CompressionText.NONE;
        RankPlan plan =
            compressor.plans(sums, recipe, List.of(ratio), text, Progress.SILENT).getFirst();
        compressor.run(
            sums,
            recipe,
            plan,
            text,
            new Compressor.Output(out, null, CheckpointWriter.DEFAULT_SHARD_BYTES, false),
            Progress.SILENT);
      }
      return out;
    }
  }

  private float[] logits(Path path) {
    return ModelLogits.of(path, ids);
  }

  /// The same on a text that is as long as the output allows.
  private void assertSame(Path out, Path source, double tolerance) {
    int[] text = Arrays.copyOf(ids, Math.min(ids.length, config(out).contextLength()));
    assertClose(ModelLogits.of(out, text), ModelLogits.of(source, text), tolerance);
  }

  private static void assertClose(float[] a, float[] b, double tolerance) {
    double worst = 0;
    for (int i = 0; i < b.length; i++) {
      worst = Math.max(worst, Math.abs(a[i] - b[i]));
    }
    assertThat(worst).isLessThan(tolerance);
  }
}
