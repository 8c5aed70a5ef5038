package org.modegpt.advise;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.modegpt.runs.Robust;

/// A line through points that outliers do not move: the median of all slopes (Theil and Sen), and
/// the median of what is left. Points of the same `x` are repetitions.
///
/// @param error one standard error of predicting a further point, as a share of it: how far points
///   lie around the line, or how far off the points of one `x` were predicted from the others
/// @param points how many points it rests on
record LineFit(double slope, double intercept, double error, int points) {
  private static final double LEAST_BAND = 0.02;

  /// The error of a line that no third `x` tests.
  private static final double UNTESTED = 0.05;

  /// Null for fewer than two different `x`.
  static @Nullable LineFit of(List<double[]> points) {
    LineFit fit = through(points);
    return fit == null
        ? null
        : new LineFit(
            fit.slope, fit.intercept, Math.max(fit.error, leftOut(points)), points.size());
  }

  private static @Nullable LineFit through(List<double[]> points) {
    List<Double> slopes = new ArrayList<>();
    for (int i = 0; i < points.size(); i++) {
      for (int j = 0; j < i; j++) {
        double dx = points.get(i)[0] - points.get(j)[0];
        if (dx != 0) {
          slopes.add((points.get(i)[1] - points.get(j)[1]) / dx);
        }
      }
    }
    if (slopes.isEmpty()) {
      return null;
    }
    double slope = Robust.median(slopes.stream().mapToDouble(Double::doubleValue).toArray());
    double intercept =
        Robust.median(points.stream().mapToDouble(p -> p[1] - slope * p[0]).toArray());
    double spread =
        Robust.deviation(
            points.stream().mapToDouble(p -> p[1] / (intercept + slope * p[0])).toArray());
    return new LineFit(slope, intercept, spread, points.size());
  }

  /// The root mean square error of predicting the points of each `x`, by their median, from all
  /// others.
  private static double leftOut(List<double[]> points) {
    double[] errors =
        points.stream()
            .mapToDouble(p -> p[0])
            .distinct()
            .map(x -> {
              LineFit others = through(points.stream().filter(p -> p[0] != x).toList());
              double middle =
                  Robust.median(
                      points.stream().filter(p -> p[0] == x).mapToDouble(p -> p[1]).toArray());
              return others == null
                  ? Double.NaN
                  : Math.abs(others.intercept + others.slope * x - middle) / middle;
            })
            .filter(e -> !Double.isNaN(e))
            .toArray();
    return errors.length == 0
        ? UNTESTED
        : Math.sqrt(Arrays.stream(errors).map(e -> e * e).average().orElse(0));
  }

  Estimate at(double x) {
    return Estimate.within(intercept + slope * x, Math.max(LEAST_BAND, 2 * error));
  }
}
