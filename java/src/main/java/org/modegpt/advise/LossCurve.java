package org.modegpt.advise;

import java.util.Arrays;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/// The rise of the log-perplexity with the share removed, through measured points: 0 at 0, between
/// points a monotone cubic (Fritsch and Carlson, 1980), beyond the last the straight line of the
/// last two. The band comes from predicting each measured point without it.
final class LossCurve {
  /// Predictions are never called better than this, in log-perplexity.
  private static final double LEAST_BAND = 0.01;

  /// Half the band when nothing tells it, per unit of predicted rise.
  private static final double UNTESTED = 0.15;

  private final double[] x;
  private final double[] y;
  private final double[] slopes;
  private final double error;

  /// @param points share removed to rise of the log-perplexity; at least one
  LossCurve(SortedMap<Double, Double> points) {
    this(points, true);
  }

  private LossCurve(SortedMap<Double, Double> points, boolean tested) {
    SortedMap<Double, Double> all = new TreeMap<>(points);
    all.put(0.0, 0.0);
    if (points.size() == 1 && !points.containsKey(0.0)) {
      // One point tells the size of the loss; its shape is that of r / (1 - r).
      double r = points.firstKey();
      all.put(r / 2, points.get(r) * (r / 2 / (1 - r / 2)) / (r / (1 - r)));
    }
    x = all.keySet().stream().mapToDouble(Double::doubleValue).toArray();
    y = all.values().stream().mapToDouble(Double::doubleValue).toArray();
    slopes = slopes(x, y);
    error = tested ? leftOut(points) : Double.NaN;
  }

  /// The root mean square error of predicting each point from the others; NaN where too few.
  private static double leftOut(SortedMap<Double, Double> points) {
    double[] errors =
        points.entrySet().stream()
            .filter(p -> p.getKey() > 0 && points.size() > 2)
            .mapToDouble(p -> {
              SortedMap<Double, Double> others = new TreeMap<>(points);
              others.remove(p.getKey());
              double last = others.lastKey();
              return p.getKey() > last
                  ? Double.NaN
                  : new LossCurve(others, false).rise(p.getKey()) - p.getValue();
            })
            .filter(e -> !Double.isNaN(e))
            .toArray();
    return errors.length == 0
        ? Double.NaN
        : Math.sqrt(Arrays.stream(errors).map(e -> e * e).average().orElse(0));
  }

  private static double[] slopes(double[] x, double[] y) {
    int n = x.length;
    double[] d = new double[n - 1];
    Arrays.setAll(d, i -> (y[i + 1] - y[i]) / (x[i + 1] - x[i]));
    double[] m = new double[n];
    m[0] = d[0];
    m[n - 1] = d[n - 2];
    for (int i = 1; i < n - 1; i++) {
      double left = x[i] - x[i - 1];
      double right = x[i + 1] - x[i];
      double w1 = 2 * right + left;
      double w2 = right + 2 * left;
      m[i] = d[i - 1] * d[i] <= 0 ? 0 : (w1 + w2) / (w1 / d[i - 1] + w2 / d[i]);
    }
    if (n > 2) {
      m[0] = end(d[0], d[1], x[1] - x[0], x[2] - x[1]);
      m[n - 1] = end(d[n - 2], d[n - 3], x[n - 1] - x[n - 2], x[n - 2] - x[n - 3]);
    }
    return m;
  }

  /// Three-point slope at an end, kept monotone.
  private static double end(double near, double next, double nearLength, double nextLength) {
    double slope =
        ((2 * nearLength + nextLength) * near - nearLength * next) / (nearLength + nextLength);
    if (slope * near <= 0) {
      return 0;
    }
    return near * next < 0 && Math.abs(slope) > 3 * Math.abs(near) ? 3 * near : slope;
  }

  /// Rise of the log-perplexity at a share removed.
  double rise(double removed) {
    int last = x.length - 1;
    if (removed >= x[last]) {
      double slope = (y[last] - y[last - 1]) / (x[last] - x[last - 1]);
      return y[last] + slope * (removed - x[last]);
    }
    int i = 0;
    while (removed > x[i + 1]) {
      i++;
    }
    double h = x[i + 1] - x[i];
    double t = (removed - x[i]) / h;
    double u = 1 - t;
    return u * u * ((1 + 2 * t) * y[i] + t * h * slopes[i])
        + t * t * ((3 - 2 * t) * y[i + 1] - u * h * slopes[i + 1]);
  }

  /// Half the width of the band around [#rise], two standard errors.
  double band(double removed) {
    double rise = Math.max(0, rise(removed));
    double tested = Double.isNaN(error) ? UNTESTED * rise : 2 * error;
    double beyond = Math.max(0, rise - y[x.length - 1]) / 2;
    return Math.max(LEAST_BAND, tested) + beyond;
  }

  /// Whether a point was measured within half a percent of this share.
  boolean isMeasured(double removed) {
    return Arrays.stream(x).anyMatch(v -> v > 0 && Math.abs(v - removed) < 0.005);
  }

  static SortedMap<Double, Double> points(Map<Double, Double> perplexities, double base) {
    SortedMap<Double, Double> points = new TreeMap<>();
    perplexities.forEach((r, p) -> points.put(r, Math.log(p / base)));
    return points;
  }
}
