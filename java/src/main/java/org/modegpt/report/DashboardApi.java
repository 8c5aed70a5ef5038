package org.modegpt.report;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.modegpt.runs.AlertLog;
import org.modegpt.runs.RunAnalysis;
import org.modegpt.runs.RunFilter;
import org.modegpt.runs.RunStore;
import org.modegpt.runs.RunSummary;

/// What the page asks for. All lists are bounded.
final class DashboardApi {
  private static final int PAGE = 500;
  private static final int MODELS = 2000;
  private static final int ALERTS = 500;
  private static final int TREND = 5000;

  private final RunStore store;
  private final RunAnalysis analysis;
  private final AlertLog alerts;

  DashboardApi(RunStore store) {
    this.store = store;
    this.analysis = new RunAnalysis(store);
    this.alerts = new AlertLog(store);
  }

  /// A page of the list.
  record RunPage(String store, long total, List<RunSummary> runs) {}

  /// The answer at `path`, or null when there is none.
  @Nullable Object read(String path, Query query) {
    return switch (path) {
      case "/api/runs" -> runs(query);
      case "/api/run" -> store.read(store.resolve(query.text("id")));
      case "/api/facets" -> analysis.facets();
      case "/api/models" -> Map.of("points", analysis.models(MODELS));
      case "/api/trend" -> Map.of("points", analysis.trend(query.text("metric"), TREND));
      case "/api/alerts" -> Map.of("alerts", alerts.list(ALERTS));
      default -> null;
    };
  }

  private RunPage runs(Query query) {
    RunFilter filter =
        new RunFilter(
            query.text("kind"),
            query.text("status"),
            query.text("model"),
            query.text("recipe"),
            query.text("text"),
            null,
            query.number("limit", 1, PAGE, 50),
            query.number("offset", 0, RunFilter.MAXIMUM, 0));
    return new RunPage(store.location(), store.count(), store.list(filter));
  }

  /// Changes what `path` says and returns the new state, or null when there is no such change.
  @Nullable Object change(String path, Query query) {
    switch (path) {
      case "/api/alerts/acknowledge" -> alerts.acknowledge(query.text("id"), "dashboard");
      case "/api/alerts/mute" ->
          alerts.mute(
              query.text("rule"),
              Duration.ofHours(query.number("hours", 0, 8760, 168)),
              "dashboard");
      default -> {
        return null;
      }
    }
    return Map.of("alerts", alerts.list(ALERTS));
  }
}
