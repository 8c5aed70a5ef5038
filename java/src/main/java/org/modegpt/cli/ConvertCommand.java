package org.modegpt.cli;

import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.modegpt.export.Export;
import org.modegpt.export.OutputFormat;
import org.modegpt.model.Transformer;
import org.modegpt.tensor.DType;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

@Command(
    name = "convert",
    description = "Writes a model in another format or type.",
    mixinStandardHelpOptions = true,
    footer = {
      "",
      "Examples:",
      "  modegpt convert model.Q4_1.gguf -o model-hf --dtype f16        a GGUF file as a Hugging Face folder",
      "  modegpt convert small -o small-dense --format dense            a compressed model for tools without remote code",
      "  modegpt convert small -o small.gguf --dtype q8_0               the same for llama.cpp"
    })
final class ConvertCommand implements Callable<Integer> {
  @Parameters(paramLabel = "MODEL", description = DownloadOption.MODEL + ".")
  private String model;

  @Mixin private DownloadOption hub;

  @Option(
      names = {"-o", "--output"},
      paramLabel = "PATH",
      required = true,
      description = "Folder, or .gguf file, to write.")
  private Path out;

  @Mixin private WriteOptions writing;

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      defaultValue = "bf16",
      description = "bf16, f16, f32, for GGUF also q8_0 or q4_0 (default: ${DEFAULT-VALUE}).")
  private String dtype;

  @Mixin private EngineOptions engine;
  @Mixin private OutputOptions output;

  @Override
  public Integer call() {
    DType parsed = DTypes.parse(dtype);
    DType type = parsed == null ? DType.BF16 : parsed;
    try (Transformer source = Transformer.open(hub.locate(model))) {
      OutputFormat usual = source.config().compressed() ? OutputFormat.COMPACT : OutputFormat.DENSE;
      new Export(source, writing.format(out, usual), type)
          .write(out, writing.overwrite, writing.maxShardBytes(), engine.threads, output.progress())
          .forEach(output::say);
    }
    output.out().println("written: " + out);
    output.out().flush();
    return 0;
  }
}
