package org.modegpt.advise;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.DoubleUnaryOperator;
import java.util.stream.Collectors;
import org.modegpt.runs.Metrics;
import org.modegpt.runs.Robust;
import org.modegpt.runs.RunAnalysis;
import org.modegpt.runs.RunAnalysis.ModelPoint;
import org.modegpt.runs.RunRecord;
import org.modegpt.runs.RunStore;

/// What a store knows about a model and what was made from it.
///
/// @param base the model itself, with its metrics
/// @param made its compressed forms that have a ratio, newest first; where they are of several data
///   types, those of the commonest
/// @param perplexityKey the perplexity that most of them have, by its key; empty for none
/// @param speed seconds per token against bytes, by `bench`
/// @param memory the most resident memory against bytes, by `generate`
/// @param costliest by recipe, `layer 3 mlp` and its error for the modules that the newest
///   compression hurt most
record Evidence(
    ModelPoint base,
    List<ModelPoint> made,
    String perplexityKey,
    Trials speed,
    Trials memory,
    Map<String, List<String>> costliest) {
  private static final int MODELS = 5000;
  private static final int COSTLIEST = 5;
  private static final int TRIALS = 2000;

  /// The newest runs of a model that count: enough that other work on the machine evens out.
  private static final int TRIALS_OF_A_MODEL = 9;

  /// Models whose bytes a parameter differ more are of different data types.
  private static final double SAME_TYPE = 0.2;

  /// Comparable measurements of several models.
  ///
  /// @param setting what they share
  /// @param points bytes of a model and its value, one for each run
  /// @param models how many models they are of
  record Trials(String setting, List<double[]> points, int models) {}

  static Evidence of(RunStore store, String identity) {
    List<ModelPoint> points = new RunAnalysis(store).models(MODELS);
    ModelPoint base =
        points.stream()
            .filter(p -> p.identity().equals(identity))
            .findFirst()
            .orElse(new ModelPoint(identity, "", "", "", "", "", new TreeMap<>()));
    List<ModelPoint> made =
        ofOneType(
            points.stream()
                .filter(p -> p.base().equals(identity) && p.metrics().containsKey(Metrics.RATIO))
                .toList());
    List<ModelPoint> all = new ArrayList<>(made);
    all.add(base);
    Map<String, List<String>> costliest = new TreeMap<>();
    made.stream()
        .filter(p -> !p.madeBy().isEmpty())
        .forEach(p -> costliest.computeIfAbsent(p.recipe(), _ -> costliest(store, p)));
    Set<String> comparable =
        ofOneType(all).stream().map(ModelPoint::identity).collect(Collectors.toSet());
    RunAnalysis analysis = new RunAnalysis(store);
    return new Evidence(
        base,
        made,
        commonest(all, Metrics.PERPLEXITY, base),
        commonest(
            analysis.trials("bench", Metrics.BEST + Metrics.TOKENS_PER_SECOND, TRIALS),
            comparable,
            rate -> 1 / rate),
        commonest(
            analysis.trials("generate", Metrics.PEAK_RSS, TRIALS), comparable, bytes -> bytes),
        costliest);
  }

  /// Those of about the bytes a parameter that the middle one has.
  private static List<ModelPoint> ofOneType(List<ModelPoint> points) {
    double usual =
        Robust.median(
            points.stream()
                .mapToDouble(Evidence::bytesPerParameter)
                .filter(Double::isFinite)
                .toArray());
    return points.stream()
        .filter(p -> !(Math.abs(bytesPerParameter(p) / usual - 1) > SAME_TYPE))
        .toList();
  }

  /// NaN where not known.
  private static double bytesPerParameter(ModelPoint point) {
    return point.metrics().getOrDefault(Metrics.BYTES, Double.NaN)
        / point.metrics().getOrDefault(Metrics.PARAMETERS, Double.NaN);
  }

  /// The trials of the setting in which most of the models were run.
  private static Trials commonest(
      List<RunAnalysis.Trial> trials, Set<String> models, DoubleUnaryOperator value) {
    Map<String, Map<String, List<double[]>>> settings = new TreeMap<>();
    for (RunAnalysis.Trial t : trials) {
      if (models.contains(t.identity())) {
        List<double[]> runs =
            settings
                .computeIfAbsent(t.setting(), _ -> new TreeMap<>())
                .computeIfAbsent(t.identity(), _ -> new ArrayList<>());
        if (runs.size() < TRIALS_OF_A_MODEL) {
          runs.add(new double[] {t.bytes(), value.applyAsDouble(t.value())});
        }
      }
    }
    return settings.entrySet().stream()
        .max(Comparator.comparingInt(s -> s.getValue().size()))
        .map(s ->
            new Trials(
                s.getKey(),
                s.getValue().values().stream().flatMap(List::stream).toList(),
                s.getValue().size()))
        .orElse(new Trials("", List.of(), 0));
  }

  /// The key of this name that most models have, of those the original has too where there is one.
  private static String commonest(List<ModelPoint> points, String name, ModelPoint base) {
    Map<String, Long> counts =
        points.stream()
            .flatMap(p -> p.metrics().keySet().stream())
            .filter(k -> k.equals(name) || k.startsWith(name + "{"))
            .collect(Collectors.groupingBy(k -> k, Collectors.counting()));
    return counts.entrySet().stream()
        .max(
            Comparator.comparing(
                    (Map.Entry<String, Long> e) -> base.metrics().containsKey(e.getKey()))
                .thenComparing(Map.Entry::getValue))
        .map(Map.Entry::getKey)
        .orElse("");
  }

  private static List<String> costliest(RunStore store, ModelPoint point) {
    RunRecord run = store.read(point.madeBy());
    return run.layers().stream()
        .filter(l -> l.measuredError() != null)
        .sorted(Comparator.comparingDouble((RunRecord.LayerResult l) -> -error(l)))
        .limit(COSTLIEST)
        .map(l -> "layer " + l.layer() + " " + l.module())
        .toList();
  }

  private static double error(RunRecord.LayerResult layer) {
    Double error = layer.measuredError();
    return error == null ? 0 : error;
  }

  List<String> recipes() {
    return made.stream().map(ModelPoint::recipe).distinct().sorted().toList();
  }

  /// Share removed to perplexity of the models by a recipe.
  SortedMap<Double, Double> perplexities(String recipe) {
    SortedMap<Double, Double> found = new TreeMap<>();
    made.stream()
        .filter(p -> p.recipe().equals(recipe) && p.metrics().containsKey(perplexityKey))
        .forEach(p ->
            found.putIfAbsent(
                p.metrics().getOrDefault(Metrics.RATIO, 0.0),
                p.metrics().getOrDefault(perplexityKey, Double.NaN)));
    return found;
  }
}
