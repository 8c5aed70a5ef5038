package org.modegpt.evaluate;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.modegpt.evaluate.PairedTest.Verdict;

/// Results of a model on tasks, alone or beside its baseline's.
///
/// @param rows one for each measure of each task that succeeded
public record Evaluation(Subject model, @Nullable Subject baseline, List<Row> rows) {
  /// Level at which a corrected p-value counts as shown.
  public static final double LEVEL = 0.05;

  /// A model with its results.
  ///
  /// @param hash identifies its weights; empty when not known
  /// @param footprint null when it was not measured
  public record Subject(
      String name,
      String path,
      String hash,
      long parameters,
      long bytes,
      @Nullable Footprint footprint,
      List<TaskResult> results) {

    public Optional<TaskResult> result(String task) {
      return results.stream().filter(r -> r.task().name().equals(task)).findFirst();
    }
  }

  /// A measure, and where there is a baseline its difference.
  ///
  /// @param primary whether it is the task's first measure: these are what verdicts are about
  /// @param corrected p-value corrected for the number of primary measures; NaN for others
  public record Row(
      TaskResult.TaskId task,
      Measure measure,
      boolean primary,
      @Nullable Measure baseline,
      @Nullable PairedTest test,
      double corrected) {

    public Optional<Verdict> verdict() {
      return test == null || !primary
          ? Optional.empty()
          : Optional.of(test.verdict(corrected, measure.higherIsBetter(), LEVEL));
    }
  }

  /// Sets results side by side and tests the differences.
  public static Evaluation of(Subject model, @Nullable Subject baseline) {
    List<Row> rows = new ArrayList<>();
    for (TaskResult result : model.results()) {
      for (int m = 0; m < result.measures().size(); m++) {
        Measure measure = result.measures().get(m);
        Measure other = baseline == null ? null : find(baseline, result, measure);
        PairedTest test = other == null ? null : PairedTest.of(measure, other);
        rows.add(new Row(result.task(), measure, m == 0, other, test, Double.NaN));
      }
    }
    double[] p =
        rows.stream()
            .mapToDouble(r -> r.primary && r.test != null ? r.test.p() : Double.NaN)
            .toArray();
    double[] corrected = PairedTest.holm(p);
    List<Row> tested = new ArrayList<>();
    for (int i = 0; i < rows.size(); i++) {
      Row r = rows.get(i);
      tested.add(new Row(r.task, r.measure, r.primary, r.baseline, r.test, corrected[i]));
    }
    return new Evaluation(model, baseline, tested);
  }

  /// The baseline's measure of the same items, or null.
  private static @Nullable Measure find(Subject baseline, TaskResult result, Measure measure) {
    return baseline.result(result.task().name()).stream()
        .filter(r ->
            r.task().hash().equals(result.task().hash())
                && r.task().examples() == result.task().examples())
        .flatMap(r -> r.measures().stream())
        .filter(m -> m.key().equals(measure.key()) && m.items() == measure.items())
        .findFirst()
        .orElse(null);
  }

  /// The row of a task's measure; without a metric name its primary one.
  public Optional<Row> row(String task, @Nullable String metric) {
    return rows.stream()
        .filter(r -> r.task.name().equals(task))
        .filter(r ->
            metric == null
                ? r.primary
                : r.measure.metric().equals(metric) || r.measure.key().equals(metric))
        .findFirst();
  }

  /// Errors of tasks, of both models.
  public List<String> errors() {
    List<String> errors = new ArrayList<>(errors(model));
    if (baseline != null) {
      errors(baseline).stream()
          .filter(e -> !errors.contains(e))
          .map(e -> "baseline: " + e)
          .toList()
          .forEach(errors::add);
    }
    return errors;
  }

  private static List<String> errors(Subject subject) {
    return subject.results().stream().filter(TaskResult::failed).map(TaskResult::error).toList();
  }

  /// Results that the baseline should have and has not, for the same items.
  public List<String> unpaired() {
    return baseline == null
        ? List.of()
        : rows.stream()
            .filter(r -> r.primary && r.test == null && !r.measure.metric().equals("kl_divergence"))
            .map(r -> r.task.name())
            .distinct()
            .toList();
  }
}
