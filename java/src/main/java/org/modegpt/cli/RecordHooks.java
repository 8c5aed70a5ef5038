package org.modegpt.cli;

import org.jspecify.annotations.Nullable;
import org.modegpt.alerts.AlertsAfterRun;
import org.modegpt.report.MetricsEndpoint;
import org.modegpt.runs.NvidiaSmi;
import org.modegpt.runs.RunRecorder;
import org.modegpt.runs.RunSettings;
import org.modegpt.telemetry.MlflowLogger;
import org.modegpt.telemetry.OtlpExporter;

/// The recorder of a command, with everything that happens during and after its runs.
final class RecordHooks implements AutoCloseable {
  private final RunRecorder recorder;
  private final @Nullable MetricsEndpoint metrics;

  private RecordHooks(RunRecorder recorder, @Nullable MetricsEndpoint metrics) {
    this.recorder = recorder;
    this.metrics = metrics;
  }

  static RecordHooks open(RunSettings settings) {
    String store = settings.store();
    RunRecorder recorder = RunRecorder.open(settings);
    if (store == null) {
      return new RecordHooks(recorder, null);
    }
    try {
      NvidiaSmi.open(0).ifPresent(recorder::gpu);
      recorder.afterRun(new AlertsAfterRun(settings.alertRules(), System.err));
      if (!settings.mlflow().isEmpty()) {
        recorder.afterRun(new MlflowLogger(settings.mlflow(), System.getenv()));
      }
      if (!settings.otlp().isEmpty()) {
        String headers = System.getenv("OTEL_EXPORTER_OTLP_HEADERS");
        recorder.afterRun(new OtlpExporter(settings.otlp(), headers == null ? "" : headers));
      }
      int port = settings.metricsPort();
      return new RecordHooks(recorder, port == 0 ? null : MetricsEndpoint.start(store, port));
    } catch (RuntimeException e) {
      recorder.close();
      throw e;
    }
  }

  RunRecorder recorder() {
    return recorder;
  }

  @Override
  public void close() {
    recorder.close();
    if (metrics != null) {
      metrics.close();
    }
  }
}
