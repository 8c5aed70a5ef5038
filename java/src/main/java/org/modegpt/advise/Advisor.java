package org.modegpt.advise;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.modegpt.runs.Metrics;
import org.modegpt.runs.RunAnalysis.ModelPoint;
import org.modegpt.runs.RunStore;

/// Predicts what a ratio will give, and chooses one for a target.
public final class Advisor {
  /// What a model is known to be without any run.
  ///
  /// @param identity its fingerprint, by which runs are found
  /// @param bytes of its files
  /// @param compressible share of its parameters that a ratio counts
  public record Model(String identity, long bytes, double compressible) {}

  /// What must be met; null where nothing is asked.
  public record Target(
      @Nullable Double tokensPerSecond,
      @Nullable Double memory,
      @Nullable Double bytes,
      @Nullable Double perplexity) {}

  /// A recipe at a ratio. Estimates are null where nothing is known to predict them from.
  ///
  /// @param measured whether this very ratio was run
  public record Prediction(
      String recipe,
      double ratio,
      Estimate bytes,
      @Nullable Estimate perplexity,
      @Nullable Estimate tokensPerSecond,
      @Nullable Estimate memory,
      boolean measured,
      boolean meets) {}

  /// The recipe to try where none was.
  private static final String DEFAULT = "default";

  private final Model model;
  private final Evidence evidence;
  private final @Nullable RemovalCosts costs;
  private final @Nullable LineFit speed;
  private final @Nullable LineFit memory;
  private final LineFit size;
  private final Map<String, LossCurve> losses = new TreeMap<>();

  private Advisor(Model model, Evidence evidence, @Nullable RemovalCosts costs) {
    this.model = model;
    this.evidence = evidence;
    this.costs = costs;
    this.speed = LineFit.of(evidence.speed().points());
    this.memory = LineFit.of(evidence.memory().points());
    this.size = size();
    for (String recipe : evidence.recipes()) {
      SortedMap<Double, Double> measured = LossCurve.points(evidence.perplexities(recipe), base());
      if (!measured.isEmpty() && base() > 0) {
        losses.put(recipe, new LossCurve(measured));
      }
    }
  }

  /// Advice about `model` from the runs of `store` and, where there are any, the removal curves
  /// beside `statistics`.
  public static Advisor of(RunStore store, Model model, java.nio.file.@Nullable Path statistics) {
    Optional<RemovalCosts> costs =
        statistics == null ? Optional.empty() : RemovalCosts.beside(statistics);
    return new Advisor(model, Evidence.of(store, model.identity()), costs.orElse(null));
  }

  private double base() {
    return evidence.base().metrics().getOrDefault(evidence.perplexityKey(), 0.0);
  }

  private LineFit size() {
    List<double[]> points = new ArrayList<>();
    for (ModelPoint p : evidence.made()) {
      Double bytes = p.metrics().get(Metrics.BYTES);
      Double ratio = p.metrics().get(Metrics.RATIO);
      if (bytes != null && ratio != null) {
        points.add(new double[] {ratio, bytes});
      }
    }
    LineFit fit = LineFit.of(points);
    double slope = -model.bytes() * model.compressible();
    return fit == null ? new LineFit(slope, model.bytes(), 0, 0) : fit;
  }

  /// What a recipe gives at a ratio.
  public Prediction predict(String recipe, double ratio, Target target) {
    Estimate bytes = size.at(ratio);
    LossCurve loss = losses.get(recipe);
    Estimate perplexity = null;
    if (loss != null) {
      double value = base() * Math.exp(loss.rise(ratio));
      double band = loss.band(ratio);
      perplexity = new Estimate(value, value * Math.exp(-band), value * Math.exp(band));
    }
    Estimate seconds = speed == null ? null : speed.at(bytes.value());
    Estimate rate =
        seconds == null || !(seconds.low() > 0)
            ? null
            : new Estimate(1 / seconds.value(), 1 / seconds.high(), 1 / seconds.low());
    Estimate needed = memory == null ? null : memory.at(bytes.value());
    boolean meets =
        least(target.tokensPerSecond(), rate)
            && most(target.memory(), needed)
            && most(target.bytes(), bytes)
            && most(target.perplexity(), perplexity);
    boolean measured = loss != null && loss.isMeasured(ratio);
    return new Prediction(recipe, ratio, bytes, perplexity, rate, needed, measured, meets);
  }

  private static boolean least(@Nullable Double wanted, @Nullable Estimate estimate) {
    return wanted == null || (estimate != null && estimate.value() >= wanted);
  }

  private static boolean most(@Nullable Double allowed, @Nullable Estimate estimate) {
    return allowed == null || (estimate != null && estimate.value() <= allowed);
  }

  /// Predictions of all recipes that are known, at these ratios.
  public List<Prediction> predict(List<Double> ratios, Target target) {
    List<Prediction> all = new ArrayList<>();
    List<String> recipes = losses.isEmpty() ? List.of(DEFAULT) : List.copyOf(losses.keySet());
    for (String recipe : recipes) {
      ratios.forEach(r -> all.add(predict(recipe, r, target)));
    }
    return all;
  }

  /// Of those that meet the target the one that loses least; empty for none.
  public static Optional<Prediction> best(List<Prediction> predictions) {
    return predictions.stream()
        .filter(Prediction::meets)
        .min(
            Comparator.comparingDouble(
                    (Prediction p) -> {
                      Estimate e = p.perplexity();
                      return e == null ? Double.POSITIVE_INFINITY : e.value();
                    })
                .thenComparingDouble(Prediction::ratio));
  }

  /// Modules to spare at this ratio: those the removal curves leave whole, else those that the
  /// newest compression by the recipe hurt most.
  public List<String> spare(String recipe, double ratio) {
    return costs != null
        ? costs.spared(ratio)
        : evidence.costliest().getOrDefault(recipe, List.of());
  }

  /// What the predictions rest on, in lines for people.
  public List<String> basis() {
    List<String> lines = new ArrayList<>();
    for (String recipe : evidence.recipes()) {
      SortedMap<Double, Double> points = evidence.perplexities(recipe);
      if (!points.isEmpty()) {
        lines.add(
            "perplexity of %s: %d measured ratios up to %.2f, %s"
                .formatted(recipe, points.size(), points.lastKey(), evidence.perplexityKey()));
      }
    }
    if (costs != null) {
      lines.add("modules to spare: removal curves beside the statistics");
    }
    if (losses.isEmpty()) {
      lines.add(
          "perplexity: nothing yet; run modegpt compress at two or three ratios, and it will be predicted");
    }
    lines.add(line("speed", speed, evidence.speed(), "modegpt bench"));
    lines.add(line("memory", memory, evidence.memory(), "modegpt generate"));
    lines.add(
        size.points() == 0
            ? "size: the share of parameters that a ratio counts"
            : "size: %d compressed models".formatted(size.points()));
    return lines;
  }

  private static String line(String what, @Nullable LineFit fit, Evidence.Trials from, String how) {
    return fit == null
        ? what
            + ": nothing yet; run "
            + how
            + " on two models of the same data type, the original or compressed"
        : "%s: %d runs of %s on %d models (%s), which a line predicts to %.1f %%"
            .formatted(
                what, from.points().size(), how, from.models(), from.setting(), 100 * fit.error());
  }
}
