package org.modegpt.report;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.modegpt.runs.RunFilter;
import org.modegpt.runs.RunRecord;
import org.modegpt.runs.RunStore;
import org.modegpt.runs.RunSummary;

/// The store in Prometheus' text format 0.0.4: what runs at the moment, how far it is and what it
/// uses, and the last value of each metric per model.
public final class PrometheusText {
  /// The media type of the answer.
  public static final String TYPE = "text/plain; version=0.0.4; charset=utf-8";

  private static final int RECENT = 200;

  private final Map<String, List<String>> families = new LinkedHashMap<>();
  private final Map<String, String> help = new LinkedHashMap<>();

  private PrometheusText() {}

  /// The metrics of `store` now.
  public static String of(RunStore store) {
    PrometheusText text = new PrometheusText();
    text.family("modegpt_runs_stored", "Runs in the store.");
    text.value("modegpt_runs_stored", Map.of(), (double) store.count());
    text.family("modegpt_run_up", "1 for each run at work.");
    for (RunSummary summary :
        store.list(new RunFilter("", "running", "", "", "", null, RECENT, 0))) {
      text.running(store.read(summary.id()));
    }
    Map<String, Boolean> told = new TreeMap<>();
    for (RunSummary run : store.list(new RunFilter("", "finished", "", "", "", null, RECENT, 0))) {
      run.metrics()
          .forEach((key, value) -> {
            if (told.put(run.kind() + "\n" + run.model() + "\n" + run.recipe() + "\n" + key, true)
                == null) {
              text.last(run, key, value);
            }
          });
    }
    return text.toString();
  }

  private void running(RunRecord run) {
    Map<String, String> labels = labels(run.kind(), run.model(), run.recipe());
    labels.put("run", run.id());
    value("modegpt_run_up", labels, 1);
    RunRecord.Progress progress = run.progress();
    if (progress != null && progress.total() > 0) {
      Map<String, String> phase = new TreeMap<>(labels);
      phase.put("phase", progress.phase());
      family("modegpt_run_progress_ratio", "Share of the present phase that is done.");
      value("modegpt_run_progress_ratio", phase, progress.done() / (double) progress.total());
    }
    family("modegpt_run_elapsed_seconds", "Time since the run began.");
    value(
        "modegpt_run_elapsed_seconds",
        labels,
        (System.currentTimeMillis() - run.started().toEpochMilli()) / 1e3);
    if (!run.resources().isEmpty()) {
      RunRecord.ResourceSample now = run.resources().getLast();
      family("modegpt_run_cpu_cores", "Processor cores kept busy.");
      value("modegpt_run_cpu_cores", labels, now.cpuCores());
      family("modegpt_run_resident_memory_bytes", "Resident memory.");
      value("modegpt_run_resident_memory_bytes", labels, (double) now.rssBytes());
      Double gpu = now.gpuUtilisation();
      if (gpu != null) {
        family("modegpt_run_gpu_utilisation_ratio", "Share of time the accelerator was busy.");
        value("modegpt_run_gpu_utilisation_ratio", labels, gpu);
      }
    }
  }

  private void last(RunSummary run, String key, double value) {
    RunRecord.Metric metric = RunRecord.Metric.ofKey(key, value);
    Map<String, String> labels = labels(run.kind(), run.model(), run.recipe());
    for (String tag : metric.tags().split(",", -1)) {
      int equals = tag.indexOf('=');
      if (equals > 0) {
        labels.put("tag_" + name(tag.substring(0, equals)), tag.substring(equals + 1));
      }
    }
    String family = "modegpt_last_" + name(metric.name());
    family(family, "Value in the newest finished run.");
    value(family, labels, value);
  }

  private static Map<String, String> labels(String kind, String model, String recipe) {
    return new TreeMap<>(Map.of("kind", kind, "model", model, "recipe", recipe));
  }

  private static String name(String text) {
    return text.replaceAll("[^A-Za-z0-9_]", "_");
  }

  private void family(String name, String description) {
    help.put(name, description);
    families.computeIfAbsent(name, _ -> new ArrayList<>());
  }

  private void value(String family, Map<String, String> labels, double value) {
    StringBuilder line = new StringBuilder(family);
    if (!labels.isEmpty()) {
      List<String> pairs = new ArrayList<>();
      labels.forEach((k, v) -> pairs.add(k + "=\"" + escape(v) + "\""));
      line.append('{').append(String.join(",", pairs)).append('}');
    }
    String number =
        Double.isInfinite(value) ? (value > 0 ? "+Inf" : "-Inf") : Double.toString(value);
    families.computeIfAbsent(family, _ -> new ArrayList<>()).add(line + " " + number);
  }

  private static String escape(String text) {
    return text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n");
  }

  @Override
  public String toString() {
    StringBuilder out = new StringBuilder();
    families.forEach((name, lines) -> {
      if (!lines.isEmpty()) {
        out.append("# HELP ").append(name).append(' ').append(help.get(name)).append('\n');
        out.append("# TYPE ").append(name).append(" gauge\n");
        lines.forEach(line -> out.append(line).append('\n'));
      }
    });
    return out.toString();
  }
}
