package org.modegpt.runs;

import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/// Something that happened in a run. A run is the sum of its events: they are only appended, so a
/// process that dies loses at most the last fraction of a second.
sealed interface RunEvent {
  /// Takes rows to insert: a table and its column values in order.
  interface Rows {
    void add(String table, @Nullable Object... values);
  }

  String run();

  void writeTo(Rows rows);

  /// The events that make `run`; a run without an end gets a process that no machine knows.
  static List<RunEvent> of(RunRecord run) {
    String id = run.id();
    Map<String, String> parameters = new TreeMap<>(run.parameters());
    List<RunEvent> events = new ArrayList<>();
    events.add(
        new Begun(
            id,
            run.kind(),
            run.started(),
            run.host(),
            "",
            run.machine(),
            run.version(),
            run.revision(),
            run.command(),
            run.model(),
            run.recipe(),
            parameters));
    run.models().forEach(m -> events.add(new ModelUsed(id, m)));
    run.phases().forEach(p -> events.add(new PhaseEnded(id, p)));
    RunRecord.Progress progress = run.progress();
    if (progress != null) {
      events.add(new Progressed(id, progress));
    }
    run.metrics().forEach(m -> events.add(new Measured(id, m)));
    run.layers().forEach(l -> events.add(new LayerDone(id, l)));
    run.resources().forEach(r -> events.add(new Sampled(id, r)));
    run.series().forEach(p -> events.add(new SeriesSampled(id, p)));
    Instant finished = run.finished();
    if (finished != null) {
      events.add(new Ended(id, run.status(), finished, run.error()));
    }
    return events;
  }

  record Begun(
      String run,
      String kind,
      Instant at,
      String host,
      String process,
      String machine,
      String version,
      String revision,
      String command,
      String model,
      String recipe,
      Map<String, String> parameters)
      implements RunEvent {
    @Override
    public void writeTo(Rows rows) {
      rows.add(
          "runs",
          run,
          kind,
          at.toEpochMilli(),
          host,
          process,
          machine,
          version,
          revision,
          command,
          model,
          recipe);
      parameters.forEach((name, value) -> rows.add("parameters", run, name, value));
    }
  }

  record ModelUsed(String run, ModelUse model) implements RunEvent {
    @Override
    public void writeTo(Rows rows) {
      rows.add(
          "models",
          run,
          model.role(),
          model.path(),
          model.hash(),
          model.parameters(),
          model.bytes());
    }
  }

  record PhaseEnded(String run, RunRecord.PhaseSpan phase) implements RunEvent {
    @Override
    public void writeTo(Rows rows) {
      rows.add("phases", run, phase.name(), phase.started().toEpochMilli(), phase.seconds());
    }
  }

  record Progressed(String run, RunRecord.Progress progress) implements RunEvent {
    @Override
    public void writeTo(Rows rows) {
      rows.add(
          "progress",
          run,
          progress.at().toEpochMilli(),
          progress.phase(),
          progress.done(),
          progress.total());
    }
  }

  record Measured(String run, RunRecord.Metric metric) implements RunEvent {
    @Override
    public void writeTo(Rows rows) {
      rows.add(
          "metrics",
          run,
          metric.name(),
          metric.value(),
          metric.standardError(),
          metric.unit(),
          metric.tags());
    }
  }

  record LayerDone(String run, RunRecord.LayerResult layer) implements RunEvent {
    @Override
    public void writeTo(Rows rows) {
      rows.add(
          "layers",
          run,
          layer.layer(),
          layer.module(),
          layer.original(),
          layer.kept(),
          layer.predictedLoss(),
          layer.measuredError());
    }
  }

  record Sampled(String run, RunRecord.ResourceSample sample) implements RunEvent {
    @Override
    public void writeTo(Rows rows) {
      rows.add(
          "resources",
          run,
          sample.at().toEpochMilli(),
          sample.cpuCores(),
          sample.rssBytes(),
          sample.gpuUtilisation(),
          sample.gpuBytes());
    }
  }

  record SeriesSampled(String run, RunRecord.SeriesPoint point) implements RunEvent {
    @Override
    public void writeTo(Rows rows) {
      rows.add("series", run, point.at().toEpochMilli(), point.name(), point.value());
    }
  }

  record Ended(String run, String status, Instant at, String error) implements RunEvent {
    @Override
    public void writeTo(Rows rows) {
      rows.add("outcomes", run, status, at.toEpochMilli(), error);
    }
  }
}
