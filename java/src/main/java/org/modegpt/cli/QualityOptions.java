package org.modegpt.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.BiConsumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.compress.QualitySearch;
import org.modegpt.evaluate.Evaluation;
import org.modegpt.evaluate.Evaluation.Row;
import org.modegpt.evaluate.Evaluation.Subject;
import org.modegpt.evaluate.Evaluator;
import org.modegpt.io.ModelWriter;
import org.modegpt.tasks.TaskDefinition;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/// Asking for quality instead of size: the smallest model within limits of perplexity and accuracy,
/// found by making and measuring some.
final class QualityOptions {
  @Option(
      names = "--max-perplexity-increase",
      paramLabel = "PERCENT",
      description =
          "Instead of a size: the smallest model whose perplexity on --file rises by at most so much, found by trying; 10%% or 0.1.")
  private @Nullable String increase;

  @Option(
      names = "--min-accuracy-retained",
      paramLabel = "PERCENT",
      description =
          "Instead of a size: the smallest model that keeps so much of the original's accuracy, the mean over --tasks; 95%% or 0.95.")
  private @Nullable String retained;

  @Option(
      names = "--tasks",
      paramLabel = "NAME",
      split = ",",
      description = "Tasks and suites of --min-accuracy-retained, as 'modegpt eval' takes them.")
  private List<String> tasks = List.of();

  @Option(
      names = {"-L", "--limit"},
      paramLabel = "N",
      description = "Only the first N items of each task.")
  private @Nullable Integer limit;

  @Mixin private TaskOptions taskOptions;

  boolean given() {
    return increase != null || retained != null;
  }

  /// Refuses what makes no sense with the message for it.
  void check(Function<String, ? extends RuntimeException> usage) {
    if (increase != null) {
      double share = share(increase);
      if (Double.isNaN(share)) {
        throw usage.apply(
            "--max-perplexity-increase must be a number like 10% or 0.1, not " + increase);
      }
      if (!(share > 0 && share <= 10)) {
        throw usage.apply(
            "--max-perplexity-increase must be above 0 and at most 1000%, not " + increase);
      }
    }
    if (retained != null) {
      double share = share(retained);
      if (Double.isNaN(share)) {
        throw usage.apply(
            "--min-accuracy-retained must be a number like 95% or 0.95, not " + retained);
      }
      if (!(share > 0 && share < 1)) {
        throw usage.apply("--min-accuracy-retained must be between 0 and 100%, not " + retained);
      }
      if (tasks.isEmpty()) {
        throw usage.apply(
            "--min-accuracy-retained needs --tasks, for example --tasks arc_easy,hellaswag");
      }
    } else if (!tasks.isEmpty() || limit != null) {
      throw usage.apply("--tasks and --limit belong to --min-accuracy-retained");
    }
    if (limit != null && limit < 1) {
      throw usage.apply("--limit must be at least 1, not " + limit);
    }
  }

  /// What an output is named by.
  String label() {
    List<String> parts = new ArrayList<>();
    if (increase != null) {
      parts.add("within-" + Math.round(100 * share(increase)));
    }
    if (retained != null) {
      parts.add("retains-" + Math.round(100 * share(retained)));
    }
    return String.join("-", parts);
  }

  /// `10%` or `0.1` as 0.1; not a number when it is none.
  private static double share(String text) {
    try {
      return Double.parseDouble(text.replace("%", "").strip()) / (text.contains("%") ? 100 : 1);
    } catch (NumberFormatException e) {
      return Double.NaN;
    }
  }

  /// The largest ratio whose model keeps within the limits.
  ///
  /// @param original folder or file of the model
  /// @param make writes a model of a ratio to a folder
  /// @param out beside which trials are written; they are removed
  double largest(
      Path original,
      Backend backend,
      BiConsumer<Double, Path> make,
      CompressionTable comparison,
      OutputOptions output,
      Path out) {
    Tasks measured = retained == null ? null : new Tasks(original, backend, output);
    try (ModelWriter work = CompressOutputs.workplace(out)) {
      Path trial = work.folder().resolve("trial");
      // The share that is used up of the limit that is nearest to be reached.
      return QualitySearch.largest(
          1,
          ratio -> {
            make.accept(ratio, trial);
            double used = Double.NEGATIVE_INFINITY;
            StringBuilder line =
                new StringBuilder(String.format(Locale.ROOT, "%.1f %% removed:", 100 * ratio));
            if (increase != null) {
              double loss = comparison.logIncrease(trial);
              used = loss / Math.log1p(share(increase));
              line.append(
                  String.format(Locale.ROOT, " perplexity %+.1f %%", 100 * Math.expm1(loss)));
            }
            if (measured != null) {
              double kept = measured.retained(trial);
              double loss = (1 - kept) / (1 - share(retained));
              used = Double.isNaN(used) ? used : Math.max(used, loss);
              line.append(String.format(Locale.ROOT, " accuracy retained %.1f %%", 100 * kept));
            }
            output.say(line.toString());
            return used;
          });
    }
  }

  /// Accuracy on the tasks, against the original's.
  private final class Tasks {
    private final Evaluator evaluator;
    private final Backend backend;
    private final OutputOptions output;
    private final Subject original;

    Tasks(Path original, Backend backend, OutputOptions output) {
      List<TaskDefinition> definitions = taskOptions.definitions(tasks, limit, null);
      evaluator = new Evaluator(definitions, taskOptions.folders(), null, true, false);
      this.backend = backend;
      this.output = output;
      this.original = run(original);
    }

    private Subject run(Path model) {
      return evaluator.run(model, null, backend, output.progress(), (name, result) -> {});
    }

    /// The mean of the tasks' accuracies over the original's.
    double retained(Path model) {
      Evaluation evaluation = Evaluation.of(run(model), original);
      if (!evaluation.errors().isEmpty()) {
        throw new UserException(evaluation.errors().getFirst());
      }
      double now = 0;
      double before = 0;
      for (Row row : evaluation.rows()) {
        if (row.primary() && row.measure().higherIsBetter() && row.baseline() != null) {
          now += row.measure().value();
          before += row.baseline().value();
        }
      }
      if (!(before > 0)) {
        throw new UserException(
            "the original has no accuracy above 0 on " + String.join(", ", tasks));
      }
      return now / before;
    }
  }
}
