package org.modegpt.cli;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.modegpt.model.Transformer;
import picocli.CommandLine.Parameters;

/// The model a command works on.
final class ModelOption {
  @Parameters(
      arity = "0..1",
      paramLabel = "MODEL",
      description = "Hugging Face folder or .gguf file (default: the demonstration model).")
  private @Nullable Path path;

  Path path() {
    return path == null ? Demo.model() : path;
  }

  Transformer open() {
    return Transformer.open(path());
  }
}
