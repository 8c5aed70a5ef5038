package org.modegpt.runs;

import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;

/// The runs of a store: appends events, lists and reads. Safe for several threads, and for any
/// number of processes on one store.
public final class RunStore implements AutoCloseable {
  /// A run on another machine without an end counts as killed after this long without a sign of
  /// life; samples come at least once a minute.
  private static final Duration SILENCE = Duration.ofMinutes(5);

  private static final String SUMMARY_COLUMNS =
      """
      select r.id, r.kind, r.started_ms, r.host, r.process, r.machine, r.version, r.revision, r.command, r.model, r.recipe,
        o.status, o.finished_ms, o.error,
        (select max(at_ms) from resources s where s.run_id = r.id and o.status is null) as seen_ms
      from runs r left join outcomes o on o.run_id = r.id
      """;

  private final Database database;

  private RunStore(Database database) {
    this.database = database;
  }

  /// Opens the store at `location`, a file or a `jdbc:postgresql:` URL; creates it, or migrates an
  /// older one.
  ///
  /// @throws StoreException when the database refuses
  public static RunStore open(String location) {
    return new RunStore(Database.open(location));
  }

  Database database() {
    return database;
  }

  /// Where this store is, without passwords.
  public String location() {
    return database.shown();
  }

  /// Stores all events or none.
  void append(Collection<? extends RunEvent> events) {
    Map<String, List<@Nullable Object[]>> tables = new LinkedHashMap<>();
    for (RunEvent event : events) {
      event.writeTo(
          (table, values) -> tables.computeIfAbsent(table, t -> new ArrayList<>()).add(values));
    }
    database.transaction(c -> {
      for (Map.Entry<String, List<@Nullable Object[]>> table : tables.entrySet()) {
        insert(c, table.getKey(), table.getValue());
      }
      return true;
    });
  }

  private static void insert(Connection c, String table, List<@Nullable Object[]> rows)
      throws SQLException {
    String marks = String.join(",", Collections.nCopies(rows.getFirst().length, "?"));
    // A run may be told to end twice (a failure while it is being closed): the first word counts.
    String conflict = table.equals("outcomes") ? " on conflict do nothing" : "";
    try (PreparedStatement statement =
        c.prepareStatement("insert into " + table + " values (" + marks + ")" + conflict)) {
      for (@Nullable Object[] row : rows) {
        for (int i = 0; i < row.length; i++) {
          statement.setObject(i + 1, row[i] instanceof Double d && d.isNaN() ? null : row[i]);
        }
        statement.addBatch();
      }
      statement.executeBatch();
    }
  }

  /// The runs that pass `filter`, newest first.
  public List<RunSummary> list(RunFilter filter) {
    StringBuilder where = new StringBuilder(" where 1 = 1");
    List<Object> arguments = new ArrayList<>();
    condition(where, arguments, "r.kind = ?", filter.kind());
    condition(where, arguments, "r.model = ?", filter.model());
    condition(where, arguments, "r.recipe = ?", filter.recipe());
    if (!filter.text().isEmpty()) {
      String pattern = "%" + filter.text().replaceAll("([%_!])", "!$1") + "%";
      List<String> columns = List.of("r.id", "r.model", "r.recipe", "r.command", "r.host");
      where.append(
          columns.stream()
              .map(c -> c + " like ? escape '!'")
              .collect(Collectors.joining(" or ", " and (", ")")));
      columns.forEach(_ -> arguments.add(pattern));
    }
    if (filter.since() != null) {
      where.append(" and r.started_ms >= ?");
      arguments.add(filter.since().toEpochMilli());
    }
    boolean open = filter.status().equals("running") || filter.status().equals("killed");
    if (open) {
      where.append(" and o.status is null");
    } else {
      condition(where, arguments, "o.status = ?", filter.status());
    }
    where.append(" order by r.started_ms desc, r.id desc");
    if (!open) {
      where.append(" limit ? offset ?");
      arguments.add(filter.limit());
      arguments.add(filter.offset());
    }
    List<Head> heads = database.query(SUMMARY_COLUMNS + where, Head::read, arguments.toArray());
    if (open) {
      // Whether an unfinished run lives is known here, not in the database.
      heads =
          heads.stream()
              .filter(h -> h.status().equals(filter.status()))
              .skip(filter.offset())
              .limit(filter.limit())
              .toList();
    }
    Map<String, SortedMap<String, Double>> metrics =
        metricsOf(heads.stream().map(Head::id).toList());
    return heads.stream()
        .map(h -> h.summary(metrics.getOrDefault(h.id(), new TreeMap<>())))
        .toList();
  }

