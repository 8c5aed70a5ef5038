package org.modegpt.evaluate;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.evaluate.Evaluation.Row;
import org.modegpt.evaluate.Evaluation.Subject;
import org.modegpt.io.ByteSize;
import org.modegpt.tasks.LocatedYaml;
import tools.jackson.databind.JsonNode;

/// What a model must reach to pass: thresholds of results, absolute and against the baseline, and
/// of size and speed, from a YAML or JSON file. TASKS.md documents the format.
public final class Gates {
  /// How sure a threshold wants to be.
  private enum Evidence {
    /// The values decide.
    VALUE,
    /// It fails only when the 95 % confidence interval lies beyond the threshold.
    FAIL_IF_SHOWN,
    /// It passes only when the 95 % confidence interval lies within the threshold.
    PASS_IF_SHOWN
  }

  /// What became of one threshold.
  public record Outcome(String name, boolean passed, String message) {}

  private interface Check {
    Outcome of(Evaluation evaluation);
  }

  private static final double Z95 = 1.959964;

  private final LocatedYaml yaml;
  private final List<Check> checks = new ArrayList<>();
  private boolean speed;

  private Gates(LocatedYaml yaml) {
    this.yaml = yaml;
  }

  /// Reads a gate file.
  ///
  /// @throws UserException `FILE:LINE: reason` when it is wrong
  public static Gates read(Path file) {
    Gates gates = new Gates(LocatedYaml.read(file));
    gates.parse();
    return gates;
  }

  /// Whether a threshold needs the models' speed or memory.
  public boolean needSpeed() {
    return speed;
  }

  public List<Outcome> judge(Evaluation evaluation) {
    return checks.stream().map(c -> c.of(evaluation)).toList();
  }

  private void parse() {
    JsonNode list = yaml.get("gates");
    if (list == null || !list.isArray() || list.isEmpty()) {
      throw yaml.error(
          "/gates", "a gate file needs 'gates', a list such as [{task: arc_easy, max_drop: 0.02}]");
    }
    for (int i = 0; i < list.size(); i++) {
      String at = "/gates/" + i;
      if (!list.get(i).isObject()) {
        throw yaml.error(at, "want an object such as {task: arc_easy, max_drop: 0.02}");
      }
      int before = checks.size();
      String task = yaml.text(at, "task");
      if (task != null) {
        taskGate(at, task);
      } else {
        modelGate(at);
      }
      yaml.refuseUnknown(at, Set.of("about"));
      if (checks.size() == before) {
        throw yaml.error(at, "this gate has no threshold");
      }
    }
    yaml.refuseUnknown("", Set.of("about"));
  }

  private void taskGate(String at, String task) {
    String metric = yaml.text(at, "metric");
    Evidence evidence = evidence(at);
    threshold(at, "min", task, metric, (r, t) -> absolute(r, r.measure().value() - t, evidence));
    threshold(at, "max", task, metric, (r, t) -> absolute(r, t - r.measure().value(), evidence));
    threshold(at, "max_drop", task, metric, (r, t) -> relative(r, loss(r), t, 1, evidence));
    threshold(
        at,
        "max_relative_drop",
        task,
        metric,
        (r, t) -> relative(r, loss(r), t * base(r), base(r), evidence));
    threshold(
        at,
        "min_retained",
        task,
        metric,
        (r, t) -> relative(r, loss(r), (1 - t) * base(r), base(r), evidence));
    threshold(
        at,
        "max_increase",
        task,
        metric,
        (r, t) -> relative(r, difference(r), t * base(r), base(r), evidence));
    JsonNode worse = yaml.at(at, "not_worse");
    if (worse != null && yaml.flag(at, false, "not_worse")) {
      checks.add(e ->
          judged(
              e,
              task,
              metric,
              "not shown worse",
              r -> {
                require(r);
                boolean ok = r.verdict().map(v -> v != PairedTest.Verdict.WORSE).orElse(true);
                return new Judged(
                    ok, r.verdict().map(PairedTest.Verdict::label).orElse("not tested"));
              }));
    }
  }

  private Evidence evidence(String at) {
    String text = yaml.text(at, "evidence");
    if (text == null) {
      return Evidence.VALUE;
    }
    for (Evidence evidence : Evidence.values()) {
      if (evidence.name().toLowerCase(Locale.ROOT).equals(text.replace('-', '_'))) {
        return evidence;
      }
    }
    throw yaml.error(at + "/evidence", "want value, fail_if_shown or pass_if_shown, not " + text);
  }

  private record Judged(boolean passed, String message) {}

  private interface Rule {
    Judged judge(Row row, double threshold);
  }

  private interface RowRule {
    Judged judge(Row row);
  }

  private void threshold(String at, String key, String task, @Nullable String metric, Rule rule) {
    Double threshold = yaml.number(at, key);
    if (threshold != null) {
      checks.add(e ->
          judged(e, task, metric, key + " " + plain(threshold), r -> rule.judge(r, threshold)));
    }
  }

  private static Outcome judged(
      Evaluation evaluation, String task, @Nullable String metric, String what, RowRule rule) {
    Row row = evaluation.row(task, metric).orElse(null);
    String name = task + (metric == null ? "" : " " + metric) + ": " + what;
    if (row == null) {
      String reason =
          evaluation
              .model()
              .result(task)
              .map(r -> r.failed() ? r.error() : "the task has no metric " + metric)
              .orElse("the task was not evaluated; add it to --tasks");
      return new Outcome(name, false, reason);
    }
    try {
      Judged judged = rule.judge(row);
      return new Outcome(
          task + " " + row.measure().label() + ": " + what, judged.passed(), judged.message());
    } catch (UserException e) {
      return new Outcome(name, false, String.valueOf(e.getMessage()));
    }
  }

