package org.modegpt.cli;

import java.io.PrintWriter;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.modegpt.Progress;
import org.modegpt.io.Json;
import org.modegpt.runs.Run;
import picocli.CommandLine;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import tools.jackson.databind.JsonNode;

/// How a command tells its results and its progress.
final class OutputOptions {
  @Spec(Spec.Target.MIXEE)
  private CommandSpec spec;

  private @Nullable Run run;
  private final Map<String, Double> seconds = new LinkedHashMap<>();

  @Option(names = "--json", description = "Print the results as JSON.")
  boolean json;

  @Option(
      names = {"-q", "--quiet"},
      description = "No progress and no messages, only results and errors.")
  boolean quiet;

  @Option(
      names = {"-v", "--verbose"},
      description = "More messages; errors with their stack trace.")
  boolean verbose;

  @Option(names = "--no-progress", description = "No progress.")
  boolean noProgress;

  PrintWriter out() {
    return spec.commandLine().getOut();
  }

  /// A message for people, on standard error.
  void say(String message) {
    if (!quiet) {
      spec.commandLine().getErr().println(message);
    }
  }

  /// Something that went wrong without ending the command: one line on standard error, as the
  /// program tells errors.
  void problem(String message) {
    spec.commandLine().getErr().println("modegpt: " + message);
  }

  /// Asks for a line of input, on standard error.
  void prompt(String text) {
    if (!quiet) {
      spec.commandLine().getErr().print(text);
      spec.commandLine().getErr().flush();
    }
  }

  /// The command these options belong to, for errors of usage.
  CommandLine command() {
    return spec.commandLine();
  }

  void detail(String message) {
    if (verbose) {
      say(message);
    }
  }

  /// From now on progress and results also go to the record of this run.
  void recordIn(Run recorded) {
    run = recorded;
  }

  @Nullable Run run() {
    return run;
  }

  /// Does `work`, adds up how long it took, and tells it with --verbose.
  <T> T told(String phase, Supplier<T> work) {
    long start = System.nanoTime();
    T result = work.get();
    double taken = (System.nanoTime() - start) / 1e9;
    seconds.merge(phase, taken, Double::sum);
    detail("%s: %.1f s".formatted(phase, taken));
    return result;
  }

  /// Wall time of each phase that was [#told], in the order in which they first ended.
  Map<String, Double> seconds() {
    return Collections.unmodifiableMap(seconds);
  }

  /// Does `work` as a phase of the recorded run, for what tells no progress of its own.
  <T> T timed(String phase, Supplier<T> work) {
    Run present = run;
    if (present == null) {
      return work.get();
    }
    try (Run.Phase _ = present.next(phase)) {
      return work.get();
    }
  }

  Progress progress() {
    Progress shown = display();
    return run == null ? shown : run.progress(shown);
  }

  private Progress display() {
    return quiet || noProgress
        ? Progress.SILENT
        : new ProgressDisplay(spec.commandLine().getErr(), Boolean.getBoolean("modegpt.terminal"));
  }

  void print(JsonNode node) {
    out().print(Json.pretty(node));
    out().flush();
  }
}