  private static void condition(
      StringBuilder where, List<Object> arguments, String sql, String value) {
    if (!value.isEmpty()) {
      where.append(" and ").append(sql);
      arguments.add(value);
    }
  }

  private Map<String, SortedMap<String, Double>> metricsOf(List<String> ids) {
    Map<String, SortedMap<String, Double>> metrics = new HashMap<>();
    for (int from = 0; from < ids.size(); from += 500) {
      List<String> some = ids.subList(from, Math.min(ids.size(), from + 500));
      database.query(
          "select run_id, name, value, standard_error, unit, tags from metrics where run_id in ("
              + String.join(",", Collections.nCopies(some.size(), "?"))
              + ")",
          row -> {
            RunRecord.Metric metric = metric(row);
            metrics
                .computeIfAbsent(row.getString(1), _ -> new TreeMap<>())
                .put(metric.key(), metric.value());
            return metric;
          },
          some.toArray());
    }
    return metrics;
  }

  /// How many runs the store holds.
  public long count() {
    return database.query("select count(*) from runs", row -> row.getLong(1)).getFirst();
  }

  boolean contains(String id) {
    return !database.query("select 1 from runs where id = ?", row -> row.getInt(1), id).isEmpty();
  }

  /// The full id that `reference` means: an id, the unique beginning or end of one, or `last`.
  public String resolve(String reference) {
    if (reference.equals("last")) {
      List<String> last =
          database.query(
              "select id from runs order by started_ms desc, id desc limit 1",
              row -> row.getString(1));
      if (last.isEmpty()) {
        throw new UserException("There are no runs yet in " + location() + ".");
      }
      return last.getFirst();
    }
    String escaped = reference.replaceAll("([%_!])", "!$1");
    List<String> ids =
        database.query(
            "select id from runs where id = ? or id like ? escape '!' or id like ? escape '!' order by id limit 3",
            row -> row.getString(1),
            reference,
            escaped + "%",
            "%" + escaped);
    if (ids.contains(reference)) {
      return reference;
    }
    if (reference.isEmpty() || ids.isEmpty()) {
      throw new UserException(
          "There is no run "
              + reference
              + " in "
              + location()
              + "; list them with: modegpt runs ls");
    }
    if (ids.size() > 1) {
      throw new UserException(
          "Run "
              + reference
              + " is not unique: "
              + String.join(", ", ids)
              + " ...; give more of the id.");
    }
    return ids.getFirst();
  }

  /// Everything about the run with this full id.
  public RunRecord read(String id) {
    List<Head> heads = database.query(SUMMARY_COLUMNS + " where r.id = ?", Head::read, id);
    if (heads.isEmpty()) {
      throw new UserException("There is no run " + id + " in " + location() + ".");
    }
    Head head = heads.getFirst();
    SortedMap<String, String> parameters = new TreeMap<>();
    database.query(
        "select name, value from parameters where run_id = ?",
        row -> parameters.put(row.getString(1), row.getString(2)) == null,
        id);
    List<RunRecord.Progress> progress =
        database.query(
            "select at_ms, phase, done, total from progress where run_id = ? order by at_ms desc, done desc limit 1",
            row ->
                new RunRecord.Progress(
                    instant(row, 1), row.getString(2), row.getLong(3), row.getLong(4)),
            id);
    return new RunRecord(
        head.id,
        head.kind,
        head.status(),
        head.started,
        head.finished,
        head.error,
        head.model,
        head.recipe,
        head.host,
        head.machine,
        head.version,
        head.revision,
        head.command,
        parameters,
        models(id),
        database.query(
            "select name, started_ms, seconds from phases where run_id = ? order by started_ms, seconds desc",
            row -> new RunRecord.PhaseSpan(row.getString(1), instant(row, 2), row.getDouble(3)),
            id),
        progress.isEmpty() ? null : progress.getFirst(),
        database.query(
            "select run_id, name, value, standard_error, unit, tags from metrics where run_id = ? order by name, tags",
            RunStore::metric,
            id),
        layers(id),
        resources(id),
        database.query(
            "select at_ms, name, value from series where run_id = ? order by at_ms, name",
            row ->
                new RunRecord.SeriesPoint(
                    instant(row, 1), row.getString(2), number(row, 3, Double.NaN)),
            id));
  }

