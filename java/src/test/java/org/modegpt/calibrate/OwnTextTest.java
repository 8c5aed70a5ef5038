package org.modegpt.calibrate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.modegpt.Progress;
import org.modegpt.TestData;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.model.DenseBlocks;
import org.modegpt.model.LanguageHead;
import org.modegpt.model.SpanWriter;
import org.modegpt.model.StreamingPass;
import org.modegpt.model.Transformer;
import org.modegpt.model.Transformer.Residence;
import org.modegpt.tensor.Tensor;

class OwnTextTest {
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

  private static List<int[]> mixed(double share, long seed) {
    try (DenseBlocks dense = new DenseBlocks(backend, model)) {
      return new OwnText(model, backend, dense, Progress.SILENT).mixed(sequences, share, seed);
    }
  }

  @Test
  void chosenOnesComeLastAndTheOthersStay() {
    List<int[]> drawn = mixed(1 / 3.0, 7);
    List<Integer> stay = List.of(0, 1, 3, 4, 6, 7);
    for (int i = 0; i < stay.size(); i++) {
      assertThat(drawn.get(i)).isEqualTo(sequences.get(stay.get(i)));
    }
    Set<Integer> kinds =
        sequences.stream().flatMapToInt(IntStream::of).boxed().collect(Collectors.toSet());
    List<int[]> own = drawn.subList(6, 9);
    assertThat(own).allSatisfy(text -> assertThat(text).hasSize(LENGTH));
    assertThat(own.getFirst()[0]).isEqualTo(sequences.get(2)[0]);
    for (int[] spans : own.subList(1, 3)) {
      for (int at = 0; at < LENGTH; at += OwnText.SPAN) {
        assertThat(kinds).contains(spans[at]);
      }
    }
  }

  @Test
  void theSeedDecides() {
    assertThat(mixed(0.3, 7)).usingRecursiveComparison().isEqualTo(mixed(0.3, 7));
    assertThat(mixed(0.3, 8).getLast()).isNotEqualTo(mixed(0.3, 7).getLast());
    assertThat(mixed(0, 7)).isEqualTo(sequences);
  }

  @Test
  void spansAreWrittenByThePrediction() {
    int[] first = Arrays.copyOf(sequences.getFirst(), 70);
    List<int[]> spans;
    try (DenseBlocks dense = new DenseBlocks(backend, model);
        SpanWriter writer = new SpanWriter(backend, model, dense)) {
      spans = List.of(writer.write(first, OwnText.SPAN, 7, Progress.SILENT));
    }
    assertThat(spans)
        .extracting(span -> span[0])
        .containsExactlyElementsOf(IntStream.of(first).boxed().toList());
    assertDrawn(spans, spans);
  }

  @Test
  void tokensAreDrawnAnewAfterTheTextBeforeThem() {
    try (DenseBlocks dense = new DenseBlocks(backend, model)) {
      assertDrawn(
          sequences, new OwnText(model, backend, dense, Progress.SILENT).redrawn(sequences, 7));
    }
  }

  /// Tokens drawn from a prediction p have a mean surprise of its entropy, and are its likeliest
  /// token as often as that one's probability says. Neither holds for other text or for tokens that
  /// stand a place beside their own.
  ///
  /// @param drawn tokens that follow the predictions after the texts
  private static void assertDrawn(List<int[]> texts, List<int[]> drawn) {
    int length = texts.getFirst().length;
    double surprise = 0;
    double entropy = 0;
    double hits = 0;
    double likeliest = 0;
    int count = 0;
    try (StreamingPass pass = new StreamingPass(backend, model, texts.size(), length);
        LanguageHead head = new LanguageHead(backend, model, Residence.F32)) {
      pass.embed(texts);
      for (int layer = 0; layer < model.config().layers(); layer++) {
        pass.block(layer, StreamingPass.LayerTap.NONE);
      }
      for (int s = 0; s < texts.size(); s++) {
        Tensor logits = head.logits(pass.sequence(s, s + 1));
        backend.sync();
        for (int t = 0; t + 1 < length; t++) {
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
