package org.modegpt.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import org.modegpt.backend.Backend;
import org.modegpt.io.Json;
import org.modegpt.model.Decoder;
import org.modegpt.model.Transformer;
import org.modegpt.runs.Metrics;
import org.modegpt.runs.ModelUse;
import org.modegpt.runs.ResourceSampler;
import org.modegpt.runs.Run;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

@Command(
    name = "bench",
    description = "Measures prompt processing (pp) and generation (tg) speed of models.",
    mixinStandardHelpOptions = true,
    footer = {"", "Example:", "  modegpt bench my-model out/my-model-30 -p 512,1024 -n 64"})
final class BenchCommand implements Callable<Integer> {
  @Parameters(
      arity = "0..*",
      paramLabel = "MODEL",
      description = "Models (default: the demonstration model).")
  private List<String> names = List.of();

  @Mixin private DownloadOption hub;

  @Option(
      names = {"-p", "--n-prompt"},
      paramLabel = "N",
      split = ",",
      defaultValue = "512",
      description = "Prompt lengths (default: ${DEFAULT-VALUE}).")
  private List<Integer> prompts;

  @Option(
      names = {"-n", "--n-gen"},
      paramLabel = "N",
      split = ",",
      defaultValue = "64",
      description = "Generated tokens (default: ${DEFAULT-VALUE}).")
  private List<Integer> generated;

  @Option(
      names = {"-r", "--repetitions"},
      paramLabel = "N",
      defaultValue = "5",
      description = "Runs of each test after one that warms up (default: ${DEFAULT-VALUE}).")
  private int repetitions;

  @Mixin private EngineOptions engine;
  @Mixin private RecordOptions record;
  @Mixin private OutputOptions output;

  private record Row(
      String model,
      long bytes,
      long parameters,
      String test,
      double mean,
      double deviation,
      double best,
      List<Double> samples,
      double cpuSeconds) {}

  @Override
  public Integer call() {
    return record.recordSeveral("bench", this::run);
  }

  private int run(RecordOptions.Recording recording) {
    List<Row> rows = new ArrayList<>();
    String device;
    int threads = engine.threads == 0 ? Runtime.getRuntime().availableProcessors() : engine.threads;
    try (Backend backend = engine.open()) {
      device = backend.name();
      for (Path path : paths()) {
        // Remains of the model before this one do not count as this one's memory.
        System.gc();
        Run run = recording.next(engine.parameters(path));
        try (Transformer model = Transformer.open(path)) {
          run.model(ModelUse.SUBJECT, model.directory().path(), model.parameters());
          measure(model, backend, rows, run);
        }
      }
    }
    print(rows, device, threads);
    return 0;
  }

  private List<Path> paths() {
    return names.isEmpty() ? List.of(Demo.model()) : names.stream().map(hub::locate).toList();
  }

  private void measure(Transformer model, Backend backend, List<Row> rows, Run run) {
    int context =
        prompts.stream().mapToInt(Integer::intValue).max().orElse(0)
            + generated.stream().mapToInt(Integer::intValue).max().orElse(0)
            + 1;
    long bytes =
        model.tensors().names().stream().mapToLong(n -> model.tensors().info(n).bytes()).sum();
    int vocabulary = model.config().vocabSize();
    try (Decoder decoder = new Decoder(backend, model, context)) {
      for (int n : prompts) {
        int[] ids = new int[n];
        Arrays.setAll(ids, i -> (i * 7919 + 13) % vocabulary);
        String test = "pp" + n;
        Row row = row(model, bytes, test, n, () -> decoder.feed(ids), decoder);
        rows.add(row);
        record(run, Metrics.PROMPT_TOKENS_PER_SECOND, row);
      }
      for (int n : generated) {
        Runnable generate =
            () -> {
              for (int i = 0; i < n; i++) {
                decoder.feed((i * 7919 + 13) % vocabulary);
              }
            };
        Row row = row(model, bytes, "tg" + n, n, generate, decoder);
        rows.add(row);
        record(run, Metrics.TOKENS_PER_SECOND, row);
      }
    }
  }

  private void record(Run run, String metric, Row row) {
    double error = row.deviation / Math.sqrt(repetitions);
    run.metric(metric, row.mean, error, "1/s", Map.of("test", row.test));
    // What other work on the machine takes away shows least in the best repetition, and hardly in
    // the processor time.
    run.metric(Metrics.BEST + metric, row.best, null, "1/s", Map.of("test", row.test));
    run.metric(Metrics.CPU_SECONDS, row.cpuSeconds, null, "s", Map.of("test", row.test));
  }

  private Row row(
      Transformer model, long bytes, String test, int tokens, Runnable work, Decoder decoder) {
    double[] rates = new double[repetitions];
    long cpu = 0;
    for (int i = -1; i < repetitions; i++) {
      cpu = i == 0 ? ResourceSampler.cpuNanos() : cpu;
      decoder.cache().truncate(0);
      long start = System.nanoTime();
      work.run();
      double rate = tokens / ((System.nanoTime() - start) / 1e9);
      if (i >= 0) {
        rates[i] = rate;
      }
    }
    double cpuSeconds = (ResourceSampler.cpuNanos() - cpu) / 1e9 / repetitions / tokens;
    double mean = Arrays.stream(rates).average().orElse(0);
    double variance =
        Arrays.stream(rates).map(r -> (r - mean) * (r - mean)).sum() / Math.max(1, repetitions - 1);
    return new Row(
        model.directory().name(),
        bytes,
        model.parameters(),
        test,
        mean,
        Math.sqrt(variance),
        Arrays.stream(rates).max().orElse(0),
        Arrays.stream(rates).boxed().toList(),
        cpuSeconds);
  }

  private void print(List<Row> rows, String device, int threads) {
    if (output.json) {
      ObjectNode root = Json.MAPPER.createObjectNode();
      ArrayNode list = root.putArray("results");
      for (Row row : rows) {
        ObjectNode node = list.addObject();
        node.put("model", row.model);
        node.put("bytes", row.bytes);
        node.put("parameters", row.parameters);
        node.put("backend", device);
        node.put("threads", threads);
        node.put("test", row.test);
        node.put("tokens_per_second", row.mean);
        node.put("stddev", row.deviation);
        node.set("samples", Json.MAPPER.valueToTree(row.samples));
      }
      output.print(root);
      return;
    }
    Table table = new Table("model", "size", "params", "backend", "threads", "test", "t/s");
    for (Row row : rows) {
      table.row(
          row.model,
          Table.mebibytes(row.bytes),
          String.format(Locale.ROOT, "%.2f M", row.parameters / 1e6),
          device,
          threads,
          row.test,
          String.format(Locale.ROOT, "%.2f ± %.2f", row.mean, row.deviation));
    }
    output.out().print(table);
    output.out().flush();
  }
}
