package org.modegpt.advise;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.modegpt.runs.Metrics;
import org.modegpt.runs.RunAnalysis;
import org.modegpt.runs.RunAnalysis.ModelPoint;
import org.modegpt.runs.RunRecord;
import org.modegpt.runs.RunStore;

/// What a store knows about a model and what was made from it.
///
/// @param base the model itself, with its metrics
/// @param made its compressed forms that have a ratio, newest first
/// @param perplexityKey the perplexity that most of them have, by its key; empty for none
/// @param speedKey the same for tokens per second
/// @param costliest by recipe, `layer 3 mlp` and its error for the modules that the newest
///   compression hurt most
record Evidence(
    ModelPoint base,
    List<ModelPoint> made,
    String perplexityKey,
    String speedKey,
    Map<String, List<String>> costliest) {
  private static final int MODELS = 5000;
  private static final int COSTLIEST = 5;

  static Evidence of(RunStore store, String identity) {
    List<ModelPoint> points = new RunAnalysis(store).models(MODELS);
    ModelPoint base =
        points.stream()
            .filter(p -> p.identity().equals(identity))
            .findFirst()
            .orElse(new ModelPoint(identity, "", "", "", "", "", new TreeMap<>()));
    List<ModelPoint> made =
        points.stream()
            .filter(p -> p.base().equals(identity) && p.metrics().containsKey(Metrics.RATIO))
            .toList();
    List<ModelPoint> all = new ArrayList<>(made);
    all.add(base);
    Map<String, List<String>> costliest = new TreeMap<>();
    made.stream()
        .filter(p -> !p.madeBy().isEmpty())
        .forEach(p -> costliest.computeIfAbsent(p.recipe(), _ -> costliest(store, p)));
    return new Evidence(
        base,
        made,
        commonest(all, Metrics.PERPLEXITY, base),
        commonest(all, Metrics.BEST + Metrics.TOKENS_PER_SECOND, base),
        costliest);
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

  /// Bytes and what else is known of each model, `x` the bytes.
  List<double[]> against(String key, boolean inverse) {
    List<double[]> points = new ArrayList<>();
    List<ModelPoint> all = new ArrayList<>(made);
    all.add(base);
    for (ModelPoint p : all) {
      Double bytes = p.metrics().get(Metrics.BYTES);
      Double value = p.metrics().get(key);
      if (bytes != null && value != null && value > 0) {
        points.add(new double[] {bytes, inverse ? 1 / value : value});
      }
    }
    return points;
  }
}
