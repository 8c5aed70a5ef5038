package org.modegpt.telemetry;

import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.modegpt.UserException;
import org.modegpt.io.Digests;
import org.modegpt.runs.AfterRun;
import org.modegpt.runs.RunJson;
import org.modegpt.runs.RunRecord;
import org.modegpt.runs.RunStore;

/// Sends finished runs to an OpenTelemetry collector by OTLP over HTTP in JSON: a run is a trace
/// with a span for each phase, its metrics are gauges. Further headers (`name=value,...`) are taken
/// from `OTEL_EXPORTER_OTLP_HEADERS`.
public final class OtlpExporter implements AfterRun {
  private static final Duration TIMEOUT = Duration.ofSeconds(8);
  private static final int ATTEMPTS = 2;

  private final URI traces;
  private final URI metrics;
  private final Map<String, String> headers = new LinkedHashMap<>();

  /// @param endpoint such as `http://localhost:4318`
  public OtlpExporter(String endpoint, String headerList) {
    String base = endpoint.replaceAll("/+$", "");
    try {
      traces = URI.create(base + "/v1/traces");
      metrics = URI.create(base + "/v1/metrics");
    } catch (IllegalArgumentException e) {
      throw new UserException("MODEGPT_OTLP is no URL: " + endpoint, e);
    }
    for (String pair : headerList.split(",", -1)) {
      int equals = pair.indexOf('=');
      if (equals > 0) {
        headers.put(pair.substring(0, equals).strip(), pair.substring(equals + 1).strip());
      }
    }
  }

  @Override
  public void after(RunRecord run, RunStore store) throws IOException, InterruptedException {
    try (JsonClient client = new JsonClient(TIMEOUT, ATTEMPTS)) {
      client.post(traces, RunJson.write(trace(run)).getBytes(StandardCharsets.UTF_8), headers);
      client.post(metrics, RunJson.write(gauges(run)).getBytes(StandardCharsets.UTF_8), headers);
    }
  }

  private static Instant end(RunRecord run) {
    Instant finished = run.finished();
    return finished == null ? Instant.now() : finished;
  }

  /// A run as `ExportTraceServiceRequest`.
  static Map<String, Object> trace(RunRecord run) {
    String trace = hash(run.id(), 16);
    String root = hash(run.id() + "/", 8);
    List<Object> spans = new ArrayList<>();
    Map<String, String> facts = new LinkedHashMap<>(run.parameters());
    facts.put("modegpt.run", run.id());
    facts.put("modegpt.status", run.status());
    boolean failed = !run.status().equals("finished");
    Map<String, Object> whole = span(trace, root, run.kind(), run.started(), end(run), facts);
    whole.put("status", Map.of("code", failed ? 2 : 1, "message", run.error()));
    spans.add(whole);
    int number = 0;
    for (RunRecord.PhaseSpan phase : run.phases()) {
      Instant to = phase.started().plusNanos((long) (phase.seconds() * 1e9));
      String id = hash(run.id() + "/" + number++ + phase.name(), 8);
      Map<String, Object> span = span(trace, id, phase.name(), phase.started(), to, Map.of());
      span.put("parentSpanId", root);
      spans.add(span);
    }
    return Map.of(
        "resourceSpans",
        List.of(
            Map.of(
                "resource",
                resource(run),
                "scopeSpans",
                List.of(Map.of("scope", Map.of("name", "modegpt"), "spans", spans)))));
  }

  private static Map<String, Object> span(
      String trace, String id, String name, Instant from, Instant to, Map<String, String> facts) {
    Map<String, Object> span = new LinkedHashMap<>();
    span.put("traceId", trace);
    span.put("spanId", id);
    span.put("name", name);
    span.put("kind", 1);
    span.put("startTimeUnixNano", nanos(from));
    span.put("endTimeUnixNano", nanos(to));
    span.put("attributes", attributes(facts));
    return span;
  }

  /// A run's metrics as `ExportMetricsServiceRequest`.
  static Map<String, Object> gauges(RunRecord run) {
    List<Object> gauges = new ArrayList<>();
    for (RunRecord.Metric metric : run.metrics()) {
      if (Double.isFinite(metric.value())) {
        Map<String, String> facts = new LinkedHashMap<>();
        facts.put("kind", run.kind());
        facts.put("model", run.model());
        facts.put("recipe", run.recipe());
        facts.put("run", run.id());
        for (String tag : metric.tags().split(",", -1)) {
          int equals = tag.indexOf('=');
          if (equals > 0) {
            facts.put(tag.substring(0, equals), tag.substring(equals + 1));
          }
        }
        Map<String, Object> point =
            Map.of(
                "timeUnixNano",
                nanos(end(run)),
                "asDouble",
                metric.value(),
                "attributes",
                attributes(facts));
        gauges.add(
            Map.of(
                "name", "modegpt." + metric.name(), "gauge", Map.of("dataPoints", List.of(point))));
      }
    }
    return Map.of(
        "resourceMetrics",
        List.of(
            Map.of(
                "resource",
                resource(run),
                "scopeMetrics",
                List.of(Map.of("scope", Map.of("name", "modegpt"), "metrics", gauges)))));
  }

  private static Map<String, Object> resource(RunRecord run) {
    Map<String, String> facts = new LinkedHashMap<>();
    facts.put("service.name", "modegpt");
    facts.put("service.version", run.version());
    facts.put("host.name", run.host());
    facts.put("modegpt.machine", run.machine());
    facts.put("vcs.ref.head.revision", run.revision());
    return Map.of("attributes", attributes(facts));
  }

  private static List<Object> attributes(Map<String, String> facts) {
    List<Object> list = new ArrayList<>();
    facts.forEach((k, v) -> list.add(Map.of("key", k, "value", Map.of("stringValue", v))));
    return list;
  }

  private static String nanos(Instant at) {
    return Long.toString(at.getEpochSecond() * 1_000_000_000L + at.getNano());
  }

  private static String hash(String text, int bytes) {
    return HexFormat.of().formatHex(Digests.sha256(text), 0, bytes);
  }
}
