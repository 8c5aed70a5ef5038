package org.modegpt.telemetry;

import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.modegpt.UserException;
import org.modegpt.runs.AfterRun;
import org.modegpt.runs.ModelUse;
import org.modegpt.runs.RunJson;
import org.modegpt.runs.RunRecord;
import org.modegpt.runs.RunStore;
import tools.jackson.databind.JsonNode;

/// Logs finished runs to an MLflow tracking server by its REST interface: parameters, metrics with
/// what changed over time, and what identifies program, machine and models as tags. The experiment
/// is `MLFLOW_EXPERIMENT_NAME`, else `modegpt`; who asks is told by `MLFLOW_TRACKING_TOKEN`, or
/// `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`.
public final class MlflowLogger implements AfterRun {
  private static final Duration TIMEOUT = Duration.ofSeconds(8);
  private static final int ATTEMPTS = 2;
  private static final int LONGEST_VALUE = 500;
  private static final int BATCH = 100;
  private static final int METRICS = 900;

  private final URI server;
  private final Map<String, String> environment;

  /// @param server such as `http://localhost:5000`
  /// @param environment of the process
  public MlflowLogger(String server, Map<String, String> environment) {
    try {
      this.server = URI.create(server.replaceAll("/+$", ""));
    } catch (IllegalArgumentException e) {
      throw new UserException("MODEGPT_MLFLOW is the URL of an MLflow server, not " + server, e);
    }
    if (this.server.getHost() == null) {
      throw new UserException("MODEGPT_MLFLOW is the URL of an MLflow server, not " + server);
    }
    this.environment = environment;
  }

  @Override
  public void after(RunRecord run, RunStore store) throws IOException, InterruptedException {
    log(run);
  }

  /// Logs one run and returns the id MLflow gave it.
  public String log(RunRecord run) throws IOException, InterruptedException {
    try (JsonClient client = new JsonClient(TIMEOUT, ATTEMPTS)) {
      String experiment = experiment(client);
      JsonNode created =
          call(
              client,
              "runs/create",
              Map.of(
                  "experiment_id",
                  experiment,
                  "run_name",
                  name(run),
                  "start_time",
                  run.started().toEpochMilli(),
                  "tags",
                  tags(run)));
      String id = created.path("run").path("info").path("run_id").asString("");
      List<Map<String, Object>> parameters = new ArrayList<>();
      run.parameters()
          .forEach((k, v) -> parameters.add(Map.of("key", key(k), "value", shortened(v))));
      batches(client, id, "params", parameters, BATCH);
      batches(client, id, "metrics", metrics(run), METRICS);
      Instant end = run.finished() == null ? Instant.now() : run.finished();
      call(
          client,
          "runs/update",
          Map.of("run_id", id, "status", status(run), "end_time", end.toEpochMilli()));
      return id;
    }
  }

  private String experiment(JsonClient client) throws IOException, InterruptedException {
    String name = environment.getOrDefault("MLFLOW_EXPERIMENT_NAME", "modegpt");
    URI lookup =
        at(
            "experiments/get-by-name?experiment_name="
                + URLEncoder.encode(name, StandardCharsets.UTF_8));
    JsonClient.Answer answer = client.send("GET", lookup, new byte[0], authorization());
    if (answer.status() == 404) {
      return call(client, "experiments/create", Map.of("name", name))
          .path("experiment_id")
          .asString("");
    }
    if (!answer.isDone()) {
      throw new IOException("MLflow: " + JsonClient.refusal(lookup, answer));
    }
    return RunJson.read(answer.body(), JsonNode.class, "MLflow's answer")
        .path("experiment")
        .path("experiment_id")
        .asString("");
  }

  private void batches(
      JsonClient client, String id, String what, List<Map<String, Object>> values, int size)
      throws IOException, InterruptedException {
    for (int from = 0; from < values.size(); from += size) {
      List<Map<String, Object>> some = values.subList(from, Math.min(values.size(), from + size));
      call(client, "runs/log-batch", Map.of("run_id", id, what, some));
    }
  }

  private JsonNode call(JsonClient client, String path, Map<String, ?> body)
      throws IOException, InterruptedException {
    byte[] bytes = RunJson.write(body).getBytes(StandardCharsets.UTF_8);
    String answer = client.post(at(path), bytes, authorization());
    return RunJson.read(answer.isBlank() ? "{}" : answer, JsonNode.class, "MLflow's answer");
  }

