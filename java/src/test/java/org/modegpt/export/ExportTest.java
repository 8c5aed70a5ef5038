package org.modegpt.export;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
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
import org.modegpt.model.LanguageHead;
import org.modegpt.model.StreamingPass;
import org.modegpt.model.Transformer;
import org.modegpt.model.Transformer.Residence;
import org.modegpt.tensor.DType;

/// What is written in another format computes the same.
class ExportTest {
  /// Characters that are tokens, for models too small for a real tokenizer.
  private static final String TOKENIZER =
      """
      {"version": "1.0", "added_tokens": [{"id": 2, "content": "<s>", "special": true,
         "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}],
       "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
       "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
       "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "<s>": 2, "ab": 3}, "merges": [["a", "b"]]}}
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
      assertThat(e.getMessage()).contains("llama.cpp");
      return;
    }
    if (family.equals("llama")) {
      // Its scaling starts at a context of its own, which the file does not say.
      assertThatThrownBy(() -> logits(out)).hasMessageContaining("are not Llama 3's");
      return;
    }
    assertClose(logits(out), logits(source), 2e-5);
  }

  @ParameterizedTest
  @MethodSource("families")
  void compressedModelsComputeTheSameInEveryFormat(String family) {
    Path source = withTokenizer(TestData.family(family));
    Path compact = compress(source, 0.3);
    if (compact == null) {
      return;
    }
    float[] expected = logits(compact);
    for (OutputFormat format :
        List.of(OutputFormat.DENSE, OutputFormat.UNIFORM, OutputFormat.GGUF)) {
      try {
        assertClose(logits(export(compact, format, DType.F32)), expected, 5e-5);
      } catch (UserException e) {
        System.out.printf("%s as %s: %s%n", family, format.label(), e.getMessage());
        assertThat(e.getMessage())
            .containsAnyOf("llama.cpp", "normalised queries", "not Llama 3's");
      }
    }
    Path again = export(compact, OutputFormat.COMPACT, DType.F32);
    assertThat(logits(again)).isEqualTo(expected);
    assertThat(again.resolve("modeling_modegpt.py")).exists();
  }

  @Test
  void aWidthPerLayer() {
    Path compact = compress(withTokenizer(TestData.family("llama-bias")), 0.3);
    float[] expected = logits(compact);
    for (OutputFormat format : List.of(OutputFormat.DECI, OutputFormat.GGUF_DECI)) {
      Path out = export(compact, format, DType.F32);
      assertClose(logits(out), expected, 5e-5);
      try (Transformer model = Transformer.open(out)) {
        assertThat(model.config().shapes()).allMatch(s -> s.mlpWidth() % 256 == 0);
      }
    }
    Path other = compress(withTokenizer(TestData.family("qwen2")), 0.3);
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

  /// The compressed model, or null where this family cannot be compressed.
  private Path compress(Path source, double ratio) {
    Path statistics = folder.resolve("statistics-" + System.nanoTime());
    Path out = folder.resolve("compact-" + System.nanoTime());
    Recipe recipe = Recipe.PAPER.withRatio(ratio);
    try (Transformer model = Transformer.open(source);
        Backend backend = Backends.open("cpu", 2)) {
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
    } catch (UserException e) {
      System.out.printf("%s: %s%n", source.getFileName(), e.getMessage());
      assertThat(e.getMessage()).contains("cannot be compressed");
      return null;
    }
  }

  private float[] logits(Path path) {
    try (Transformer model = Transformer.open(path);
        Backend backend = Backends.open("cpu", 2);
        StreamingPass pass = new StreamingPass(backend, model, 1, ids.length);
        LanguageHead head = new LanguageHead(backend, model, Residence.F32)) {
      pass.embed(List.of(ids));
      for (int layer = 0; layer < model.config().layers(); layer++) {
        pass.block(layer, StreamingPass.LayerTap.NONE);
      }
      return head.logits(pass.stream()).toFloats();
    }
  }

  private static void assertClose(float[] a, float[] b, double tolerance) {
    double worst = 0;
    for (int i = 0; i < b.length; i++) {
      worst = Math.max(worst, Math.abs(a[i] - b[i]));
    }
    assertThat(worst).isLessThan(tolerance);
  }
}
