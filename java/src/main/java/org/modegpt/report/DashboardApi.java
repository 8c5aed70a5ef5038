package org.modegpt.report;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.modegpt.runs.RunAnalysis;
import org.modegpt.runs.RunFilter;
import org.modegpt.runs.RunSettings;
import org.modegpt.runs.RunStore;
import org.modegpt.runs.RunSummary;

/// What the page asks for. All lists are bounded.
final class DashboardApi {
  private static final int PAGE = 500;
  private static final int MODELS = 2000;
  private static final int TREND = 5000;

  private final RunStore store;
  private final RunAnalysis analysis;

  DashboardApi(RunStore store, RunSettings settings) {
    this.store = store;
    this.analysis = new RunAnalysis(store);
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
    return null;
  }
}
