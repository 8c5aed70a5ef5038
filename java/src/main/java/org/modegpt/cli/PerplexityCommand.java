package org.modegpt.cli;

import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import org.modegpt.backend.Backend;
import org.modegpt.evaluate.Perplexity;
import org.modegpt.io.Json;
import org.modegpt.model.Transformer;
import org.modegpt.runs.Metrics;
import org.modegpt.runs.ModelUse;
import org.modegpt.runs.Run;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import tools.jackson.databind.node.ObjectNode;

@Command(
    name = "perplexity",
    description = "Measures perplexity and bits per byte of a model on a text.",
    mixinStandardHelpOptions = true,
    footer = {
      "",
      "The text is cut into consecutive blocks; every token of a block but the first is predicted from those before it.",
      "",
      "Examples:",
      "  modegpt perplexity my-model -f wiki.test.txt --ctx-size 2048",
      "  modegpt perplexity model.gguf -f texts.jsonl --json"
    })
final class PerplexityCommand implements Callable<Integer> {
  @Mixin private ModelOption source;

  @Mixin private EvaluationOptions evaluation;
  @Mixin private EngineOptions engine;
  @Mixin private RecordOptions record;
  @Mixin private OutputOptions output;

  @Override
  public Integer call() {
    return record.record("perplexity", engine.parameters(source), this::run);
  }

  private int run(Run run) {
    output.recordIn(run);
    try (Transformer model = source.open();
        Backend backend = engine.open()) {
      Perplexity result = evaluation.measureAll(model, backend, output);
      run.model(ModelUse.SUBJECT, model.directory().path(), model.parameters());
      record(run, result, evaluation, Map.of());
      if (output.json) {
        ObjectNode node = json(result);
        node.put("model", model.directory().path().toString());
        node.put("text", evaluation.source());
        node.put("bos", evaluation.bos());
        output.print(node);
      } else {
        output
            .out()
            .printf(
                Locale.ROOT,
                "%d blocks of %d tokens, %s BOS, %d tokens predicted, %s; %.0f tokens/s%n",
                result.blocks(),
                result.blockLength(),
                evaluation.bos() ? "with" : "no",
                result.predicted(),
                evaluation.source(),
                result.tokensPerSecond());
        output.out().printf(Locale.ROOT, "bits per byte = %.4f%n", result.bitsPerByte());
        output
            .out()
            .printf(
                Locale.ROOT,
                "Final estimate: PPL = %.4f +/- %.4f%n",
                result.perplexity(),
                result.perplexityError());
        output.out().flush();
      }
    }
    return 0;
  }

  /// Reports to the run's record; `of` are further tags.
  static void record(Run run, Perplexity p, EvaluationOptions evaluation, Map<String, String> of) {
    Map<String, String> tags = new TreeMap<>(evaluation.tags());
    tags.putAll(of);
    run.metric(Metrics.PERPLEXITY, p.perplexity(), p.perplexityError(), "", tags);
    run.metric(Metrics.BITS_PER_BYTE, p.bitsPerByte(), null, "", tags);
    run.metric(Metrics.PROMPT_TOKENS_PER_SECOND, p.tokensPerSecond(), null, "1/s", tags);
  }

  static ObjectNode json(Perplexity p) {
    ObjectNode node = Json.MAPPER.createObjectNode();
    node.put("perplexity", p.perplexity());
    node.put("perplexity_stderr", p.perplexityError());
    node.put("mean_nll", p.meanNll());
    node.put("bits_per_byte", p.bitsPerByte());
    node.put("block_length", p.blockLength());
    node.put("blocks", p.blocks());
    node.put("predicted_tokens", p.predicted());
    node.put("tokens_per_second", p.tokensPerSecond());
    return node;
  }
}
