package org.modegpt.runs;

import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// What runs say together: the models they measured, and a metric over time.
public final class RunAnalysis {
  /// Parameters that runs must share to be compared over time.
  public static final Set<String> COMPARED =
      Set.of(
          "ratio", "target_parameters", "allocation", "multiple_of", "dtype", "device", "threads");

  private static final int HISTORY = 1000;
  private static final int RUNS = 5_000;
  private static final String OF_BASE = "of=base";

  private final RunStore store;

  public RunAnalysis(RunStore store) {
    this.store = store;
  }

  /// A model with its metrics from all runs about it, the newest of each; `run` is the newest run
  /// about it, `madeBy` the compression that made it, `recipe` its recipe and `base` the identity
  /// of the model it was made from, where they are recorded (else empty).
  public record ModelPoint(
      String identity,
      String label,
      String base,
      String recipe,
      String run,
      String madeBy,
      SortedMap<String, Double> metrics) {}

  /// What a run measured of the one model it used, whose files have `bytes`. Values of the same
  /// `setting` (machine, device, threads and the metric's tags) may be compared.
  public record Trial(String identity, double bytes, String setting, double value) {}

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

  /// A metric of a run with one of the models it used.
  private record Row(
      String run,
      String kind,
      String recipe,
      ModelUse model,
      String base,
      RunRecord.Metric metric) {
    static Row read(ResultSet row) throws SQLException {
      RunRecord.Metric metric =
          new RunRecord.Metric(
              row.getString(10), RunStore.number(row, 12, Double.NaN), null, "", row.getString(11));
      String base = row.getString(9);
      return new Row(
          row.getString(1),
          row.getString(2),
          row.getString(3),
          new ModelUse(
              row.getString(4),
              row.getString(5),
              row.getString(6),
              RunStore.nullableLong(row, 7),
              RunStore.nullableLong(row, 8)),
          base == null ? "" : base,
          metric);
    }

    boolean isBase() {
      return model.role().equals(ModelUse.BASE);
    }

    /// Whether the metric describes this model rather than the other of the run.
    boolean applies() {
      return metric.tags().contains(OF_BASE) == isBase();
    }

    /// The metric's key without the tag that says whose it is.
    String key() {
      String tags =
          Arrays.stream(metric.tags().split(",", -1))
              .filter(t -> !t.equals(OF_BASE))
              .collect(Collectors.joining(","));
      return new RunRecord.Metric(metric.name(), 0, null, "", tags).key();
    }

    String identity() {
      return model.hash().isEmpty() ? model.path() : model.hash();
    }
  }

  /// The newest `limit` models, newest first.
  public List<ModelPoint> models(int limit) {
    List<Row> rows =
        store
            .database()
            .query(
                """
                select r.id, r.kind, r.recipe, u.role, u.path, u.hash, u.parameters, u.bytes, b.hash, m.name, m.tags, m.value
                from (select id, kind, recipe, started_ms from runs order by started_ms desc limit ?) r
                join models u on u.run_id = r.id left join models b on b.run_id = r.id and b.role = 'base'
                join metrics m on m.run_id = r.id order by r.started_ms desc
                """,
                Row::read,
                RUNS);
    Map<String, List<Row>> byModel = new LinkedHashMap<>();
    rows.stream()
        .filter(Row::applies)
        .forEach(r -> byModel.computeIfAbsent(r.identity(), _ -> new ArrayList<>()).add(r));
    return byModel.values().stream().limit(limit).map(RunAnalysis::point).toList();
  }

  private static ModelPoint point(List<Row> rows) {
    SortedMap<String, Double> metrics = new TreeMap<>();
    String recipe = "";
    String base = "";
    String madeBy = "";
    for (Row row : rows) {
      boolean made = row.kind.equals("compress") && !row.isBase();
      String name = row.metric.name();
      boolean cost = name.equals(Metrics.SECONDS) || name.equals(Metrics.PEAK_RSS);
      if (made || !cost) {
        metrics.putIfAbsent(row.key(), row.metric.value());
      } else if (row.kind.equals("generate") && name.equals(Metrics.PEAK_RSS)) {
        // Not from bench, whose long prompts take memory that an answer does not.
        metrics.putIfAbsent(Metrics.SERVING_MEMORY, row.metric.value());
      }
      Long bytes = row.model.bytes();
      if (bytes != null) {
        metrics.putIfAbsent(Metrics.BYTES, (double) bytes);
      }
      Long parameters = row.model.parameters();
      if (parameters != null) {
        metrics.putIfAbsent(Metrics.PARAMETERS, (double) parameters);
      }
      if (made) {
        recipe = recipe.isEmpty() ? row.recipe : recipe;
        base = base.isEmpty() ? row.base : base;
        madeBy = madeBy.isEmpty() ? row.run : madeBy;
      }
    }
    Row newest = rows.getFirst();
    String path = newest.model.path();
    String label = path.substring(path.lastIndexOf('/') + 1);
    return new ModelPoint(
        newest.identity(),
        label.isEmpty() ? path : label,
        base,
        recipe,
        newest.run,
        madeBy,
        metrics);
  }

