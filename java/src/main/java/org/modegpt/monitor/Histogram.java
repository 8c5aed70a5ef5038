package org.modegpt.monitor;

import java.util.concurrent.atomic.AtomicLongArray;

/// Counts of durations in buckets that grow by 4.4 %, from 1 ns to 18 minutes; safe for many
/// threads.
final class Histogram {
  private static final int STEPS = 16;
  private static final int BUCKETS = 40 * STEPS;

  private final AtomicLongArray counts = new AtomicLongArray(BUCKETS);

  void add(long nanos) {
    int exponent = 63 - Long.numberOfLeadingZeros(Math.max(1, nanos));
    double mantissa = Math.scalb((double) nanos, -exponent);
    int step = (int) ((mantissa - 1) * STEPS);
    counts.incrementAndGet(
        Math.min(BUCKETS - 1, exponent * STEPS + Math.clamp(step, 0, STEPS - 1)));
  }

  /// The duration in seconds that the share `q` of all does not exceed; NaN of none.
  double quantile(double q) {
    long total = 0;
    for (int i = 0; i < BUCKETS; i++) {
      total += counts.get(i);
    }
    long wanted = (long) Math.ceil(q * total);
    long seen = 0;
    for (int i = 0; total > 0 && i < BUCKETS; i++) {
      seen += counts.get(i);
      if (seen >= wanted) {
        return Math.scalb(1 + (i % STEPS + 0.5) / STEPS, i / STEPS) / 1e9;
      }
    }
    return Double.NaN;
  }
}
