package org.modegpt.cli;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.modegpt.model.Transformer;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

/// The model a command works on.
final class ModelOption {
  @Parameters(
      arity = "0..1",
      paramLabel = "MODEL",
      description = DownloadOption.MODEL + " (default: the demonstration model).")
  private @Nullable String model;

  @Mixin private DownloadOption hub;

  private @Nullable Path path;

  Path path() {
    if (path == null) {
      path = model == null ? Demo.model() : hub.locate(model);
    }
    return path;
  }

  Transformer open() {
    return Transformer.open(path());
  }
}
