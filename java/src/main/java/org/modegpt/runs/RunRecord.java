package org.modegpt.runs;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.time.Instant;
import java.util.List;
import java.util.Objects;
import java.util.SortedMap;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;

/// Everything known about one run: what `runs show` prints and what a line of an export holds.
///
/// `status` is one of `running`, `finished`, `failed`, `interrupted` (asked to stop) and `killed`
/// (no end recorded, process gone). `finished` and `progress` are null where there is none.
public record RunRecord(
    String id,
    String kind,
    String status,
    Instant started,
    @Nullable Instant finished,
    String error,
    String model,
    String recipe,
    String host,
    String machine,
    String version,
    String revision,
    String command,
    SortedMap<String, String> parameters,
    List<ModelUse> models,
    List<PhaseSpan> phases,
    @Nullable Progress progress,
    List<Metric> metrics,
    List<LayerResult> layers,
    List<ResourceSample> resources,
    List<SeriesPoint> series) {

  /// Fills in what an imported line left out; refuses one that is no run.
  public RunRecord {
    if (id == null
        || !id.matches("[A-Za-z0-9._-]{1,64}")
        || kind == null
        || kind.isEmpty()
        || started == null) {
      throw new UserException(
          "This is no run record: it needs an id (letters, digits, . _ -), a kind and a start time.");
    }
    status = Objects.requireNonNullElse(status, "");
    error = Objects.requireNonNullElse(error, "");
    model = Objects.requireNonNullElse(model, "");
    recipe = Objects.requireNonNullElse(recipe, "");
    host = Objects.requireNonNullElse(host, "");
    machine = Objects.requireNonNullElse(machine, "");
    version = Objects.requireNonNullElse(version, "");
    revision = Objects.requireNonNullElse(revision, "");
    command = Objects.requireNonNullElse(command, "");
    parameters = Objects.requireNonNullElseGet(parameters, TreeMap::new);
    models = Objects.requireNonNullElse(models, List.of());
    phases = Objects.requireNonNullElse(phases, List.of());
    metrics = Objects.requireNonNullElse(metrics, List.of());
    layers = Objects.requireNonNullElse(layers, List.of());
    resources = Objects.requireNonNullElse(resources, List.of());
    series = Objects.requireNonNullElse(series, List.of());
  }

  /// A phase that ended: wall time in seconds from `started`.
  public record PhaseSpan(String name, Instant started, double seconds) {}

  /// The last reported progress: `done` of `total` units of `phase` (total 0 when unknown).
  public record Progress(Instant at, String phase, long done, long total) {}

  /// A measured value. `standardError` is null where there is none; `tags` are sorted `name=value`
  /// pairs joined by commas.
  public record Metric(
      String name, double value, @Nullable Double standardError, String unit, String tags) {
    /// The name with its tags, as in `perplexity{dataset=wikitext2}`.
    @JsonProperty(access = JsonProperty.Access.READ_ONLY)
    public String key() {
      return tags.isEmpty() ? name : name + "{" + tags + "}";
    }

    /// A value by its [#key]; what follows the name counts as tags when the braces are closed.
    public static Metric ofKey(String key, double value) {
      int brace = key.indexOf('{');
      String name = brace < 0 ? key : key.substring(0, brace);
      boolean closed = brace >= 0 && key.endsWith("}");
      String tags = closed ? key.substring(brace + 1, key.length() - 1) : "";
      return new Metric(name, value, null, "", tags);
    }
  }

  /// What compression did to module `module` (`mlp`, `qk`, `vo`) of a layer: dimensions before and
  /// after, and its loss, predicted by the allocation (nats) and measured (relative error of the
  /// module's output); null where not known.
  public record LayerResult(
      int layer,
      String module,
      long original,
      long kept,
      @Nullable Double predictedLoss,
      @Nullable Double measuredError) {}

  /// Processor cores kept busy on average since the sample before, resident memory, and the
  /// accelerator's use (0 to 1) and memory.
  public record ResourceSample(
      Instant at,
      double cpuCores,
      long rssBytes,
      @Nullable Double gpuUtilisation,
      @Nullable Long gpuBytes) {}

  /// A value at a moment, for what changes while a run lasts.
  public record SeriesPoint(Instant at, String name, double value) {}

  /// The value of the metric with this key or, if there is none, the first of this name; NaN
  /// without either.
  public double metric(String keyOrName) {
    return metrics.stream()
        .filter(m -> m.key().equals(keyOrName))
        .findFirst()
        .or(() -> metrics.stream().filter(m -> m.name().equals(keyOrName)).findFirst())
        .map(Metric::value)
        .orElse(Double.NaN);
  }

  /// Wall time in seconds, up to the last sign of life of a run without an end.
  @JsonProperty(access = JsonProperty.Access.READ_ONLY)
  public double seconds() {
    Instant end = finished;
    if (end == null) {
      end = resources.isEmpty() ? started : resources.getLast().at();
    }
    return Math.max(0, (end.toEpochMilli() - started.toEpochMilli()) / 1e3);
  }
}
