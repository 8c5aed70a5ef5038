package org.modegpt.report;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.modegpt.runs.Comparison;
import org.modegpt.runs.Figures;
import org.modegpt.runs.Metrics;
import org.modegpt.runs.RunAnalysis.ModelPoint;
import org.modegpt.runs.RunRecord;

/// A report to paste into a pull request: models side by side, what each run measured and cost, and
/// the comparison when there are two runs.
public final class MarkdownReport {
  private static final int MOST_MODELS = 30;

  private final StringBuilder out = new StringBuilder();

  private MarkdownReport() {}

  /// The text about `runs` and the models `points`.
  public static String of(List<RunRecord> runs, List<ModelPoint> points) {
    MarkdownReport report = new MarkdownReport();
    report.models(points);
    if (runs.size() == 2) {
      report.comparison(Comparison.of(runs.getFirst(), runs.getLast()));
    }
    runs.forEach(report::run);
    return report.out.toString();
  }

  private void models(List<ModelPoint> points) {
    if (points.size() < 2) {
      return;
    }
    List<String> keys =
        points.stream()
            .flatMap(p -> p.metrics().keySet().stream())
            .filter(Metrics::isResult)
            .distinct()
            .sorted(Comparator.comparingInt(Metrics::rank).thenComparing(k -> k))
            .limit(6)
            .toList();
    List<List<String>> rows = new ArrayList<>();
    List<String> head = new ArrayList<>(List.of("model", "recipe"));
    head.addAll(keys);
    rows.add(head);
    points.stream()
        .sorted(
            Comparator.comparingDouble(
                (ModelPoint p) -> -p.metrics().getOrDefault(Metrics.PARAMETERS, 0.0)))
        .limit(MOST_MODELS)
        .forEach(p -> {
          List<String> row = new ArrayList<>(List.of(p.label(), p.recipe()));
          for (String key : keys) {
            Double value = p.metrics().get(key);
            row.add(value == null ? "" : Figures.metric(key, value));
          }
          rows.add(row);
        });
    out.append("### Models\n\n");
    table(rows);
  }

  private void comparison(Comparison c) {
    List<List<String>> rows = new ArrayList<>();
    rows.add(List.of("metric", c.a(), c.b(), "change"));
    for (Comparison.Change m : c.metrics()) {
      rows.add(
          List.of(
              m.metric(),
              Figures.metric(m.metric(), m.a()),
              Figures.metric(m.metric(), m.b()),
              String.format(Locale.ROOT, "%+.2f %%", 100 * m.relative())));
    }
    out.append("### Comparison\n\n");
    table(rows);
  }

  private void run(RunRecord run) {
    out.append("### ")
        .append(cell((run.kind() + " " + run.model() + " " + run.recipe()).strip()))
        .append("\n\n")
        .append(cell(run.status() + (run.error().isEmpty() ? "" : ": " + run.error())))
        .append(" in ")
        .append(Figures.seconds(run.seconds()))
        .append(", run `")
        .append(run.id())
        .append("`, ")
        .append(cell(run.machine()))
        .append(", version ")
        .append(cell((run.version() + " " + run.revision()).strip()))
        .append("\n\n");
    List<List<String>> metrics = new ArrayList<>();
    metrics.add(List.of("metric", "value", "standard error"));
    run.metrics().stream()
        .sorted(Comparator.comparingInt(m -> Metrics.rank(m.key())))
        .forEach(m -> {
          Double error = m.standardError();
          metrics.add(
              List.of(
                  m.key(),
                  Figures.metric(m.name(), m.value()),
                  error == null ? "" : Figures.number(error)));
        });
    table(metrics);
    layers(run);
    Map<String, Double> spent = new TreeMap<>();
    run.phases().forEach(p -> spent.merge(p.name(), p.seconds(), Double::sum));
    if (!spent.isEmpty()) {
      List<List<String>> phases = new ArrayList<>(List.of(List.of("phase", "time")));
      spent.forEach((name, seconds) -> phases.add(List.of(name, Figures.seconds(seconds))));
      table(phases);
    }
  }

  private void layers(RunRecord run) {
    if (run.layers().isEmpty()) {
      return;
    }
    Map<Integer, Map<String, RunRecord.LayerResult>> byLayer = new TreeMap<>();
    run.layers()
        .forEach(l -> byLayer.computeIfAbsent(l.layer(), _ -> new TreeMap<>()).put(l.module(), l));
    List<String> modules =
        run.layers().stream().map(RunRecord.LayerResult::module).distinct().sorted().toList();
    List<List<String>> rows = new ArrayList<>();
    List<String> head = new ArrayList<>(List.of("layer"));
    modules.forEach(m -> head.add(m + " kept"));
    modules.forEach(m -> head.add(m + " error"));
    rows.add(head);
    byLayer.forEach((layer, results) -> {
      List<String> row = new ArrayList<>(List.of(Integer.toString(layer)));
      for (String module : modules) {
        RunRecord.LayerResult l = results.get(module);
        row.add(l == null ? "" : "%d of %d".formatted(l.kept(), l.original()));
      }
      for (String module : modules) {
        RunRecord.LayerResult l = results.get(module);
        Double error = l == null ? null : l.measuredError();
        row.add(error == null ? "" : Figures.number(error));
      }
      rows.add(row);
    });
    out.append("<details><summary>Layers</summary>\n\n");
    table(rows);
    out.append("</details>\n\n");
  }

  private void table(List<List<String>> rows) {
    for (int i = 0; i < rows.size(); i++) {
      out.append("| ");
      out.append(String.join(" | ", rows.get(i).stream().map(MarkdownReport::cell).toList()));
      out.append(" |\n");
      if (i == 0) {
        out.append("|---".repeat(rows.getFirst().size())).append("|\n");
      }
    }
    out.append('\n');
  }

  /// Text that stays text in Markdown, whatever a model is called.
  private static String cell(String text) {
    return HtmlReport.escape(text)
        .replaceAll("[\\r\\n]+", " ")
        .replaceAll("([\\\\`*_\\[\\]|~#!])", "\\\\$1");
  }
}
