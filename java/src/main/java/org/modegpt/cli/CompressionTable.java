package org.modegpt.cli;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.modegpt.backend.Backend;
import org.modegpt.compress.CompressionReport;
import org.modegpt.compress.ModuleReport;
import org.modegpt.evaluate.Perplexity;
import org.modegpt.evaluate.Speed;
import org.modegpt.io.AtomicFile;
import org.modegpt.io.ByteSize;
import org.modegpt.io.Json;
import org.modegpt.model.Transformer;
import org.modegpt.report.TradeOffPlot;
import org.modegpt.runs.Metrics;
import org.modegpt.runs.ModelUse;
import org.modegpt.runs.Run;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/// The table at the end of a compression: size, perplexity and speed of the original and of what
/// was made from it.
final class CompressionTable {
  private record Row(
      String name,
      long parameters,
      long bytes,
      @Nullable Perplexity perplexity,
      @Nullable Speed speed) {}

  private record Made(Path folder, CompressionReport report) {}

  private final Transformer original;
  private final Backend backend;
  private final EvaluationOptions evaluation;
  private final OutputOptions output;
  private final List<Row> rows = new ArrayList<>();
  private final List<Made> made = new ArrayList<>();
  private @Nullable Perplexity measured;

  CompressionTable(
      Transformer original, Backend backend, EvaluationOptions evaluation, OutputOptions output) {
    this.original = original;
    this.backend = backend;
    this.evaluation = evaluation;
    this.output = output;
  }

  /// Measures what was written to `folder` and reports it to the present run's record.
  ///
  /// @param type of the weights, where several are compared
  void add(Path folder, @Nullable String type, CompressionReport report, boolean sizesOnly) {
    made.add(new Made(folder, report));
    if (rows.isEmpty()) {
      rows.add(row("original", original, report.bytesBefore(), sizesOnly));
    }
    try (Transformer compressed = Transformer.open(folder)) {
      String name = String.format(Locale.ROOT, "%.1f %% removed", 100 * report.reachedRatio());
      long bytes =
          compressed.tensors().names().stream()
              .mapToLong(n -> compressed.tensors().info(n).bytes())
              .sum();
      rows.add(row(type == null ? name : name + ", " + type, compressed, bytes, sizesOnly));
    }
    Run run = output.run();
    if (run != null) {
      record(run, rows.getLast(), made.getLast());
    }
  }

  private Row row(String name, Transformer model, long bytes, boolean sizesOnly) {
    Perplexity perplexity = null;
    Speed speed = null;
    if (!sizesOnly) {
      perplexity = rows.isEmpty() ? original() : evaluation.measure(model, backend, output);
      speed = output.timed("speed", () -> Speed.of(model, backend));
    }
    return new Row(name, model.parameters(), bytes, perplexity, speed);
  }

  private void record(Run run, Row row, Made m) {
    run.model(ModelUse.BASE, original.directory().path(), original.parameters());
    run.model(ModelUse.OUTPUT, m.folder, row.parameters);
    run.metric(Metrics.RATIO, m.report.reachedRatio());
    recordLayers(run, m.report);
    record(run, row, Map.of());
    record(run, rows.getFirst(), Metrics.OF_BASE);
  }

  private void record(Run run, Row row, Map<String, String> of) {
    run.metric(Metrics.BYTES, (double) row.bytes, null, "B", of);
    run.metric(Metrics.PARAMETERS, (double) row.parameters, null, "", of);
    if (row.perplexity != null) {
      PerplexityCommand.record(run, row.perplexity, evaluation, of);
    }
    if (row.speed != null) {
      Map<String, String> tags = new TreeMap<>(of);
      tags.put("test", "tg32");
      run.metric(Metrics.TOKENS_PER_SECOND, row.speed.decodeTokensPerSecond(), null, "1/s", tags);
      run.metric(Metrics.FIRST_TOKEN_SECONDS, row.speed.firstTokenSeconds(), null, "s", of);
    }
  }

  private static void recordLayers(Run run, CompressionReport report) {
    for (CompressionReport.Layer layer : report.layers()) {
      for (ModuleReport module : layer.modules()) {
        run.layer(
            layer.layer(),
            module.module().label(),
            module.fullRank(),
            module.rank(),
            null,
            module.relativeError());
      }
    }
  }

  /// By how much the logarithm of the perplexity of the model in `folder` is above the original's.
  double logIncrease(Path folder) {
    Perplexity before = original();
    try (Transformer model = Transformer.open(folder)) {
      return Math.log(
          evaluation.measure(model, backend, output).perplexity() / before.perplexity());
    }
  }

  /// The original's perplexity, measured once.
  private Perplexity original() {
    if (measured == null) {
      measured = evaluation.measure(original, backend, output);
    }
    return measured;
  }

  /// @param plot where to draw size against perplexity; null for no drawing
  void print(@Nullable Path plot) {
    if (plot != null && rows.getFirst().perplexity != null) {
      draw(plot);
    }
    if (output.json) {
      printJson();
      return;
    }
    Table table =
        new Table(
            "model", "parameters", "weights", "perplexity", "prefill tokens/s", "decode tokens/s");
    for (Row row : rows) {
      Perplexity p = row.perplexity;
      Speed s = row.speed;
      table.row(
          row.name,
          String.format(Locale.ROOT, "%,d", row.parameters),
          ByteSize.format(row.bytes),
          p == null
              ? ""
              : String.format(Locale.ROOT, "%.2f ± %.2f", p.perplexity(), p.perplexityError()),
          p == null ? "" : String.format(Locale.ROOT, "%.0f", p.tokensPerSecond()),
          s == null ? "" : String.format(Locale.ROOT, "%.1f", s.decodeTokensPerSecond()));
    }
    output.out().print(table);
    if (rows.getFirst().perplexity != null) {
      output.out().println("perplexity: " + evaluation.describe());
    }
    for (Made m : made) {
      output.out().println("written: " + m.folder);
    }
    output.out().flush();
  }

  private void draw(Path plot) {
    List<TradeOffPlot.Point> points = new ArrayList<>();
    for (Row row : rows) {
      Perplexity p = row.perplexity;
      if (p != null && Double.isFinite(p.perplexity())) {
        points.add(new TradeOffPlot.Point(row.name, row.parameters, p.perplexity()));
      }
    }
    String svg =
        TradeOffPlot.svg(original.directory().name() + ", " + evaluation.describe(), points);
    AtomicFile.write(plot, svg.getBytes(StandardCharsets.UTF_8));
    output.say("size against perplexity: " + plot);
  }

  private void printJson() {
    ObjectNode node = Json.MAPPER.createObjectNode();
    node.set("seconds", Json.MAPPER.valueToTree(output.seconds()));
    ArrayNode models = node.putArray("models");
    for (int i = 0; i < rows.size(); i++) {
      Row row = rows.get(i);
      ObjectNode entry = models.addObject();
      entry.put("name", row.name);
      entry.put("path", (i == 0 ? original.directory().path() : made.get(i - 1).folder).toString());
      entry.put("parameters", row.parameters);
      entry.put("bytes", row.bytes);
      if (i > 0) {
        entry.put("ratio", made.get(i - 1).report.reachedRatio());
      }
      if (row.perplexity != null) {
        entry.set("perplexity", PerplexityCommand.json(row.perplexity));
      }
      if (row.speed != null) {
        entry.put("decode_tokens_per_second", row.speed.decodeTokensPerSecond());
        entry.put("first_token_seconds", row.speed.firstTokenSeconds());
      }
    }
    output.print(node);
  }
}
