package org.modegpt.io;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.modegpt.TestData;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.model.LanguageHead;
import org.modegpt.model.StreamingPass;
import org.modegpt.model.Transformer;
import org.modegpt.model.Transformer.Residence;

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
    try (Transformer model = Transformer.open(TestData.gguf(name + ".gguf"));
        Backend backend = Backends.open("cpu", 2);
        SafetensorsFile golden = SafetensorsFile.open(TestData.gguf(name + ".safetensors"));
        Arena arena = Arena.ofConfined()) {
      int[] ids = golden.get("ids", arena).toInts();
      float[] expected = golden.get("logits", arena).toFloats();
      try (StreamingPass pass = new StreamingPass(backend, model, 1, ids.length);
          LanguageHead head = new LanguageHead(backend, model, Residence.F32)) {
        pass.embed(List.of(ids));
        for (int layer = 0; layer < model.config().layers(); layer++) {
          pass.block(layer, StreamingPass.LayerTap.NONE);
        }
        float[] logits = head.logits(pass.stream()).toFloats();
        double worst = 0;
        for (int i = 0; i < expected.length; i++) {
          worst = Math.max(worst, Math.abs(logits[i] - expected[i]));
        }
        System.out.printf("%s.gguf: largest logit difference %.1e%n", name, worst);
        assertThat(worst).as(name).isLessThan(TOLERANCE);
      }
      assertThat(model.directory().tokenizer().encode("the inn")).isNotEmpty();
    }
  }
}
