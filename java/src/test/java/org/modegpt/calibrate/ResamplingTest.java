package org.modegpt.calibrate;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.modegpt.Progress;
import org.modegpt.TestData;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.model.Transformer;

class ResamplingTest {
  private static final int LENGTH = 256;

  @Test
  void tokensAreDrawnFromThePredictionAfterTheTrueText() throws Exception {
    try (Transformer model = Transformer.open(TestData.demo("wiki-16m"));
        Backend backend = Backends.open("cpu", 2)) {
      String text = Files.readString(TestData.demo("text/wikitext2.test.txt"));
      int[] ids = model.directory().tokenizer().encode(text.substring(0, 20_000));
      List<int[]> sequences = new ArrayList<>();
      for (int i = 0; i < 6; i++) {
        sequences.add(Arrays.copyOfRange(ids, i * LENGTH, (i + 1) * LENGTH));
      }
      List<int[]> drawn = Resampling.of(model, backend, sequences, 1 / 3.0, 7, Progress.SILENT);
      System.err.println(model.directory().tokenizer().decode(sequences.get(2)));
      System.err.println("-----");
      System.err.println(model.directory().tokenizer().decode(drawn.get(2)));
      assertThat(drawn).hasSize(6);
    }
  }
}
