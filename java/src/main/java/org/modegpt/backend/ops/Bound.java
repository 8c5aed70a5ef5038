package org.modegpt.backend.ops;

import org.modegpt.backend.Backend;
import org.modegpt.backend.Products;

/// How far a result may be from the double-precision reference, and why.
///
/// @param onHost for float32 products on a back-end that works in host memory
/// @param onDevice the same for a back-end with its own memory, whose matrix units may split
///   float32 factors into several of fewer bits
/// @param factors of a product that {@link Products} other than float32 round
/// @param fast where products are bfloat16 and the operation has a faster way for them; or 0
public record Bound(
    Measure measure, double onHost, double onDevice, int factors, double fast, String reason) {

  /// What an error is relative to.
  public enum Measure {
    /// Largest difference over the largest magnitude of the tensor.
    MAX,
    /// Largest difference over the sum of the magnitudes of the terms of that element, Σ|ab|.
    SUM
  }

  static final Bound EXACT =
      new Bound(Measure.MAX, 0, 0, 0, 0, "moves or converts values without arithmetic");

  static Bound max(double limit, String reason) {
    return new Bound(Measure.MAX, limit, limit, 0, 0, reason);
  }

  static Bound sum(double limit, String reason) {
    return new Bound(Measure.SUM, limit, limit, 0, 0, reason);
  }

  Bound onDevice(double other) {
    return new Bound(measure, onHost, other, factors, fast, reason);
  }

  /// Of a product of two factors that both may be rounded.
  Bound rounded() {
    return new Bound(measure, onHost, onDevice, 2, fast, reason);
  }

  Bound fast(double other) {
    return new Bound(measure, onHost, onDevice, factors, other, reason);
  }

  /// The bound for `tested` as it multiplies.
  double limit(Backend tested) {
    Products products = tested.products();
    double exact = tested.unifiedMemory() ? onHost : onDevice;
    double rounding = factors * products.rounding();
    return Math.max(exact, products == Products.BF16 ? Math.max(rounding, fast) : rounding);
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
