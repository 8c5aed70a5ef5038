package org.modegpt.cli;

import java.io.PrintWriter;
import org.jspecify.annotations.Nullable;
import org.modegpt.runs.RunSettings;
import org.modegpt.runs.RunStore;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/// Options that all commands about runs share.
@Command(mixinStandardHelpOptions = true)
final class StoreOption {
  @Option(
      names = "--store",
      paramLabel = "PLACE",
      description =
          "The run store: a file or a jdbc:postgresql: URL (default: MODEGPT_RUNS, else runs.db in MODEGPT_HOME).")
  private @Nullable String place;

  @Spec(Spec.Target.MIXEE)
  private CommandSpec spec;

  @Option(names = "--json", description = "Print the results as JSON.")
  boolean json;

  /// Where results go.
  PrintWriter out() {
    return spec.commandLine().getOut();
  }

  /// A message for people, on standard error.
  void say(String message) {
    spec.commandLine().getErr().println(message);
  }

  RunSettings settings() {
    RunSettings settings = RunSettings.fromEnvironment();
    return place == null ? settings : settings.withStore(place);
  }

  RunStore open() {
    return RunStore.open(settings().location());
  }
}