  private static void require(Row row) {
    if (row.test() == null) {
      throw new UserException("there is no baseline with the same items to compare with");
    }
  }

  private static double base(Row row) {
    require(row);
    return java.util.Objects.requireNonNull(row.baseline()).value();
  }

  private static double difference(Row row) {
    require(row);
    return java.util.Objects.requireNonNull(row.test()).difference();
  }

  /// How much worse than the baseline, positive for worse.
  private static double loss(Row row) {
    return row.measure().higherIsBetter() ? -difference(row) : difference(row);
  }

  /// @param margin positive when the value is on the right side of its threshold
  private static Judged absolute(Row row, double margin, Evidence evidence) {
    double error = row.measure().standardError();
    return new Judged(
        within(margin, error, evidence),
        "%s ± %s".formatted(plain(row.measure().value()), plain(error)));
  }

  /// @param loss against the baseline
  /// @param allowed what the threshold allows of it
  /// @param unit for the message: 1, or the baseline's value for a share of it
  private static Judged relative(
      Row row, double loss, double allowed, double unit, Evidence evidence) {
    require(row);
    double error = java.util.Objects.requireNonNull(row.test()).standardError();
    String share =
        unit == 1 ? "" : String.format(Locale.ROOT, ", %+.1f %%", 100 * difference(row) / unit);
    return new Judged(
        within(allowed - loss, error, evidence),
        "%s against %s, difference %s ± %s%s"
            .formatted(
                plain(row.measure().value()),
                plain(base(row)),
                plain(difference(row)),
                plain(error),
                share));
  }

  private static boolean within(double margin, double error, Evidence evidence) {
    return switch (evidence) {
      case VALUE -> margin >= 0;
      case FAIL_IF_SHOWN -> !(margin + Z95 * error < 0) && !Double.isNaN(margin);
      case PASS_IF_SHOWN -> margin - Z95 * error >= 0;
    };
  }

  private void modelGate(String at) {
    String size = yaml.text(at, "max_size");
    if (size != null) {
      long bytes = bytes(at + "/max_size", size);
      checks.add(
          e -> most("max_size " + size, (double) e.model().bytes(), (double) bytes, "bytes"));
    }
    Double parameters = yaml.number(at, "max_parameters");
    if (parameters != null) {
      checks.add(e ->
          most(
              "max_parameters " + plain(parameters),
              (double) e.model().parameters(),
              parameters,
              "parameters"));
    }
    Double ratio = yaml.number(at, "max_size_ratio");
    if (ratio != null) {
      checks.add(e ->
          against(e, "max_size_ratio " + plain(ratio), s -> (double) s.bytes(), r -> r <= ratio));
    }
    String memory = yaml.text(at, "max_peak_memory");
    if (memory != null) {
      speed = true;
      long bytes = bytes(at + "/max_peak_memory", memory);
      checks.add(e ->
          most(
              "max_peak_memory " + memory,
              (double) footprint(e.model()).peakMemory(),
              (double) bytes,
              "bytes"));
    }
    Double decode = yaml.number(at, "min_decode_tokens_per_second", "min_tokens_per_second");
    if (decode != null) {
      speed = true;
      checks.add(e ->
          least(
              "min_decode_tokens_per_second " + plain(decode),
              footprint(e.model()).decode().mean(),
              decode));
    }
    Double prefill = yaml.number(at, "min_prefill_tokens_per_second");
    if (prefill != null) {
      speed = true;
      checks.add(e ->
          least(
              "min_prefill_tokens_per_second " + plain(prefill),
              footprint(e.model()).prefill().mean(),
              prefill));
    }
    Double speedup = yaml.number(at, "min_decode_speedup");
    if (speedup != null) {
      speed = true;
      checks.add(e ->
          against(
              e,
              "min_decode_speedup " + plain(speedup),
              s -> footprint(s).decode().mean(),
              r -> r >= speedup));
    }
  }

  private long bytes(String pointer, String text) {
    try {
      return ByteSize.parse(text);
    } catch (UserException e) {
      throw yaml.error(pointer, String.valueOf(e.getMessage()));
    }
  }

  private static Footprint footprint(Subject subject) {
    if (subject.footprint() == null) {
      throw new UserException("speed was not measured; add --speed");
    }
    return subject.footprint();
  }

  private static Outcome most(String name, double value, double threshold, String unit) {
    return new Outcome("model: " + name, value <= threshold, plain(value) + " " + unit);
  }

  private static Outcome least(String name, double value, double threshold) {
    return new Outcome("model: " + name, value >= threshold, plain(value) + " tokens/s");
  }

  private interface Figure {
    double of(Subject subject);
  }

  private static Outcome against(
      Evaluation e, String name, Figure figure, java.util.function.DoublePredicate passes) {
    if (e.baseline() == null) {
      return new Outcome("model: " + name, false, "there is no baseline to compare with");
    }
    double ratio = figure.of(e.model()) / figure.of(e.baseline());
    return new Outcome(
        "model: " + name, passes.test(ratio), plain(ratio) + " times the baseline's");
  }

  static String plain(double value) {
    if (value == Math.rint(value) && Math.abs(value) < 1e15) {
      return Long.toString((long) value);
    }
    return String.format(Locale.ROOT, Math.abs(value) >= 100 ? "%.2f" : "%.4f", value);
  }
}
