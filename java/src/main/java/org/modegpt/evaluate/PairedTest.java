package org.modegpt.evaluate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;

/// A measure of a model against the same measure of its baseline, item by item.
///
/// @param difference model minus baseline
/// @param standardError of the difference, paired over items
/// @param low lower end of the 95 % confidence interval of the difference
/// @param high its upper end
/// @param p two-sided, of "no difference": McNemar's exact test for right-or-wrong items, else from
///   the paired standard error
/// @param lost items that only the baseline had right; 0 for other measures
/// @param gained items that only the model has right
public record PairedTest(
    double difference,
    double standardError,
    double low,
    double high,
    double p,
    int lost,
    int gained) {

  /// What a comparison shows.
  public enum Verdict {
    WORSE("worse"),
    NO_DIFFERENCE("no difference shown"),
    BETTER("better");

    private final String label;

    Verdict(String label) {
      this.label = label;
    }

    public String label() {
      return label;
    }
  }

  private static final int RESAMPLES = 2000;
  private static final double TAIL = 0.025;

  /// Compares measures of the same items.
  public static PairedTest of(Measure model, Measure baseline) {
    if (model.items() != baseline.items()) {
      throw new IllegalArgumentException(
          model.items() + " items against " + baseline.items() + " cannot be paired");
    }
    double difference = model.value() - baseline.value();
    double[] a = model.influence();
    double[] b = baseline.influence();
    double error =
        Measure.standardError(IntStream.range(0, a.length).mapToDouble(i -> a[i] - b[i]).toArray());
    double[] resampled = bootstrap(model, baseline);
    int lost = 0;
    int gained = 0;
    boolean binary = model.binary() && baseline.binary();
    for (int i = 0; binary && i < model.items(); i++) {
      lost += model.sums()[i] < baseline.sums()[i] ? 1 : 0;
      gained += model.sums()[i] > baseline.sums()[i] ? 1 : 0;
    }
    double p = binary ? mcNemar(lost, gained) : normal(difference, error);
    return new PairedTest(
        difference,
        error,
        quantile(resampled, TAIL),
        quantile(resampled, 1 - TAIL),
        p,
        lost,
        gained);
  }

  /// Differences on items drawn with replacement, ascending; the same draws in every run.
  private static double[] bootstrap(Measure model, Measure baseline) {
    SplittableRandom random = new SplittableRandom(20_240_816);
    int n = model.items();
    double[] differences = new double[RESAMPLES];
    int[] drawn = new int[n];
    for (int r = 0; r < RESAMPLES; r++) {
      for (int i = 0; i < n; i++) {
        drawn[i] = random.nextInt(n);
      }
      differences[r] = model.value(drawn) - baseline.value(drawn);
    }
    Arrays.sort(differences);
    return differences;
  }

  private static double quantile(double[] ascending, double q) {
    double at = q * (ascending.length - 1);
    int below = (int) at;
    int above = Math.min(below + 1, ascending.length - 1);
    return ascending[below] + (at - below) * (ascending[above] - ascending[below]);
  }

  /// Exact two-sided binomial test that flips are as likely in both directions.
  static double mcNemar(int lost, int gained) {
    int n = lost + gained;
    double sum = 0;
    for (int k = 0; k <= Math.min(lost, gained); k++) {
      sum += Math.exp(logChoose(n, k) - n * Math.log(2));
    }
    return Math.min(1, 2 * sum);
  }

  private static double logChoose(int n, int k) {
    double sum = 0;
    for (int i = 1; i <= k; i++) {
      sum += Math.log(n - k + i) - Math.log(i);
    }
    return sum;
  }

  private static double normal(double difference, double error) {
    if (difference == 0) {
      return 1;
    }
    return Double.isNaN(error) ? Double.NaN : upperTail(Math.abs(difference) / error) * 2;
  }

  /// Upper tail of the standard normal distribution: Abramowitz and Stegun 26.2.17, absolute error
  /// below 7.5e-8.
  static double upperTail(double z) {
    double t = 1 / (1 + 0.2316419 * z);
    double polynomial =
        t
            * (0.319381530
                + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
    return Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI) * polynomial;
  }

  /// p-values corrected for being several (Holm 1979), in the given order; NaN stays NaN and is not
  /// counted.
  public static double[] holm(double[] p) {
    List<Integer> order = new ArrayList<>();
    for (int i = 0; i < p.length; i++) {
      if (!Double.isNaN(p[i])) {
        order.add(i);
      }
    }
    order.sort(Comparator.comparingDouble(i -> p[i]));
    double[] corrected = new double[p.length];
    Arrays.fill(corrected, Double.NaN);
    double running = 0;
    for (int rank = 0; rank < order.size(); rank++) {
      running = Math.max(running, Math.min(1, (order.size() - rank) * p[order.get(rank)]));
      corrected[order.get(rank)] = running;
    }
    return corrected;
  }

  /// @param corrected p-value after {@link #holm}
  public Verdict verdict(double corrected, boolean higherIsBetter, double level) {
    if (!(corrected < level) || difference == 0) {
      return Verdict.NO_DIFFERENCE;
    }
    return difference > 0 == higherIsBetter ? Verdict.BETTER : Verdict.WORSE;
  }
}
