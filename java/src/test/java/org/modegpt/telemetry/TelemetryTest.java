package org.modegpt.telemetry;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.UserException;
import org.modegpt.io.Json;
import org.modegpt.runs.Metrics;
import org.modegpt.runs.ModelUse;
import org.modegpt.runs.Run;
import org.modegpt.runs.RunRecord;
import org.modegpt.runs.RunRecorder;
import org.modegpt.runs.RunSettings;
import org.modegpt.runs.RunStore;
import tools.jackson.databind.JsonNode;

/// What is sent to an MLflow server and to an OpenTelemetry collector, against a server that takes
/// anything. With `-Dmodegpt.mlflow=URL` also against a real MLflow server.
class TelemetryTest {
  private record Call(String path, String authorization, JsonNode body) {}

  @TempDir Path folder;
  private final List<Call> calls = new CopyOnWriteArrayList<>();
  private HttpServer server;
  private String url;
  private RunRecord run;

  @BeforeEach
  void start() throws IOException {
    server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.createContext(
        "/",
        exchange -> {
          byte[] body = exchange.getRequestBody().readAllBytes();
          String path = exchange.getRequestURI().getPath();
          String who = exchange.getRequestHeaders().getFirst("Authorization");
          calls.add(
              new Call(
                  path,
                  String.valueOf(who),
                  Json.object(body.length == 0 ? new byte[] {'{', '}'} : body, path)));
          boolean unknown = path.endsWith("get-by-name");
          byte[] answer =
              "{\"experiment_id\": \"7\", \"run\": {\"info\": {\"run_id\": \"abc\"}}}"
                  .getBytes(StandardCharsets.UTF_8);
          exchange.sendResponseHeaders(unknown ? 404 : 200, answer.length);
          exchange.getResponseBody().write(answer);
          exchange.close();
        });
    server.start();
    url = "http://127.0.0.1:" + server.getAddress().getPort();
    RunSettings settings = RunSettings.of(folder, folder.resolve("runs.db").toString());
    String id;
    try (RunRecorder recorder = RunRecorder.open(settings)) {
      id =
          recorder.record(
              "compress",
              Map.of("model", "tiny", "recipe", "paper", "ratio", 0.3),
              r -> {
                r.model(new ModelUse(ModelUse.BASE, "/m/tiny", "h", 1L, 2L));
                try (Run.Phase phase = r.phase("calibrate")) {
                  phase.progress(1, 1);
                }
                r.layer(0, "mlp", 10, 5, null, 0.25);
                r.sample("loss", 3);
                r.metric(
                    Metrics.PERPLEXITY, 20.5, 0.5, "", Map.of("dataset", "x", "tokens", "4x8"));
                r.metric("broken", Double.NaN);
                return r.id();
              });
    }
    try (RunStore store = RunStore.open(settings.location())) {
      run = store.read(id);
    }
  }

  @AfterEach
  void stop() {
    server.stop(0);
  }

  private JsonNode body(String path) {
    return calls.stream().filter(c -> c.path().endsWith(path)).findFirst().orElseThrow().body();
  }

  @Test
  void mlflowGetsParametersMetricsAndTheEnd() throws Exception {
    String id = new MlflowLogger(url + "/", Map.of("MLFLOW_TRACKING_TOKEN", "t0")).log(run);
    assertThat(id).isEqualTo("abc");
    assertThat(calls).allMatch(c -> c.authorization().equals("Bearer t0"));
    assertThat(body("experiments/create").path("name").asString()).isEqualTo("modegpt");
    assertThat(body("runs/create").path("experiment_id").asString()).isEqualTo("7");
    assertThat(body("runs/update").path("status").asString()).isEqualTo("FINISHED");
    String logged = calls.stream().map(c -> c.body().toString()).reduce("", String::concat);
    assertThat(logged)
        .contains(
            "\"value\":\"0.3\"",
            "perplexity/dataset:x/tokens:4x8",
            "\"layers/mlp/error\"",
            "system/resident_memory_bytes")
        .doesNotContain("broken");
    String real = System.getProperty("modegpt.mlflow");
    if (real != null) {
      System.out.println("logged to " + real + " as " + new MlflowLogger(real, Map.of()).log(run));
    }
  }

  @Test
  void aCollectorGetsATraceAndGauges() throws Exception {
    try (RunStore store = RunStore.open(folder.resolve("runs.db").toString())) {
      new OtlpExporter(url, "Authorization=Bearer t1").after(run, store);
    }
    assertThat(calls).allMatch(c -> c.authorization().equals("Bearer t1"));
    JsonNode spans =
        body("/v1/traces").path("resourceSpans").path(0).path("scopeSpans").path(0).path("spans");
    assertThat(spans.size()).isEqualTo(2);
    assertThat(spans.path(0).path("traceId").asString()).hasSize(32);
    assertThat(spans.path(1).path("parentSpanId")).isEqualTo(spans.path(0).path("spanId"));
    assertThat(spans.path(1).path("name").asString()).isEqualTo("calibrate");
    assertThat(body("/v1/metrics").toString())
        .contains("modegpt.perplexity", "\"asDouble\":20.5")
        .doesNotContain("broken");
  }

  @Test
  void addressesThatAreNoneAreRefused() {
    assertThatThrownBy(() -> new MlflowLogger("not a url", Map.of()))
        .isInstanceOf(UserException.class);
    assertThatThrownBy(() -> new MlflowLogger("localhost", Map.of()))
        .isInstanceOf(UserException.class);
    assertThatThrownBy(() -> new OtlpExporter("no url", "")).isInstanceOf(UserException.class);
  }
}
