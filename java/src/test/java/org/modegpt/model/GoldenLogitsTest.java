package org.modegpt.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.modegpt.TestData;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.io.SafetensorsFile;
import org.modegpt.model.Transformer.Residence;
import org.modegpt.tensor.Tensor;

/// The forward pass against logits, hidden states and greedy continuations of `transformers`.
class GoldenLogitsTest {
  private static final double TOLERANCE = 2e-3;

  @ParameterizedTest
  @ValueSource(strings = {"stories260K", "wiki-16m", "smollm2-135m"})
  void forwardPass(String name) {
    try (Transformer model = Transformer.open(TestData.model(name));
        Backend backend = Backends.open("cpu", 2);
        SafetensorsFile golden =
            SafetensorsFile.open(TestData.golden(name + "-logits.safetensors"));
        Arena arena = Arena.ofConfined()) {
      int[] ids = golden.get("ids", arena).toInts();
      Tensor hidden = golden.get("hidden", arena);
      int[] rows = golden.get("hidden_rows", arena).toInts();
      int[] columns = golden.get("hidden_columns", arena).toInts();
      try (StreamingPass pass = new StreamingPass(backend, model, 1, ids.length)) {
        pass.embed(List.of(ids));
        for (int layer = 0; layer <= model.config().layers(); layer++) {
          for (int r = 0; r < rows.length; r++) {
            for (int c = 0; c < columns.length; c++) {
              double expected = hidden.get(layer, (long) r * columns.length + c);
              assertThat(pass.stream().get(rows[r], columns[c]))
                  .as(
                      "%s, hidden state %d of token %d before layer %d",
                      name, columns[c], rows[r], layer)
                  .isCloseTo(expected, within(1e-3 + 1e-4 * Math.abs(expected)));
            }
          }
          if (layer < model.config().layers()) {
            pass.block(layer, StreamingPass.LayerTap.NONE);
          }
        }
        System.out.printf(
            "%s: largest logit difference %.1e%n",
            name, logits(model, backend, pass, golden, arena));
      }
    }
  }

  private static double logits(
      Transformer model, Backend backend, StreamingPass pass, SafetensorsFile golden, Arena arena) {
    int[] columns = golden.get("columns", arena).toInts();
    Tensor sampled = golden.get("column_logits", arena);
    Tensor last = golden.get("last_logits", arena);
    int tokens = (int) sampled.rows();
    double worst = 0;
    try (LanguageHead head = new LanguageHead(backend, model, Residence.F32)) {
      for (int t = 0; t < tokens; t++) {
        Tensor logits = head.logits(pass.stream().rows(t, t + 1));
        for (int c = 0; c < columns.length; c++) {
          worst = Math.max(worst, Math.abs(logits.get(0, columns[c]) - sampled.get(t, c)));
        }
        long tail = t - (tokens - last.rows());
        for (long v = 0; tail >= 0 && v < last.cols(); v++) {
          worst = Math.max(worst, Math.abs(logits.get(0, v) - last.get(tail, v)));
        }
      }
    }
    assertThat(worst).isLessThanOrEqualTo(TOLERANCE);
    return worst;
  }

  @ParameterizedTest
  @ValueSource(strings = {"stories260K", "wiki-16m", "smollm2-135m"})
  void greedyContinuation(String name) {
    try (Transformer model = Transformer.open(TestData.model(name));
        Backend backend = Backends.open("cpu", 2);
        SafetensorsFile golden =
            SafetensorsFile.open(TestData.golden(name + "-logits.safetensors"));
        Arena arena = Arena.ofConfined()) {
      int[] prompt = golden.get("prompt_ids", arena).toInts();
      int[] expected = golden.get("greedy_ids", arena).toInts();
      List<Integer> told = new ArrayList<>();
      try (Decoder decoder = new Decoder(backend, model, prompt.length + expected.length)) {
        decoder.generate(prompt, expected.length, Sampling.GREEDY, Set.of(), told::add);
      }
      assertThat(told.stream().mapToInt(Integer::intValue).toArray()).isEqualTo(expected);
    }
  }
}
