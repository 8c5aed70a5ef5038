package org.modegpt.runs.cli;

import org.jspecify.annotations.Nullable;
import org.modegpt.runs.RunSettings;
import org.modegpt.runs.RunStore;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/// Options that all commands about runs share.
@Command(mixinStandardHelpOptions = true)
final class StoreOption {
  @Option(
      names = "--store",
      paramLabel = "PLACE",
      description =
          "The run store: a file or a jdbc:postgresql: URL (default: MODEGPT_RUNS, else runs.db in MODEGPT_HOME).")
  private @Nullable String place;

  RunSettings settings() {
    RunSettings settings = RunSettings.fromEnvironment();
    return place == null ? settings : settings.withStore(place);
  }

  RunStore open() {
    return RunStore.open(settings().location());
  }
}
