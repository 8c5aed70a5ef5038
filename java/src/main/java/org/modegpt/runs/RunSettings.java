package org.modegpt.runs;

import java.nio.file.Path;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.modegpt.Settings;

/// Where runs are kept and what is done with them. Every setting is a system property `modegpt.x.y`
/// or the environment variable `MODEGPT_X_Y`; the property wins.
///
/// | variable | meaning |
/// |---|---|
/// | `MODEGPT_RUNS` | `off`, a file, or a `jdbc:postgresql:` URL; default `runs.db` in the home |
/// | `MODEGPT_HOME` | default `$XDG_DATA_HOME/modegpt`, else `~/.local/share/modegpt`; also holds `alerts.yaml` |
/// | `MODEGPT_MLFLOW` | URL of an MLflow server that finished runs are also sent to; `on` takes `MLFLOW_TRACKING_URI` |
/// | `MODEGPT_OTLP` | URL of an OpenTelemetry collector that finished runs are also sent to; `on` takes `OTEL_EXPORTER_OTLP_ENDPOINT` |
/// | `MODEGPT_METRICS_PORT` | port on the loopback address where a running job serves `/metrics` |
///
/// `store` is null when recording is off.
public record RunSettings(
    Path home, @Nullable String store, String mlflow, String otlp, int metricsPort) {
  /// Settings of a store alone: nothing is told to other programs.
  public static RunSettings of(Path home, @Nullable String store) {
    return new RunSettings(home, store, "", "", 0);
  }

  /// Settings of this process.
  public static RunSettings fromEnvironment() {
    String home = setting("home");
    Path folder = home.isEmpty() ? dataHome().resolve("modegpt") : Path.of(home);
    String runs = setting("runs");
    String store = runs.isEmpty() ? folder.resolve("runs.db").toString() : runs;
    if (runs.equalsIgnoreCase("off")) {
      store = null;
    }
    return new RunSettings(
        folder,
        store,
        address("mlflow", "MLFLOW_TRACKING_URI"),
        address("otlp", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        Settings.getInt("metrics.port", 0, 0));
  }

  /// These settings with recording turned off, for `--no-record`.
  public RunSettings off() {
    return of(home, null);
  }

  /// These settings with another store: a file or a `jdbc:postgresql:` URL.
  public RunSettings withStore(String location) {
    return new RunSettings(home, location, mlflow, otlp, metricsPort);
  }

  /// Where reading commands look, also when recording is off.
  public String location() {
    return store == null ? home.resolve("runs.db").toString() : store;
  }

  /// The rules evaluated after each run and by `alerts check`.
  public Path alertRules() {
    return home.resolve("alerts.yaml");
  }

  /// The setting, or for `on` the variable by which other programs know the address.
  private static String address(String name, String variable) {
    String value = setting(name);
    return value.equalsIgnoreCase("on") ? environment(variable) : value;
  }

  private static String setting(String name) {
    return Objects.requireNonNullElse(Settings.get(name), "");
  }

  private static String environment(String name) {
    String value = System.getenv(name);
    return value == null ? "" : value.strip();
  }

  private static Path dataHome() {
    String xdg = environment("XDG_DATA_HOME");
    return xdg.isEmpty()
        ? Path.of(System.getProperty("user.home"), ".local", "share")
        : Path.of(xdg);
  }
}
