package org.modegpt.runs;

import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.List;
import org.modegpt.UserException;

/// The tables, as a list of steps: step `i` takes a store from version `i` to `i + 1`. Steps are
/// never changed once released, only added, so that a store of any age comes up to date by running
/// those it has not seen. The SQL is the common part of SQLite and PostgreSQL.
final class Schema {
  private static final List<List<String>> STEPS =
      List.of(
          List.of(
              """
              create table runs (id text primary key, kind text not null, started_ms bigint not null, host text not null,
                process text not null, machine text not null, version text not null, revision text not null, command text not null,
                model text not null, recipe text not null)
              """,
              "create index runs_started on runs (started_ms)",
              "create index runs_kind on runs (kind, started_ms)",
              "create table parameters (run_id text not null, name text not null, value text not null)",
              "create index parameters_run on parameters (run_id)",
              """
              create table models (run_id text not null, role text not null, path text not null, hash text not null,
                parameters bigint, bytes bigint)
              """,
              "create index models_run on models (run_id)",
              "create table phases (run_id text not null, name text not null, started_ms bigint not null, seconds double precision not null)",
              "create index phases_run on phases (run_id)",
              """
              create table progress (run_id text not null, at_ms bigint not null, phase text not null, done bigint not null,
                total bigint not null)
              """,
              "create index progress_run on progress (run_id, at_ms)",
              """
              create table metrics (run_id text not null, name text not null, value double precision, standard_error double precision,
                unit text not null, tags text not null)
              """,
              "create index metrics_run on metrics (run_id)",
              "create index metrics_name on metrics (name, run_id)",
              """
              create table layers (run_id text not null, layer integer not null, module text not null, original bigint not null,
                kept bigint not null, predicted_loss double precision, measured_error double precision)
              """,
              "create index layers_run on layers (run_id)",
              """
              create table resources (run_id text not null, at_ms bigint not null, cpu_cores double precision not null,
                rss_bytes bigint not null, gpu_utilisation double precision, gpu_bytes bigint)
              """,
              "create index resources_run on resources (run_id, at_ms)",
              "create table outcomes (run_id text primary key, status text not null, finished_ms bigint not null, error text not null)"),
          List.of(
              "create table series (run_id text not null, at_ms bigint not null, name text not null, value double precision)",
              "create index series_run on series (run_id, at_ms)",
              """
              create table alerts (id text primary key, rule text not null, run_id text not null, subject text not null,
                fired_ms bigint not null, value double precision, baseline double precision, message text not null,
                unique (rule, run_id, subject))
              """,
              "create index alerts_fired on alerts (fired_ms)",
              """
              create table alert_marks (target text not null, action text not null, at_ms bigint not null, until_ms bigint not null,
                note text not null)
              """));

  /// The version this program writes.
  static final int VERSION = STEPS.size();

  private Schema() {}

  /// Brings the store of `connection`, inside its open transaction, to `target` (at most
  /// [#VERSION]).
  static void migrate(Connection connection, String location, int target) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      statement.execute("create table if not exists schema_version (version integer not null)");
      int version = 0;
      try (ResultSet rows = statement.executeQuery("select max(version) from schema_version")) {
        if (rows.next()) {
          version = rows.getInt(1);
        }
      }
      if (version > VERSION) {
        throw new UserException(
            "The run store %s has version %d, newer than this program's %d: update the program, or point MODEGPT_RUNS to another file."
                .formatted(location, version, VERSION));
      }
      for (int step = version; step < target; step++) {
        for (String sql : STEPS.get(step)) {
          statement.execute(sql);
        }
        statement.execute("insert into schema_version values (" + (step + 1) + ")");
      }
    }
  }
}
