package org.modegpt.advise;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.modegpt.runs.Robust;

/// A line through points that outliers do not move: the median of all slopes (Theil and Sen), and
/// the median of what is left. The band is twice the spread of the points around it.
record LineFit(double slope, double intercept, double spread, int points) {
  private static final double LEAST_BAND = 0.02;

  /// Null for fewer than two different `x`.
  static @Nullable LineFit of(List<double[]> points) {
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

  Estimate at(double x) {
    return Estimate.within(intercept + slope * x, Math.max(LEAST_BAND, 2 * spread));
  }
}
