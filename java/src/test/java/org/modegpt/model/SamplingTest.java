package org.modegpt.model;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SamplingTest {
  private static final int VOCABULARY = 500;

  /// Draws as the definition says it: all tokens put in order, then cut.
  private static int byDefinition(Sampling sampling, float[] logits, double draw) {
    List<Integer> order =
        IntStream.range(0, logits.length)
            .boxed()
            .sorted(Comparator.comparingDouble(i -> -logits[i]))
            .limit(sampling.topK() == 0 ? logits.length : sampling.topK())
            .toList();
    double max = logits[order.getFirst()];
    double[] weights =
        order.stream()
            .mapToDouble(i -> Math.exp((logits[i] - max) / sampling.temperature()))
            .toArray();
    double cut =
        sampling.topP() * IntStream.range(0, weights.length).mapToDouble(i -> weights[i]).sum();
    int count = 0;
    double kept = 0;
    while (count < weights.length && (count == 0 || kept < cut)) {
      kept += weights[count++];
    }
    double left = draw * kept;
    for (int i = 0; i < count; i++) {
      left -= weights[i];
      if (left < 0) {
        return order.get(i);
      }
    }
    return order.get(count - 1);
  }

  @ParameterizedTest
  @CsvSource({
    "1, 0, 0.9",
    "0.7, 40, 1",
    "0.8, 40, 0.95",
    "3, 0, 0.99",
    "0.05, 7, 0.5",
    "1, 1, 1",
    "100, 0, 0.3"
  })
  void drawsFromTheMostLikelyTokens(float temperature, int topK, float topP) {
    Sampling sampling = new Sampling(temperature, topK, topP, 1, 3);
    Random random = new Random(5);
    SplittableRandom draws = sampling.random();
    SplittableRandom same = sampling.random();
    for (int i = 0; i < 200; i++) {
      float[] logits = new float[VOCABULARY];
      for (int j = 0; j < logits.length; j++) {
        // Few levels, so that tokens tie.
        logits[j] = i % 2 == 0 ? random.nextInt(-30, 10) : (float) (4 * random.nextGaussian());
      }
      int expected = byDefinition(sampling, logits, same.nextDouble());
      assertThat(sampling.next(logits, List.of(), draws)).isEqualTo(expected);
    }
  }

  @Test
  void withoutACutEveryTokenComesAsOftenAsItsProbabilitySays() {
    Sampling sampling = new Sampling(2, 0, 1, 1, 9);
    SplittableRandom draws = sampling.random();
    float[] logits = {1, Float.NEGATIVE_INFINITY, 3, -1};
    double[] expected = new double[logits.length];
    double sum = 0;
    for (int i = 0; i < logits.length; i++) {
      expected[i] = Math.exp(logits[i] / 2);
      sum += expected[i];
    }
    int[] seen = new int[logits.length];
    int count = 20_000;
    for (int i = 0; i < count; i++) {
      seen[sampling.next(logits.clone(), List.of(), draws)]++;
    }
    for (int i = 0; i < logits.length; i++) {
      assertThat((double) seen[i] / count)
          .isBetween(expected[i] / sum - 0.015, expected[i] / sum + 0.015);
    }
  }

  @Test
  void tokensWithoutProbabilityAreNotTaken() {
    float[] logits = new float[50];
    Arrays.fill(logits, Float.NEGATIVE_INFINITY);
    logits[7] = 2;
    for (Sampling sampling : List.of(new Sampling(1, 5, 1, 1, 0), new Sampling(1, 0, 0.9f, 1, 0))) {
      assertThat(sampling.next(logits.clone(), List.of(), sampling.random())).isEqualTo(7);
    }
  }

  @Test
  void promptsAmongOthersHaveSeedsOfTheirOwn() {
    Sampling sampling = new Sampling(1, 0, 1, 1, 9);
    assertThat(sampling.ofPrompt(0)).isEqualTo(sampling);
    assertThat(sampling.ofPrompt(1)).isNotEqualTo(sampling);
  }
}
