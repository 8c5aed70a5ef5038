package org.modegpt.runs;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;

/// Two runs side by side.
///
/// @param parameters those that differ; a missing one is an empty text
/// @param metrics those that both have
public record Comparison(String a, String b, List<Difference> parameters, List<Change> metrics) {
  /// A parameter's two values.
  public record Difference(String name, String a, String b) {}

  /// A metric's two values. `relative` is `(b - a) / |a|`; `sigmas` is the difference over its
  /// standard error, NaN when no error was recorded.
  public record Change(String metric, double a, double b, double relative, double sigmas) {}

  /// Compares `b` with `a`.
  public static Comparison of(RunRecord a, RunRecord b) {
    List<Difference> differences = new ArrayList<>();
    Map<String, String> left = facts(a);
    Map<String, String> right = facts(b);
    Set<String> names = new TreeSet<>(left.keySet());
    names.addAll(right.keySet());
    for (String name : names) {
      String x = left.getOrDefault(name, "");
      String y = right.getOrDefault(name, "");
      if (!x.equals(y)) {
        differences.add(new Difference(name, x, y));
      }
    }
    Map<String, RunRecord.Metric> others =
        b.metrics().stream().collect(Collectors.toMap(RunRecord.Metric::key, m -> m, (x, y) -> y));
    List<Change> changes = new ArrayList<>();
    for (RunRecord.Metric m : a.metrics()) {
      RunRecord.Metric other = others.get(m.key());
      if (other != null) {
        changes.add(change(m, other));
      }
    }
    return new Comparison(a.id(), b.id(), differences, changes);
  }

  private static Change change(RunRecord.Metric a, RunRecord.Metric b) {
    double difference = b.value() - a.value();
    Double first = a.standardError();
    Double second = b.standardError();
    double error = first == null || second == null ? Double.NaN : Math.hypot(first, second);
    return new Change(
        a.key(), a.value(), b.value(), difference / Math.abs(a.value()), difference / error);
  }

  private static Map<String, String> facts(RunRecord run) {
    Map<String, String> facts = new TreeMap<>(run.parameters());
    facts.put("(kind)", run.kind());
    facts.put("(status)", run.status());
    facts.put("(machine)", run.machine());
    facts.put("(version)", run.version());
    facts.put("(revision)", run.revision());
    for (ModelUse model : run.models()) {
      facts.put(
          "(model " + model.role() + ")", model.hash().isEmpty() ? model.path() : model.hash());
    }
    return facts;
  }
}
