package org.modegpt.advise;

import java.util.Arrays;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/// The rise of the log-perplexity with the share removed, through measured points. Between two
/// points, and beyond the outermost, it grows by a power of the share: a straight line between
/// logarithms, which never falls where the points rise. The band comes from predicting each
/// measured point without it.
final class LossCurve {
  /// Predictions are never called better than this, in log-perplexity.
  private static final double LEAST_BAND = 0.01;

  /// Half the band when nothing tells it, per unit of predicted rise.
  private static final double UNTESTED = 0.25;

  /// The power where one point alone is known; 1.15 to 1.4 were seen.
  private static final double POWER = 1.25;

  /// A smaller rise, or a fall, counts as this, which has a logarithm.
  private static final double LEAST_RISE = 1e-3;

  private final double[] removed;
  private final double[] rises;
  private final double error;

  /// @param points share removed (more than 0) to rise of the log-perplexity; at least one
  LossCurve(SortedMap<Double, Double> points) {
    this(points, true);
  }

  private LossCurve(SortedMap<Double, Double> points, boolean tested) {
    removed = points.keySet().stream().mapToDouble(Double::doubleValue).toArray();
    rises = points.values().stream().mapToDouble(y -> Math.max(LEAST_RISE, y)).toArray();
    error = tested ? leftOut(points) : Double.NaN;
  }

  /// The root mean square error of predicting each point but the last from the others; NaN where
  /// too few.
  private static double leftOut(SortedMap<Double, Double> points) {
    return points.size() < 3
        ? Double.NaN
        : Math.sqrt(
            points.headMap(points.lastKey()).entrySet().stream()
                .mapToDouble(p -> {
                  SortedMap<Double, Double> others = new TreeMap<>(points);
                  others.remove(p.getKey());
                  double off = new LossCurve(others, false).rise(p.getKey()) - p.getValue();
                  return off * off;
                })
                .average()
                .orElse(0));
  }

  /// Rise of the log-perplexity at a share removed.
  double rise(double share) {
    if (share <= 0) {
      return 0;
    }
    // The point at or below the share, or else the first.
    int i = removed.length - 1;
    while (i > 0 && removed[i] > share) {
      i--;
    }
    return rises[i] * Math.pow(share / removed[i], power(Math.min(i, removed.length - 2)));
  }

  /// The power by which the rise grows from a point to the next.
  private double power(int i) {
    return i < 0
        ? POWER
        : Math.log(rises[i + 1] / rises[i]) / Math.log(removed[i + 1] / removed[i]);
  }

  /// Half the width of the band around [#rise], two standard errors.
  double band(double share) {
    if (isMeasured(share)) {
      return LEAST_BAND;
    }
    double rise = rise(share);
    double tested = Double.isNaN(error) ? UNTESTED * rise : 2 * error;
    double beyond = Math.max(0, rise - rises[rises.length - 1]) / 2;
    return Math.max(LEAST_BAND, tested) + beyond;
  }

  /// Whether a point was measured within half a percent of this share.
  boolean isMeasured(double share) {
    return Arrays.stream(removed).anyMatch(v -> Math.abs(v - share) < 0.005);
  }

  static SortedMap<Double, Double> points(Map<Double, Double> perplexities, double base) {
    SortedMap<Double, Double> points = new TreeMap<>();
    perplexities.forEach((r, p) -> {
      if (r > 0) {
        points.put(r, Math.log(p / base));
      }
    });
    return points;
  }
}
