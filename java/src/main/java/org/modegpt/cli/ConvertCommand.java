package org.modegpt.cli;

import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.modegpt.Progress;
import org.modegpt.backend.Backend;
import org.modegpt.io.ByteSize;
import org.modegpt.io.Convert;
import org.modegpt.io.ModelDirectory;
import org.modegpt.tensor.DType;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

@Command(
    name = "convert",
    description = "Writes a GGUF file or a checkpoint as a Hugging Face folder in another type.",
    mixinStandardHelpOptions = true,
    footer = {"", "Example:", "  modegpt convert model.Q4_1.gguf -o model-hf --dtype f16"})
final class ConvertCommand implements Callable<Integer> {
  @Parameters(paramLabel = "MODEL", description = DownloadOption.MODEL + ".")
  private String model;

  @Mixin private DownloadOption hub;

  @Option(
      names = {"-o", "--output"},
      paramLabel = "FOLDER",
      required = true,
      description = "Folder to write.")
  private Path folder;

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      defaultValue = "bf16",
      description = "bf16, f16 or f32 (default: ${DEFAULT-VALUE}).")
  private String dtype;

  @Option(
      names = "--max-shard-size",
      paramLabel = "SIZE",
      defaultValue = "5GB",
      description = "Largest file of weights (default: ${DEFAULT-VALUE}).")
  private String maxShardSize;

  @Option(names = "--overwrite", description = "Replace an existing output folder.")
  private boolean overwrite;

  @Mixin private EngineOptions engine;
  @Mixin private OutputOptions output;

  @Override
  public Integer call() {
    DType parsed = DTypes.parse(dtype);
    DType type = parsed == null ? DType.BF16 : parsed;
    try (ModelDirectory source = ModelDirectory.open(hub.locate(model));
        Backend backend = engine.open()) {
      Progress progress = output.progress();
      Convert.run(
          source,
          folder,
          overwrite,
          type,
          ByteSize.parse(maxShardSize),
          backend,
          (done, total, name) -> progress.update("convert", done, total, "tensor"));
    }
    output.out().println("written: " + folder);
    output.out().flush();
    return 0;
  }
}
