package org.modegpt.runs;

import java.util.Arrays;

/// Statistics that a few outliers do not move.
public final class Robust {
  /// Makes the median absolute deviation an estimate of a normal distribution's standard deviation.
  private static final double NORMAL = 1.4826;

  private Robust() {}

  /// The median; NaN of nothing.
  public static double median(double... values) {
    if (values.length == 0) {
      return Double.NaN;
    }
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    int half = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  }

  /// The standard deviation as the median absolute deviation tells it.
  public static double deviation(double... values) {
    double centre = median(values);
    return NORMAL * median(Arrays.stream(values).map(v -> Math.abs(v - centre)).toArray());
  }
}
