package org.modegpt.calibrate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.modegpt.Progress;
import org.modegpt.TestData;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.model.LanguageHead;
import org.modegpt.model.StreamingPass;
import org.modegpt.model.Transformer;
import org.modegpt.model.Transformer.Residence;
import org.modegpt.tensor.Tensor;

class ResamplingTest {
  private static final int LENGTH = 256;

  private static Transformer model;
  private static Backend backend;
  private static List<int[]> sequences;

  @BeforeAll
  static void open() throws Exception {
    model = Transformer.open(TestData.demo("wiki-16m"));
    backend = Backends.open("cpu", 2);
    String text = Files.readString(TestData.demo("text/wikitext2.test.txt"));
    int[] ids = model.directory().tokenizer().encode(text.substring(0, 40_000));
    sequences = new ArrayList<>();
    for (int i = 0; i < 9; i++) {
      sequences.add(Arrays.copyOfRange(ids, i * LENGTH, (i + 1) * LENGTH));
    }
  }

  @AfterAll
  static void close() {
    backend.close();
    model.close();
  }

  private static List<int[]> resample(double share, long seed) {
    return Resampling.of(model, backend, sequences, share, seed, Progress.SILENT);
  }

  @Test
  void chosenOnesComeLastAndTheOthersStay() {
    List<int[]> drawn = resample(1 / 3.0, 7);
    List<Integer> stay = List.of(0, 1, 3, 4, 6, 7);
    for (int i = 0; i < stay.size(); i++) {
      assertThat(drawn.get(i)).isEqualTo(sequences.get(stay.get(i)));
    }
    for (int i = 6; i < 9; i++) {
      int[] text = sequences.get(3 * (i - 6) + 2);
      assertThat(drawn.get(i)).hasSize(LENGTH).startsWith(text[0]).isNotEqualTo(text);
    }
  }

  @Test
  void theSeedDecides() {
    assertThat(resample(0.3, 7)).usingRecursiveComparison().isEqualTo(resample(0.3, 7));
    assertThat(resample(0.3, 8).getLast()).isNotEqualTo(resample(0.3, 7).getLast());
    assertThat(resample(0, 7)).isEqualTo(sequences);
  }

  /// Tokens drawn from a prediction p have a mean surprise of its entropy, and are its likeliest
  /// token as often as that one's probability says. Neither holds for the true text or for tokens
  /// that stand a place beside their own.
  @Test
  void tokensFollowThePredictionAfterTheTrueText() {
    List<int[]> drawn = resample(1, 7);
    double surprise = 0;
    double entropy = 0;
    double hits = 0;
    double likeliest = 0;
    int count = 0;
    try (StreamingPass pass = new StreamingPass(backend, model, sequences.size(), LENGTH);
        LanguageHead head = new LanguageHead(backend, model, Residence.F32)) {
      pass.embed(sequences);
      for (int layer = 0; layer < model.config().layers(); layer++) {
        pass.block(layer, StreamingPass.LayerTap.NONE);
      }
      for (int s = 0; s < sequences.size(); s++) {
        Tensor logits = head.logits(pass.sequence(s, s + 1));
        backend.sync();
        for (int t = 0; t + 1 < LENGTH; t++) {
          double[] p = softmax(logits.rows(t, t + 1).toFloats());
          int token = drawn.get(s)[t + 1];
          surprise -= Math.log(p[token]);
          double top = Arrays.stream(p).max().orElseThrow();
          entropy -= Arrays.stream(p).filter(x -> x > 0).map(x -> x * Math.log(x)).sum();
          hits += p[token] == top ? 1 : 0;
          likeliest += top;
          count++;
        }
      }
    }
    // Some five standard deviations of the mean.
    assertThat(surprise / count).isCloseTo(entropy / count, within(0.2));
    assertThat(hits / count).isCloseTo(likeliest / count, within(0.05));
  }

  private static double[] softmax(float[] logits) {
    double[] p = new double[logits.length];
    double most = Double.NEGATIVE_INFINITY;
    for (float x : logits) {
      most = Math.max(most, x);
    }
    double sum = 0;
    for (int i = 0; i < p.length; i++) {
      p[i] = Math.exp(logits[i] - most);
      sum += p[i];
    }
    for (int i = 0; i < p.length; i++) {
      p[i] /= sum;
    }
    return p;
  }
}
