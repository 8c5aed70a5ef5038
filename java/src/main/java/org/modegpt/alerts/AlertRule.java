package org.modegpt.alerts;

import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.modegpt.runs.Metrics;
import org.modegpt.runs.Robust;
import org.modegpt.runs.RunRecord;

/// When to alert.
///
/// @param name what the rule is called; alerts are muted by it
/// @param metric a metric's name (`perplexity`: each of its tags apart) or whole key
///   (`perplexity{dataset=x}`)
/// @param kinds kinds of runs it looks at; empty for all
/// @param model only runs about this model; empty for all
/// @param recipe only runs with this recipe; empty for all
/// @param above alert when the value is higher; null for no such bound
/// @param below alert when the value is lower; null for no such bound
/// @param worseBy alert when the value is worse than the baseline by more than this share; null for
///   no comparison
/// @param higherIsWorse which way is worse; null to go by the metric's name
/// @param recent how many of the newest values are taken together (their median)
/// @param longest twice as many are tried as well, and so on up to this number: a change that one
///   or a few noisy values cannot show may be plain in more
/// @param window how many values before those make the baseline
/// @param minimum fewer values than this make no baseline, and no alert
/// @param deviations a change within so many standard errors of the two medians is noise
public record AlertRule(
    String name,
    String metric,
    List<String> kinds,
    String model,
    String recipe,
    @Nullable Double above,
    @Nullable Double below,
    @Nullable Double worseBy,
    @Nullable Boolean higherIsWorse,
    int recent,
    int longest,
    int window,
    int minimum,
    double deviations) {
  /// The variance of a median of normal values, times their number and over their variance.
  private static final double MEDIAN_VARIANCE = Math.PI / 2;

  public AlertRule {
    kinds = List.copyOf(kinds);
  }

  /// What a rule says about a series of values.
  ///
  /// @param value the median of the recent values
  /// @param baseline the median of the window before; NaN when there is none
  /// @param change how much worse, as a share of the baseline (negative when better)
  /// @param sigmas the change over its standard error, from the window's spread; infinite in a
  ///   window without any
  public record Verdict(
      boolean fires, double value, double baseline, double change, double sigmas) {}

  boolean concerns(RunRecord run) {
    return (kinds.isEmpty() || kinds.contains(run.kind()))
        && (model.isEmpty() || model.equals(run.model()))
        && (recipe.isEmpty() || recipe.equals(run.recipe()));
  }

  /// A name means the run's own model; what was measured of the original needs its whole key.
  boolean concerns(RunRecord.Metric value) {
    return metric.equals(value.key())
        || (metric.equals(value.name()) && !value.key().contains("of=base"));
  }

  boolean lowerIsBetter() {
    return higherIsWorse != null ? higherIsWorse : Metrics.lowerIsBetter(metric);
  }

  /// How many values a judgement may look at.
  int history() {
    return longest + window;
  }

  /// Judges the last of `values`, which are comparable and in the order they were measured. Without
  /// a verdict that fires, the one of the fewest recent values.
  public Verdict judge(double... values) {
    Verdict first = judge(recent, values);
    for (int newest = 2 * recent;
        !first.fires() && newest <= longest && newest < values.length;
        newest *= 2) {
      Verdict longer = judge(newest, values);
      if (longer.fires()) {
        return longer;
      }
    }
    return first;
  }

  private Verdict judge(int wanted, double... values) {
    int newest = Math.min(wanted, values.length);
    int split = values.length - newest;
    double[] last = Arrays.copyOfRange(values, split, values.length);
    double[] before = Arrays.copyOfRange(values, Math.max(0, split - window), split);
    double value = Robust.median(last);
    double baseline = before.length < minimum ? Double.NaN : Robust.median(before);
    double worse = lowerIsBetter() ? value - baseline : baseline - value;
    double change = worse / Math.abs(baseline);
    double error = Robust.deviation(before) * Math.sqrt(variance(last) + variance(before));
    double sigmas = worse == 0 ? 0 : worse / error;
    boolean regressed =
        worseBy != null && newest == wanted && change > worseBy && sigmas > deviations;
    boolean fires =
        regressed || (above != null && value > above) || (below != null && value < below);
    return new Verdict(fires, value, baseline, change, sigmas);
  }

  private static double variance(double... values) {
    return (values.length < 3 ? 1 : MEDIAN_VARIANCE) / values.length;
  }
}
