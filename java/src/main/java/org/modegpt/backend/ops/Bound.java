package org.modegpt.backend.ops;

/// How far a result may be from the double-precision reference, and why.
///
/// @param deviceLimit the same for a back-end with its own memory, whose matrix units may split
///   float32 factors into several of fewer bits
public record Bound(Measure measure, double limit, double deviceLimit, String reason) {

  /// What an error is relative to.
  public enum Measure {
    /// Largest difference over the largest magnitude of the tensor.
    MAX,
    /// Largest difference over the sum of the magnitudes of the terms of that element, Σ|ab|.
    SUM
  }

  static final Bound EXACT =
      new Bound(Measure.MAX, 0, 0, "moves or converts values without arithmetic");

  static Bound max(double limit, String reason) {
    return new Bound(Measure.MAX, limit, limit, reason);
  }

  static Bound sum(double limit, String reason) {
    return new Bound(Measure.SUM, limit, limit, reason);
  }

  Bound onDevice(double other) {
    return new Bound(measure, limit, other, reason);
  }

  /// The error of `got` in this measure; NaN and infinite values must agree exactly.
  ///
  /// @param magnitudes Σ|ab| per element, for {@link Measure#SUM} only
  double error(double[] got, double[] want, double[] magnitudes) {
    double largest = 0;
    double worst = 0;
    double worstOfSum = 0;
    for (int i = 0; i < want.length; i++) {
      if (Double.compare(got[i], want[i]) == 0) {
        largest = Double.isFinite(want[i]) ? Math.max(largest, Math.abs(want[i])) : largest;
        continue;
      }
      double difference = Math.abs(got[i] - want[i]);
      if (!Double.isFinite(difference)) {
        return Double.POSITIVE_INFINITY;
      }
      worst = Math.max(worst, difference);
      largest = Math.max(largest, Math.abs(want[i]));
      if (measure == Measure.SUM && difference > 0) {
        worstOfSum = Math.max(worstOfSum, difference / magnitudes[i]);
      }
    }
    return switch (measure) {
      case MAX -> worst == 0 ? 0 : worst / largest;
      case SUM -> worstOfSum;
    };
  }
}
