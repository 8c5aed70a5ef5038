package org.modegpt.io;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.modegpt.TestData;
import org.modegpt.model.ModelLogits;

/// Files that llama.cpp's converter and quantiser wrote, against the logits that transformers
/// computes from the weights in them.
class GgufFamilyTest {
  private static final double TOLERANCE = 2e-4;

  static Stream<String> files() {
    try (Stream<Path> all = Files.list(TestData.gguf(""))) {
      return all
          .map(f -> f.getFileName().toString())
          .filter(f -> f.endsWith(".gguf"))
          .map(f -> f.replace(".gguf", ""))
          .sorted()
          .toList()
          .stream();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @ParameterizedTest
  @MethodSource("files")
  void logits(String name) {
    Path file = TestData.gguf(name + ".gguf");
    try (SafetensorsFile golden = SafetensorsFile.open(TestData.gguf(name + ".safetensors"));
        Arena arena = Arena.ofConfined()) {
      float[] expected = golden.get("logits", arena).toFloats();
      float[] logits = ModelLogits.of(file, golden.get("ids", arena).toInts());
      double worst = 0;
      for (int i = 0; i < expected.length; i++) {
        worst = Math.max(worst, Math.abs(logits[i] - expected[i]));
      }
      System.out.printf("%s.gguf: largest logit difference %.1e%n", name, worst);
      assertThat(worst).as(name).isLessThan(TOLERANCE);
    }
    try (ModelDirectory model = ModelDirectory.open(file)) {
      assertThat(model.tokenizer().encode("the inn")).isNotEmpty();
    }
  }
}
