package org.modegpt.compress;

import java.util.ArrayList;
import java.util.List;

/// What removing shares of one module costs, as points of rising share. Costs are made monotone and
/// convex (the lower hull of the points), so that the cheapest plan under a budget is found by
/// taking segments in the order of their slope.
///
/// @param parameters of the whole module
public record RemovalCurve(long parameters, List<Point> points) {

  /// @param removed share of the module, in `[0, 1]`
  /// @param cost of having removed it, in nats per token
  public record Point(double removed, double cost) {}

  /// A straight piece: from `removed` on, `length` of the module costs `slope` nats per parameter.
  public record Segment(double removed, double length, double slope) {}

  public RemovalCurve {
    points = List.copyOf(points);
    for (int i = 1; i < points.size(); i++) {
      if (!(points.get(i).removed() > points.get(i - 1).removed())) {
        throw new IllegalArgumentException("points of a removal curve must rise: " + points);
      }
    }
  }

  double first() {
    return points.getFirst().removed();
  }

  /// The pieces of the lower convex hull, in order; a cost that is not a number counts as very
  /// high.
  List<Segment> segments() {
    List<Point> hull = new ArrayList<>();
    double floor = Double.NEGATIVE_INFINITY;
    for (Point raw : points) {
      floor = Math.max(floor, Double.isFinite(raw.cost()) ? raw.cost() : 1e6);
      Point point = new Point(raw.removed(), floor);
      while (hull.size() >= 2
          && slope(hull.get(hull.size() - 2), hull.getLast()) >= slope(hull.getLast(), point)) {
        hull.removeLast();
      }
      hull.add(point);
    }
    List<Segment> segments = new ArrayList<>();
    for (int i = 1; i < hull.size(); i++) {
      Point from = hull.get(i - 1);
      double length = hull.get(i).removed() - from.removed();
      segments.add(new Segment(from.removed(), length, slope(from, hull.get(i)) / parameters));
    }
    return segments;
  }

  /// The cost of removing a share, on the hull; beyond the last point its slope goes on.
  double cost(double removed) {
    double cost = points.getFirst().cost();
    for (Segment segment : segments()) {
      boolean last = segment.removed() + segment.length() >= points.getLast().removed();
      double within = removed - segment.removed();
      if (within > 0) {
        cost += (last ? within : Math.min(within, segment.length())) * segment.slope() * parameters;
      }
    }
    return cost;
  }

  private static double slope(Point a, Point b) {
    return (b.cost() - a.cost()) / (b.removed() - a.removed());
  }
}
