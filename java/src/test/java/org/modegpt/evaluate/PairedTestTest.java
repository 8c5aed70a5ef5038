package org.modegpt.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.Collections;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.modegpt.evaluate.PairedTest.Verdict;
import org.modegpt.tasks.Metric.Aggregation;

/// Statistics against textbook values.
class PairedTestTest {
  private static Measure measure(Aggregation aggregation, double... sums) {
    double[] weights = new double[sums.length];
    Arrays.fill(weights, 1);
    return new Measure(
        "acc", "none", true, aggregation, sums, weights, Collections.nCopies(sums.length, ""));
  }

  @Test
  void standardErrorIsThatOfAMean() {
    Measure m = measure(Aggregation.MEAN, 1, 0, 0, 1, 1);
    assertThat(m.value()).isEqualTo(0.6);
    // Sample standard deviation over sqrt(n), as lm-evaluation-harness computes it.
    assertThat(m.standardError()).isCloseTo(Math.sqrt(1.2 / 4) / Math.sqrt(5), within(1e-12));
    assertThat(measure(Aggregation.MEAN, 1).standardError()).isNaN();
  }

  @Test
  void perplexityOfWeightedItems() {
    Measure m =
        new Measure(
            "word_perplexity",
            "none",
            false,
            Aggregation.EXP,
            new double[] {4, 2},
            new double[] {2, 1},
            Collections.nCopies(2, ""));
    assertThat(m.value()).isCloseTo(Math.exp(2), within(1e-12));
    assertThat(m.standardError()).isZero();
  }

  @Test
  void mcNemarExact() {
    // R: mcnemar.exact / binom.test(c(2, 10)), binom.test(c(5, 5)), binom.test(c(0, 8))
    assertThat(PairedTest.mcNemar(2, 10)).isCloseTo(0.03857422, within(1e-8));
    assertThat(PairedTest.mcNemar(5, 5)).isEqualTo(1);
    assertThat(PairedTest.mcNemar(8, 0)).isCloseTo(0.0078125, within(1e-10));
    assertThat(PairedTest.mcNemar(0, 0)).isEqualTo(1);
  }

  @Test
  void normalTail() {
    assertThat(PairedTest.upperTail(1.959964)).isCloseTo(0.025, within(1e-6));
    assertThat(PairedTest.upperTail(0)).isCloseTo(0.5, within(1e-6));
  }

  @Test
  void holm() {
    // R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assertThat(PairedTest.holm(new double[] {0.01, 0.04, Double.NaN, 0.03, 0.005}))
        .containsExactly(new double[] {0.03, 0.06, Double.NaN, 0.06, 0.02}, within(1e-12));
  }

  @Test
  void pairedDifference() {
    Random random = new Random(1);
    double[] base = new double[400];
    double[] worse = new double[400];
    for (int i = 0; i < base.length; i++) {
      base[i] = random.nextDouble() < 0.6 ? 1 : 0;
      worse[i] = base[i] == 1 && random.nextDouble() < 0.1 ? 0 : base[i];
    }
    Measure a = measure(Aggregation.MEAN, worse);
    Measure b = measure(Aggregation.MEAN, base);
    PairedTest test = PairedTest.of(a, b);
    assertThat(test.gained()).isZero();
    assertThat(test.difference()).isCloseTo(-test.lost() / 400.0, within(1e-12));
    // The paired error is far below that of two independent samples.
    assertThat(test.standardError())
        .isLessThan(Math.hypot(a.standardError(), b.standardError()) / 2);
    assertThat(test.low())
        .isCloseTo(test.difference() - 1.96 * test.standardError(), within(0.005));
    assertThat(test.high())
        .isCloseTo(test.difference() + 1.96 * test.standardError(), within(0.005));
    assertThat(test.verdict(test.p(), true, 0.05)).isEqualTo(Verdict.WORSE);
    assertThat(test.verdict(test.p(), false, 0.05)).isEqualTo(Verdict.BETTER);
    assertThat(PairedTest.of(b, b).verdict(1, true, 0.05)).isEqualTo(Verdict.NO_DIFFERENCE);
    assertThat(PairedTest.of(b, b).p()).isEqualTo(1);
  }
}