  /// The newest `limit` positive values of a metric in runs of this kind, newest first.
  public List<Trial> trials(String kind, String metric, int limit) {
    return store
        .database()
        .query(
            """
            select u.hash, u.path, u.bytes, r.machine, d.value, t.value, m.tags, m.value
            from metrics m join runs r on r.id = m.run_id and r.kind = ?
            join models u on u.run_id = r.id and u.role = 'subject' and u.bytes is not null
            left join parameters d on d.run_id = r.id and d.name = 'device'
            left join parameters t on t.run_id = r.id and t.name = 'threads'
            where m.name = ? and m.value > 0 order by r.started_ms desc limit ?
            """,
            row ->
                new Trial(
                    row.getString(1).isEmpty() ? row.getString(2) : row.getString(1),
                    row.getDouble(3),
                    Stream.of(
                            row.getString(7), row.getString(5), row.getString(6), row.getString(4))
                        .filter(s -> s != null && !s.isEmpty())
                        .collect(Collectors.joining(", ")),
                    row.getDouble(8)),
            kind,
            metric,
            limit);
  }

  /// The newest `limit` values of the metric with this key ([RunRecord.Metric#key]), oldest first.
  public List<TrendPoint> trend(String key, int limit) {
    RunRecord.Metric metric = RunRecord.Metric.ofKey(key, Double.NaN);
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
            metric.name(),
            metric.tags(),
            limit)
        .reversed();
  }

  /// The values of the metric with this key in the finished runs comparable with `run`, up to it:
  /// the newest `limit`, oldest first. Comparable are runs of the same kind, model, recipe and
  /// machine with equal [#COMPARED] parameters.
  public double[] history(RunRecord run, RunRecord.Metric metric, int limit) {
    Map<String, String> wanted = compared(run.parameters());
    Map<String, Double> values = new LinkedHashMap<>();
    Map<String, SortedMap<String, String>> parameters = new HashMap<>();
    store
        .database()
        .query(
            """
            select v.id, v.value, p.name, p.value from (
              select r.id, r.started_ms, m.value from runs r join metrics m on m.run_id = r.id and m.name = ? and m.tags = ?
                join outcomes o on o.run_id = r.id and o.status = 'finished'
              where r.kind = ? and r.started_ms <= ? and r.model = ? and r.recipe = ? and r.machine = ?
              order by r.started_ms desc limit ?) v
            left join parameters p on p.run_id = v.id order by v.started_ms desc, v.id = ? desc, v.id
            """,
            row -> {
              values.put(row.getString(1), RunStore.number(row, 2, Double.NaN));
              String name = row.getString(3);
              if (name != null) {
                parameters
                    .computeIfAbsent(row.getString(1), _ -> new TreeMap<>())
                    .put(name, row.getString(4));
              }
              return true;
            },
            metric.name(),
            metric.tags(),
            run.kind(),
            run.started().toEpochMilli(),
            run.model(),
            run.recipe(),
            run.machine(),
            HISTORY,
            run.id());
    double[] newestFirst =
        values.entrySet().stream()
            .filter(
                v -> compared(parameters.getOrDefault(v.getKey(), new TreeMap<>())).equals(wanted))
            .mapToDouble(Map.Entry::getValue)
            .filter(Double::isFinite)
            .limit(limit)
            .toArray();
    double[] oldestFirst = new double[newestFirst.length];
    Arrays.setAll(oldestFirst, i -> newestFirst[newestFirst.length - 1 - i]);
    return oldestFirst;
  }

  /// What distinguishes series of comparable runs, as one text.
  public static String series(RunRecord run) {
    return String.join("\n", run.kind(), run.model(), run.recipe(), run.machine())
        + compared(run.parameters());
  }

  private static SortedMap<String, String> compared(SortedMap<String, String> parameters) {
    SortedMap<String, String> some = new TreeMap<>(parameters);
    some.keySet().retainAll(COMPARED);
    return some;
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
