package org.modegpt.cli;

import java.nio.file.Path;
import org.modegpt.hub.FileSelection;
import org.modegpt.hub.Hub;
import org.modegpt.hub.HubSettings;
import org.modegpt.hub.ModelLocator;
import org.modegpt.hub.ModelRef;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/// How commands find the model a user names: a path, or a name on the hub.
final class DownloadOption {
  static final String MODEL = "Hugging Face folder, .gguf file, or org/name of a downloaded model";

  @Spec(Spec.Target.MIXEE)
  private CommandSpec spec;

  @Option(
      names = "--download",
      description = "Download a model given as org/name that is not in the cache.")
  private boolean download;

  Path locate(String model) {
    HubSettings settings = HubSettings.ofEnvironment();
    return new ModelLocator(settings)
        .locate(model, download ? ref -> download(settings, ref) : null);
  }

  private Path download(HubSettings settings, ModelRef ref) {
    try (Hub hub = new Hub(settings, spec.commandLine().getErr()::println)) {
      return hub.download(
          ref,
          FileSelection.DEFAULT,
          null,
          new ProgressDisplay(spec.commandLine().getErr(), Boolean.getBoolean("modegpt.terminal")));
    }
  }
}