  private URI at(String path) {
    return URI.create(server + "/api/2.0/mlflow/" + path);
  }

  private Map<String, String> authorization() {
    String token = environment.getOrDefault("MLFLOW_TRACKING_TOKEN", "");
    String user = environment.getOrDefault("MLFLOW_TRACKING_USERNAME", "");
    if (!token.isEmpty()) {
      return Map.of("Authorization", "Bearer " + token);
    }
    if (!user.isEmpty()) {
      String both = user + ":" + environment.getOrDefault("MLFLOW_TRACKING_PASSWORD", "");
      byte[] bytes = both.getBytes(StandardCharsets.UTF_8);
      return Map.of("Authorization", "Basic " + Base64.getEncoder().encodeToString(bytes));
    }
    return Map.of();
  }

  private static String name(RunRecord run) {
    return shortened(String.join(" ", run.kind(), run.model(), run.recipe()).strip());
  }

  private static String status(RunRecord run) {
    return switch (run.status()) {
      case "finished" -> "FINISHED";
      case "interrupted", "killed" -> "KILLED";
      case "running" -> "RUNNING";
      default -> "FAILED";
    };
  }

  private static List<Map<String, Object>> tags(RunRecord run) {
    List<Map<String, Object>> tags = new ArrayList<>();
    tags.add(Map.of("key", "mlflow.source.name", "value", "modegpt"));
    tags.add(Map.of("key", "mlflow.source.git.commit", "value", run.revision()));
    tags.add(Map.of("key", "modegpt.run", "value", run.id()));
    tags.add(Map.of("key", "modegpt.version", "value", run.version()));
    tags.add(Map.of("key", "modegpt.machine", "value", run.machine()));
    tags.add(Map.of("key", "modegpt.host", "value", run.host()));
    if (!run.error().isEmpty()) {
      tags.add(Map.of("key", "modegpt.error", "value", shortened(run.error())));
    }
    for (ModelUse model : run.models()) {
      tags.add(
          Map.of(
              "key", "modegpt.model." + model.role(), "value", model.hash() + " " + model.path()));
    }
    return tags;
  }

  private static List<Map<String, Object>> metrics(RunRecord run) {
    List<Map<String, Object>> metrics = new ArrayList<>();
    Instant end = run.finished() == null ? Instant.now() : run.finished();
    run.metrics().forEach(m -> add(metrics, key(m.key()), m.value(), end, 0));
    int step = 0;
    for (RunRecord.ResourceSample sample : run.resources()) {
      add(metrics, "system/cpu_cores", sample.cpuCores(), sample.at(), step);
      add(metrics, "system/resident_memory_bytes", (double) sample.rssBytes(), sample.at(), step);
      Double gpu = sample.gpuUtilisation();
      if (gpu != null) {
        add(metrics, "system/gpu_utilisation", gpu, sample.at(), step);
      }
      step++;
    }
    step = 0;
    for (RunRecord.SeriesPoint point : run.series()) {
      add(metrics, key(point.name()), point.value(), point.at(), step++);
    }
    for (RunRecord.LayerResult layer : run.layers()) {
      String module = "layers/" + layer.module();
      add(metrics, module + "/kept", (double) layer.kept() / layer.original(), end, layer.layer());
      Double error = layer.measuredError();
      if (error != null) {
        add(metrics, module + "/error", error, end, layer.layer());
      }
    }
    return metrics;
  }

  private static void add(
      List<Map<String, Object>> metrics, String key, double value, Instant at, int step) {
    if (Double.isFinite(value)) {
      metrics.add(Map.of("key", key, "value", value, "timestamp", at.toEpochMilli(), "step", step));
    }
  }

  /// `perplexity{dataset=x,tokens=y}` in the characters MLflow takes:
  /// `perplexity/dataset:x/tokens:y`.
  static String key(String key) {
    String plain = key.replace("{", "/").replace("}", "").replace('=', ':').replace(',', '/');
    String taken = plain.replaceAll("[^A-Za-z0-9_./: -]", "_");
    return taken.substring(0, Math.min(250, taken.length())).toString().strip();
  }

  private static String shortened(String text) {
    return text.length() <= LONGEST_VALUE
        ? text
        : String.format(Locale.ROOT, "%s...", text.substring(0, LONGEST_VALUE - 3));
  }
}
