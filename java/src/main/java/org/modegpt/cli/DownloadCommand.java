package org.modegpt.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.modegpt.Progress;
import org.modegpt.hub.FileSelection;
import org.modegpt.hub.Hub;
import org.modegpt.hub.HubSettings;
import org.modegpt.hub.ModelRef;
import org.modegpt.io.ByteSize;
import org.modegpt.io.Json;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

@Command(
    name = "download",
    description = {
      "Downloads a model from the Hugging Face hub into the cache that all tools share, and prints where it lies.",
      "Afterwards every command takes its name for MODEL. An interrupted download goes on where it stopped."
    },
    mixinStandardHelpOptions = true,
    footer = {
      "",
      "Examples:",
      "  modegpt download HuggingFaceTB/SmolLM2-135M",
      "  modegpt download Qwen/Qwen2.5-0.5B@main --dry-run",
      "  modegpt download org/name:Q8_0                       one .gguf file of many",
      "  modegpt download org/name --include '*' --local-dir my-model",
      "",
      "Environment: HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_TOKEN_PATH, HF_ENDPOINT, HF_HUB_OFFLINE,",
      "HF_HUB_DISABLE_IMPLICIT_TOKEN, HF_HUB_DOWNLOAD_TIMEOUT, HF_HUB_DISABLE_SYMLINKS,",
      "HF_HUB_DISABLE_PROGRESS_BARS, HTTPS_PROXY, HTTP_PROXY, NO_PROXY."
    })
final class DownloadCommand implements Callable<Integer> {
  @Parameters(
      paramLabel = "MODEL",
      description = "org/name, org/name@revision, or org/name:FILE for one .gguf file.")
  private String model;

  @Option(
      names = "--revision",
      paramLabel = "REV",
      description = "Branch, tag or commit (default: main).")
  private @Nullable String revision;

  @Option(
      names = "--include",
      paramLabel = "PATTERN",
      arity = "1..*",
      description =
          "Files to download, with * and ? (default: safetensors, or the only .gguf file, and what belongs to them).")
  private List<String> include = List.of();

  @Option(
      names = "--exclude",
      paramLabel = "PATTERN",
      arity = "1..*",
      description = "Files not to download.")
  private List<String> exclude = List.of();

  @Option(
      names = "--local-dir",
      paramLabel = "FOLDER",
      description = "Put real files there instead of the shared cache.")
  private @Nullable Path folder;

  @Option(
      names = "--token",
      paramLabel = "TOKEN",
      description = "For gated and private models (default: HF_TOKEN, else the stored login).")
  private @Nullable String token;

  @Option(names = "--dry-run", description = "Only list the files and what is missing.")
  private boolean dryRun;

  @Mixin private OutputOptions output;

  @Override
  public Integer call() {
    ModelRef named = ModelRef.parse(model);
    ModelRef ref = revision == null ? named : named.withRevision(revision);
    HubSettings settings = HubSettings.ofEnvironment();
    FileSelection selection = new FileSelection(include, exclude);
    try (Hub hub = new Hub(token == null ? settings : settings.withToken(token), output::say)) {
      if (dryRun) {
        list(hub.plan(ref, selection, folder));
      } else {
        Progress progress = settings.progressBars() ? output.progress() : Progress.SILENT;
        Path path = hub.download(ref, selection, folder, progress);
        if (output.json) {
          output.print(
              Json.MAPPER
                  .createObjectNode()
                  .put("model", ref.toString())
                  .put("path", path.toString()));
        } else {
          output.out().println(path);
          output.out().flush();
        }
      }
    }
    return 0;
  }

  private void list(Hub.Plan plan) {
    long missing =
        plan.files().stream().filter(f -> !f.present()).mapToLong(f -> Math.max(0, f.size())).sum();
    if (output.json) {
      ObjectNode root = Json.MAPPER.createObjectNode();
      root.put("model", plan.ref().toString()).put("commit", plan.commit());
      root.put("bytes", plan.bytes()).put("missing_bytes", missing);
      ArrayNode files = root.putArray("files");
      plan.files()
          .forEach(f ->
              files
                  .addObject()
                  .put("path", f.path())
                  .put("bytes", f.size())
                  .put("present", f.present()));
      output.print(root);
      return;
    }
    Table table = new Table("file", "size", "");
    for (Hub.Item file : plan.files()) {
      table.row(
          file.path(),
          file.size() < 0 ? "unknown" : ByteSize.format(file.size()),
          file.present() ? "there" : "to download");
    }
    output.out().print(table);
    output.out().flush();
    output.say(
        "%s at %s: %d files, %s, of which %s to download"
            .formatted(
                plan.ref(),
                plan.commit(),
                plan.files().size(),
                ByteSize.format(plan.bytes()),
                ByteSize.format(missing)));
  }
}
