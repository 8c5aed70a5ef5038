package org.modegpt.evaluate;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.modegpt.tasks.Metric.Aggregation;

/// A metric of a task with what every item contributes.
///
/// @param metric name, such as `acc`
/// @param filter how the answer was taken from the text; `none` for likelihoods
/// @param sums per item; the result is `aggregation(sum of sums / sum of weights)`
/// @param weights per item
/// @param groups subgroup of each item; empty texts for none
public record Measure(
    String metric,
    String filter,
    boolean higherIsBetter,
    Aggregation aggregation,
    double[] sums,
    double[] weights,
    List<String> groups) {

  /// `acc,none`, as lm-evaluation-harness keys its results.
  public String key() {
    return metric + "," + filter;
  }

  /// For people: the filter only where there is one.
  public String label() {
    return filter.equals("none") ? metric : metric + " (" + filter + ")";
  }

  public int items() {
    return sums.length;
  }

  public double value() {
    return value(IntStream.range(0, items()).toArray());
  }

  /// The result on some items, which may repeat.
  double value(int[] items) {
    return aggregation.of(mean(items));
  }

  private double mean(int[] items) {
    double sum = 0;
    double weight = 0;
    for (int i : items) {
      sum += sums[i];
      weight += weights[i];
    }
    return sum / weight;
  }

  /// The standard error over items (of a ratio of sums, by linearisation); NaN for fewer than two.
  public double standardError() {
    return standardError(influence());
  }

  static double standardError(double[] influence) {
    int n = influence.length;
    double square = 0;
    for (double x : influence) {
      square += x * x;
    }
    return n < 2 ? Double.NaN : Math.sqrt(square / (n - 1) / n);
  }

  /// What each item adds to the result's deviation, times the number of items.
  double[] influence() {
    double mean = mean(IntStream.range(0, items()).toArray());
    double meanWeight = IntStream.range(0, items()).mapToDouble(i -> weights[i]).sum() / items();
    double slope = aggregation.slope(mean);
    double[] influence = new double[items()];
    for (int i = 0; i < influence.length; i++) {
      influence[i] = slope * (sums[i] - mean * weights[i]) / meanWeight;
    }
    return influence;
  }

  /// Whether every item is right or wrong.
  boolean binary() {
    return IntStream.range(0, items())
        .allMatch(i -> weights[i] == 1 && (sums[i] == 0 || sums[i] == 1));
  }

  /// The same measure for each subgroup, by name; empty without subgroups.
  public Map<String, Measure> byGroup() {
    Map<String, Measure> parts = new LinkedHashMap<>();
    groups.stream()
        .filter(g -> !g.isEmpty())
        .distinct()
        .sorted()
        .forEach(group -> parts.put(group, part(group)));
    return parts;
  }

  private Measure part(String group) {
    int[] items = IntStream.range(0, items()).filter(i -> groups.get(i).equals(group)).toArray();
    return new Measure(
        metric,
        filter,
        higherIsBetter,
        aggregation,
        IntStream.of(items).mapToDouble(i -> sums[i]).toArray(),
        IntStream.of(items).mapToDouble(i -> weights[i]).toArray(),
        IntStream.of(items).mapToObj(groups::get).toList());
  }
}
