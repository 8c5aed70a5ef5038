package org.modegpt.runs;

import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.io.Digests;

/// The alerts of a store, and what people said about them.
public final class AlertLog {
  private static final Duration LONGEST_MUTE = Duration.ofDays(3650);
  private static final String ACKNOWLEDGE = "acknowledge";
  private static final String MUTE = "mute";

  private final RunStore store;

  public AlertLog(RunStore store) {
    this.store = store;
  }

  /// An alert that fired.
  ///
  /// @param metric the key of the metric that was judged
  /// @param baseline NaN where the rule is a fixed bound
  /// @param state `open`, `acknowledged`, or `muted` (its rule is, at the moment)
  public record Alert(
      String id,
      String rule,
      String run,
      String metric,
      Instant fired,
      double value,
      double baseline,
      String message,
      String state) {}

  /// Stores an alert and returns it, or null where it is known already. A rule fires once for a
  /// metric of a run.
  public @Nullable Alert add(
      String rule, String run, String metric, double value, double baseline, String message) {
    String id = id(rule, run, metric);
    Instant now = Instant.now();
    boolean added =
        store
            .database()
            .transaction(c -> {
              try (PreparedStatement s =
                  c.prepareStatement(
                      "insert into alerts values (?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing")) {
                s.setString(1, id);
                s.setString(2, rule);
                s.setString(3, run);
                s.setString(4, metric);
                s.setLong(5, now.toEpochMilli());
                s.setObject(6, Double.isNaN(value) ? null : value);
                s.setObject(7, Double.isNaN(baseline) ? null : baseline);
                s.setString(8, message);
                return s.executeUpdate() > 0;
              }
            });
    String state = mutes().contains(rule) ? "muted" : "open";
    return added ? new Alert(id, rule, run, metric, now, value, baseline, message, state) : null;
  }

  private static String id(String rule, String run, String metric) {
    return HexFormat.of().formatHex(Digests.sha256(rule + "\n" + run + "\n" + metric), 0, 6);
  }

  /// The newest `limit` alerts, newest first.
  public List<Alert> list(int limit) {
    Set<String> muted = mutes();
    Set<String> acknowledged =
        new HashSet<>(
            store
                .database()
                .query(
                    "select distinct target from alert_marks where action = ?",
                    row -> row.getString(1),
                    ACKNOWLEDGE));
    return store
        .database()
        .query(
            "select id, rule, run_id, subject, fired_ms, value, baseline, message from alerts order by fired_ms desc, id limit ?",
            row -> {
              String id = row.getString(1);
              String rule = row.getString(2);
              String state =
                  acknowledged.contains(id)
                      ? "acknowledged"
                      : muted.contains(rule) ? "muted" : "open";
              return new Alert(
                  id,
                  rule,
                  row.getString(3),
                  row.getString(4),
                  RunStore.instant(row, 5),
                  RunStore.number(row, 6, Double.NaN),
                  RunStore.number(row, 7, Double.NaN),
                  row.getString(8),
                  state);
            },
            limit);
  }

  /// Rules that are muted now.
  public Set<String> mutes() {
    Map<String, Long> until = new HashMap<>();
    store
        .database()
        .query(
            "select target, until_ms from alert_marks where action = ? order by at_ms, until_ms",
            row -> until.put(row.getString(1), row.getLong(2)),
            MUTE);
    long now = System.currentTimeMillis();
    until.values().removeIf(t -> t <= now);
    return until.keySet();
  }

  /// Marks an alert as seen.
  ///
  /// @throws UserException for an id that no alert has
  public void acknowledge(String id, String note) {
    List<Integer> found =
        store.database().query("select 1 from alerts where id = ?", row -> row.getInt(1), id);
    if (found.isEmpty()) {
      throw new UserException("There is no alert " + id + "; list them with: modegpt alerts ls");
    }
    mark(id, ACKNOWLEDGE, 0, note);
  }

  /// Keeps a rule from alerting for a while; no time at all ends that.
  public void mute(String rule, Duration time, String note) {
    if (time.isNegative() || time.compareTo(LONGEST_MUTE) > 0) {
      throw new UserException("A rule is muted for up to ten years.");
    }
    mark(rule, MUTE, Instant.now().plus(time).toEpochMilli(), note);
  }

  private void mark(String target, String action, long until, String note) {
    store.database().transaction(c -> insert(c, target, action, until, note));
  }

  private static boolean insert(Connection c, String target, String action, long until, String note)
      throws SQLException {
    try (PreparedStatement s =
        c.prepareStatement("insert into alert_marks values (?, ?, ?, ?, ?)")) {
      s.setString(1, target);
      s.setString(2, action);
      s.setLong(3, System.currentTimeMillis());
      s.setLong(4, until);
      s.setString(5, note);
      return s.executeUpdate() > 0;
    }
  }
}
