package org.modegpt.runs;

import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/// What runs say together: the models they measured, and a metric over time.
public final class RunAnalysis {
  private static final int ROWS = 50_000;

  private final RunStore store;

  public RunAnalysis(RunStore store) {
    this.store = store;
  }

  /// A model with its metrics from all runs about it, the newest of each; `run` is the newest run
  /// about it, `recipe` and `ratio` those of the compression that made it, where one is recorded.
  public record ModelPoint(
      String identity,
      String label,
      String recipe,
      String run,
      SortedMap<String, Double> metrics) {}

  /// A metric's value in one run.
  public record TrendPoint(
      String run,
      Instant at,
      String kind,
      String model,
      String recipe,
      String machine,
      double value) {}

  /// What filters can choose from.
  public record Facets(
      List<String> kinds, List<String> models, List<String> recipes, List<String> metrics) {}

  private record Row(
      String run,
      String kind,
      String recipe,
      String path,
      String identity,
      double bytes,
      double parameters,
      String key,
      double value) {}

  /// The newest `limit` models, newest first.
  public List<ModelPoint> models(int limit) {
    List<Row> rows =
        store
            .database()
            .query(
                """
                select r.id, r.kind, r.recipe, u.path, u.hash, u.bytes, u.parameters, m.name, m.tags, m.value
                from runs r join models u on u.run_id = r.id and u.role in ('output', 'subject') join metrics m on m.run_id = r.id
                order by r.started_ms desc limit ?
                """,
                row ->
                    new Row(
                        row.getString(1),
                        row.getString(2),
                        row.getString(3),
                        row.getString(4),
                        row.getString(5).isEmpty() ? row.getString(4) : row.getString(5),
                        RunStore.number(row, 6, Double.NaN),
                        RunStore.number(row, 7, Double.NaN),
                        row.getString(9).isEmpty()
                            ? row.getString(8)
                            : row.getString(8) + "{" + row.getString(9) + "}",
                        RunStore.number(row, 10, Double.NaN)),
                ROWS);
    Map<String, List<Row>> byModel = new LinkedHashMap<>();
    rows.forEach(r -> byModel.computeIfAbsent(r.identity, _ -> new ArrayList<>()).add(r));
    return byModel.values().stream().limit(limit).map(RunAnalysis::point).toList();
  }

  private static ModelPoint point(List<Row> rows) {
    SortedMap<String, Double> metrics = new TreeMap<>();
    String recipe = "";
    for (Row row : rows) {
      boolean costOfMeasuring =
          !row.kind.equals("compress")
              && (row.key.equals(Metrics.SECONDS) || row.key.equals(Metrics.PEAK_RSS));
      if (!costOfMeasuring) {
        metrics.putIfAbsent(row.key, row.value);
      }
      if (!Double.isNaN(row.bytes)) {
        metrics.putIfAbsent(Metrics.BYTES, row.bytes);
      }
      if (!Double.isNaN(row.parameters)) {
        metrics.putIfAbsent(Metrics.PARAMETERS, row.parameters);
      }
      if (recipe.isEmpty() || (row.kind.equals("compress") && !row.recipe.isEmpty())) {
        recipe = row.recipe;
      }
    }
    Row newest = rows.getFirst();
    String label = newest.path.substring(newest.path.lastIndexOf('/') + 1);
    return new ModelPoint(
        newest.identity, label.isEmpty() ? newest.path : label, recipe, newest.run, metrics);
  }

  /// The newest `limit` values of the metric with this key ([RunRecord.Metric#key]), oldest first.
  public List<TrendPoint> trend(String key, int limit) {
    int brace = key.indexOf('{');
    String name = brace < 0 ? key : key.substring(0, brace);
    String tags = brace < 0 || !key.endsWith("}") ? "" : key.substring(brace + 1, key.length() - 1);
    return store
        .database()
        .query(
            """
            select r.id, r.started_ms, r.kind, r.model, r.recipe, r.machine, m.value
            from metrics m join runs r on r.id = m.run_id where m.name = ? and m.tags = ? order by m.run_id desc limit ?
            """,
            row ->
                new TrendPoint(
                    row.getString(1),
                    RunStore.instant(row, 2),
                    row.getString(3),
                    row.getString(4),
                    row.getString(5),
                    row.getString(6),
                    RunStore.number(row, 7, Double.NaN)),
            name,
            tags,
            limit)
        .reversed();
  }

  /// Kinds, models, recipes and metrics of the newest runs.
  public Facets facets() {
    return new Facets(
        recent("kind"),
        recent("model"),
        recent("recipe"),
        store
            .database()
            .query(
                """
                select distinct m.name, m.tags from metrics m
                where m.run_id in (select id from runs order by started_ms desc limit 2000) order by m.name, m.tags limit 500
                """,
                row ->
                    row.getString(2).isEmpty()
                        ? row.getString(1)
                        : row.getString(1) + "{" + row.getString(2) + "}"));
  }

  private List<String> recent(String column) {
    return store
        .database()
        .query(
            "select distinct "
                + column
                + " from (select * from runs order by started_ms desc limit 10000) r where "
                + column
                + " <> '' order by 1 limit 200",
            row -> row.getString(1));
  }
}