  private List<ModelUse> models(String id) {
    return database.query(
        "select role, path, hash, parameters, bytes from models where run_id = ? order by role, path",
        row ->
            new ModelUse(
                row.getString(1),
                row.getString(2),
                row.getString(3),
                nullableLong(row, 4),
                nullableLong(row, 5)),
        id);
  }

  private List<RunRecord.LayerResult> layers(String id) {
    return database.query(
        "select layer, module, original, kept, predicted_loss, measured_error from layers where run_id = ? order by layer, module",
        row ->
            new RunRecord.LayerResult(
                row.getInt(1),
                row.getString(2),
                row.getLong(3),
                row.getLong(4),
                nullableDouble(row, 5),
                nullableDouble(row, 6)),
        id);
  }

  private List<RunRecord.ResourceSample> resources(String id) {
    return database.query(
        "select at_ms, cpu_cores, rss_bytes, gpu_utilisation, gpu_bytes from resources where run_id = ? order by at_ms",
        row ->
            new RunRecord.ResourceSample(
                instant(row, 1),
                row.getDouble(2),
                row.getLong(3),
                nullableDouble(row, 4),
                nullableLong(row, 5)),
        id);
  }

  private static RunRecord.Metric metric(ResultSet row) throws SQLException {
    return new RunRecord.Metric(
        row.getString(2),
        number(row, 3, Double.NaN),
        nullableDouble(row, 4),
        row.getString(5),
        row.getString(6));
  }

  static Instant instant(ResultSet row, int column) throws SQLException {
    return Instant.ofEpochMilli(row.getLong(column));
  }

  static double number(ResultSet row, int column, double absent) throws SQLException {
    double value = row.getDouble(column);
    return row.wasNull() ? absent : value;
  }

  private static @Nullable Double nullableDouble(ResultSet row, int column) throws SQLException {
    double value = row.getDouble(column);
    return row.wasNull() ? null : value;
  }

  static @Nullable Long nullableLong(ResultSet row, int column) throws SQLException {
    long value = row.getLong(column);
    return row.wasNull() ? null : value;
  }

  /// A row of `runs` with its outcome.
  private record Head(
      String id,
      String kind,
      Instant started,
      String host,
      String process,
      String machine,
      String version,
      String revision,
      String command,
      String model,
      String recipe,
      @Nullable String outcome,
      @Nullable Instant finished,
      String error,
      @Nullable Instant seen) {
    static Head read(ResultSet row) throws SQLException {
      String[] text = new String[12];
      Arrays.setAll(text, i -> "");
      for (int i : new int[] {1, 2, 4, 5, 6, 7, 8, 9, 10, 11}) {
        text[i] = row.getString(i);
      }
      Long finished = nullableLong(row, 13);
      Long seen = nullableLong(row, 15);
      String error = row.getString(14);
      return new Head(
          text[1],
          text[2],
          instant(row, 3),
          text[4],
          text[5],
          text[6],
          text[7],
          text[8],
          text[9],
          text[10],
          text[11],
          row.getString(12),
          finished == null ? null : Instant.ofEpochMilli(finished),
          error == null ? "" : error,
          seen == null ? null : Instant.ofEpochMilli(seen));
    }

    String status() {
      if (outcome != null) {
        return outcome;
      }
      return switch (ProcessIdentity.lifeOf(process)) {
        case ALIVE -> "running";
        case GONE -> "killed";
        case UNKNOWN -> {
          Instant last = seen == null ? started : seen;
          yield last.plus(SILENCE).isAfter(Instant.now()) ? "running" : "killed";
        }
      };
    }

    RunSummary summary(SortedMap<String, Double> metrics) {
      Double seconds =
          finished == null ? null : (finished.toEpochMilli() - started.toEpochMilli()) / 1e3;
      return new RunSummary(
          id, kind, status(), started, seconds, model, recipe, machine, host, error, metrics);
    }
  }

  @Override
  public void close() {
    database.close();
  }
}
