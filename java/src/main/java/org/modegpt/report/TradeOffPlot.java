package org.modegpt.report;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;

/// Size against perplexity as an SVG drawing that opens anywhere: one point per model, joined in
/// the order of size, perplexity on a logarithmic scale.
public final class TradeOffPlot {
  private static final int WIDTH = 640;
  private static final int HEIGHT = 400;
  private static final int LEFT = 70;
  private static final int RIGHT = 30;
  private static final int TOP = 40;
  private static final int BOTTOM = 50;
  private static final int TICKS = 5;

  /// @param size parameters of the model
  public record Point(String label, double size, double perplexity) {}

  private final List<Point> points;
  private final double smallest;
  private final double largest;
  private final double lowest;
  private final double highest;

  private TradeOffPlot(List<Point> points) {
    this.points = points.stream().sorted(Comparator.comparingDouble(Point::size)).toList();
    double margin = 0.05 * (this.points.getLast().size - this.points.getFirst().size);
    this.smallest = this.points.getFirst().size - margin;
    this.largest = this.points.getLast().size + Math.max(margin, 1);
    this.lowest = points.stream().mapToDouble(p -> Math.log(p.perplexity)).min().orElseThrow();
    this.highest =
        lowest
            + Math.max(
                1e-3, max(points.stream().map(p -> Math.log(p.perplexity)).toList()) - lowest);
  }

  private static double max(List<Double> values) {
    return values.stream().mapToDouble(Double::doubleValue).max().orElseThrow();
  }

  /// @param points at least one, with finite positive perplexities
  public static String svg(String title, List<Point> points) {
    return new TradeOffPlot(points).draw(title);
  }

  private String draw(String title) {
    List<String> parts = new ArrayList<>();
    parts.add(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">"
            .formatted(WIDTH, HEIGHT));
    parts.add("<rect width=\"100%\" height=\"100%\" fill=\"white\"/>");
    parts.add(text(WIDTH / 2.0, 22, "middle", title));
    parts.add(text(WIDTH / 2.0, HEIGHT - 10, "middle", "parameters (millions)"));
    for (int i = 0; i <= TICKS; i++) {
      double size = smallest + (largest - smallest) * i / TICKS;
      double log = lowest + (highest - lowest) * i / TICKS;
      parts.add(line(LEFT, y(log), WIDTH - RIGHT, y(log), "#ddd"));
      parts.add(text(LEFT - 8, y(log) + 4, "end", "%.1f".formatted(Math.exp(log))));
      parts.add(text(x(size), HEIGHT - BOTTOM + 18, "middle", "%.1f".formatted(size / 1e6)));
    }
    parts.add(text(LEFT, TOP - 6, "end", "perplexity"));
    for (int i = 1; i < points.size(); i++) {
      Point a = points.get(i - 1);
      Point b = points.get(i);
      parts.add(
          line(x(a.size), y(Math.log(a.perplexity)), x(b.size), y(Math.log(b.perplexity)), "#27c"));
    }
    for (Point p : points) {
      double x = x(p.size);
      double y = y(Math.log(p.perplexity));
      parts.add(
          String.format(
              Locale.ROOT, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"#27c\"/>", x, y));
      parts.add(
          text(
              x,
              y - 8,
              "middle",
              p.label + ": " + String.format(Locale.ROOT, "%.2f", p.perplexity)));
    }
    parts.add("</svg>");
    return String.join("\n", parts) + "\n";
  }

  private double x(double size) {
    return LEFT + (WIDTH - LEFT - RIGHT) * (size - smallest) / (largest - smallest);
  }

  private double y(double log) {
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (log - lowest) / (highest - lowest);
  }

  private static String line(double x1, double y1, double x2, double y2, String colour) {
    return String.format(
        Locale.ROOT,
        "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>",
        x1,
        y1,
        x2,
        y2,
        colour);
  }

  private static String text(double x, double y, String anchor, String text) {
    String safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;");
    return String.format(
        Locale.ROOT,
        "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>",
        x,
        y,
        anchor,
        safe);
  }
}
