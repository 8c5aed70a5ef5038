package org.modegpt.cli;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.modegpt.export.OutputFormat;
import org.modegpt.io.ByteSize;
import picocli.CommandLine.Option;

/// How a model is written.
final class WriteOptions {
  @Option(
      names = "--format",
      paramLabel = "FORMAT",
      description = {
        "All compute the same function; those without a size per layer fill up with zeros.",
        "compact: every layer as small as it is; transformers needs trust_remote_code.",
        "dense: the original's shapes and class, loads everywhere; saves no memory or time. Where queries and keys are normalised (qwen3, gemma3, olmo2) compress then leaves them whole.",
        "uniform: the original's class with one smaller MLP width; compress then shrinks only MLPs, all alike, which costs quality.",
        "deci: DeciLM (nemotron-nas) folder, an MLP width per layer in multiples of 256; compress then shrinks only MLPs; llama models.",
        "gguf, gguf-uniform, gguf-deci: the last three as one file for llama.cpp, with any --dtype.",
        "Default: gguf where the output is named so, else compact for compressed models and dense for others."
      })
  private @Nullable String name;

  @Option(
      names = "--max-shard-size",
      paramLabel = "SIZE",
      defaultValue = "5GB",
      description = "Largest file of weights in a folder (default: ${DEFAULT-VALUE}).")
  private String maxShardSize;

  @Option(names = "--overwrite", description = "Replace an existing output.")
  boolean overwrite;

  long maxShardBytes() {
    return ByteSize.parse(maxShardSize);
  }

  /// @param fallback when neither option nor the name of the output say
  OutputFormat format(@Nullable Path output, OutputFormat fallback) {
    if (name != null) {
      return OutputFormat.parse(name);
    }
    return output != null && output.toString().endsWith(".gguf") ? OutputFormat.GGUF : fallback;
  }
}
