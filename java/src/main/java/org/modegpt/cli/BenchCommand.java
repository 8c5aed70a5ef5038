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
    footer = {
      "",
      "Examples:",
      "  modegpt bench my-model out/my-model-30 -p 512,1024 -n 64",
      "  modegpt bench my-model -p 128 -n 64 -b 1,8,32 --depth 1024     sequences side by side"
    })
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
      names = {"-b", "--batch-size"},
      paramLabel = "N",
      split = ",",
      defaultValue = "1",
      description = "Sequences at once; speeds are of all together (default: ${DEFAULT-VALUE}).")
  private List<Integer> batches;

  @Option(
      names = {"-d", "--depth"},
      paramLabel = "N",
      defaultValue = "0",
      description = "Tokens before the generated ones, not timed (default: ${DEFAULT-VALUE}).")
  private int depth;

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
      int batch,
      double mean,
      double deviation,
      double best,
      List<Double> samples,
      double cpuSeconds) {

    /// The test with what makes its figures incomparable with others.
    String setting() {
      return batch == 1 ? test : test + " b" + batch;
    }
  }

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
    long bytes = model.bytes();
    int context = Math.max(largest(prompts), depth + largest(generated));
    try (Decoder decoder = new Decoder(backend, model, largest(batches), context)) {
      for (int batch : batches) {
        for (int n : prompts) {
          Row row =
              row(model, bytes, "pp" + n, batch, n, 0, () -> feed(decoder, batch, n), decoder);
          rows.add(row);
          record(run, Metrics.PROMPT_TOKENS_PER_SECOND, row);
        }
        if (!generated.isEmpty()) {
          forget(decoder, 0);
          feed(decoder, batch, depth);
        }
        for (int n : generated) {
          Runnable generate =
              () -> {
                for (int i = 0; i < n; i++) {
                  feed(decoder, batch, 1);
                }
              };
          String test = "tg" + n + (depth > 0 ? " @ d" + depth : "");
          Row row = row(model, bytes, test, batch, n, depth, generate, decoder);
          rows.add(row);
          record(run, Metrics.TOKENS_PER_SECOND, row);
        }
      }
    }
  }

  private static int largest(List<Integer> numbers) {
    return numbers.stream().mapToInt(Integer::intValue).max().orElse(0);
  }

  /// The next `count` tokens of `batch` sequences, up to the greedy choice of what follows.
  private static void feed(Decoder decoder, int batch, int count) {
    if (count == 0) {
      return;
    }
    List<Decoder.Tokens> inputs = new ArrayList<>();
    for (int sequence = 0; sequence < batch; sequence++) {
      int from = decoder.cache().length(sequence) + sequence;
      int[] ids = new int[count];
      Arrays.setAll(ids, i -> ((from + i) * 7919 + 13) % decoder.vocabulary());
      inputs.add(new Decoder.Tokens(sequence, ids));
    }
    decoder.next(inputs);
  }

  private static void forget(Decoder decoder, int length) {
    for (int sequence = 0; sequence < decoder.cache().sequences(); sequence++) {
      decoder.cache().truncate(sequence, Math.min(length, decoder.cache().length(sequence)));
    }
  }

  private void record(Run run, String metric, Row row) {
    double error = row.deviation / Math.sqrt(repetitions);
    run.metric(metric, row.mean, error, "1/s", Map.of("test", row.setting()));
    // What other work on the machine takes away shows least in the best repetition, and hardly in
    // the processor time.
    run.metric(Metrics.BEST + metric, row.best, null, "1/s", Map.of("test", row.setting()));
    run.metric(Metrics.CPU_SECONDS, row.cpuSeconds, null, "s", Map.of("test", row.setting()));
  }

  private Row row(
      Transformer model,
      long bytes,
      String test,
      int batch,
      int tokensEach,
      int before,
      Runnable work,
      Decoder decoder) {
    long tokens = (long) tokensEach * batch;
    double[] rates = new double[repetitions];
    long cpu = 0;
    for (int i = -1; i < repetitions; i++) {
      cpu = i == 0 ? ResourceSampler.cpuNanos() : cpu;
      forget(decoder, before);
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
        batch,
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
        node.put("batch", row.batch);
        node.put("tokens_per_second", row.mean);
        node.put("tokens_per_second_each", row.mean / row.batch);
        node.put("stddev", row.deviation);
        node.set("samples", Json.MAPPER.valueToTree(row.samples));
      }
      output.print(root);
      return;
    }
    Table table =
        new Table(
            "model", "size", "params", "backend", "threads", "batch", "test", "t/s", "t/s each");
    for (Row row : rows) {
      table.row(
          row.model,
          Table.mebibytes(row.bytes),
          String.format(Locale.ROOT, "%.2f M", row.parameters / 1e6),
          device,
          threads,
          row.batch,
          row.test,
          String.format(Locale.ROOT, "%.2f ± %.2f", row.mean, row.deviation),
          String.format(Locale.ROOT, "%.2f", row.mean / row.batch));
    }
    output.out().print(table);
    output.out().flush();
  }
}
