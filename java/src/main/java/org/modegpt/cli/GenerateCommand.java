package org.modegpt.cli;

import java.util.Locale;
import java.util.OptionalInt;
import java.util.Set;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.modegpt.backend.Backend;
import org.modegpt.io.Json;
import org.modegpt.model.Decoder;
import org.modegpt.model.Sampling;
import org.modegpt.model.Transformer;
import org.modegpt.text.StreamDecoder;
import org.modegpt.text.Tokenizer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tools.jackson.databind.node.ObjectNode;

@Command(
    name = "generate",
    description = "Continues a prompt and streams the text.",
    mixinStandardHelpOptions = true,
    footer = {
      "",
      "Examples:",
      "  modegpt generate my-model --prompt \"The moon is\" --max-tokens 64",
      "  modegpt generate my-model --prompt \"Once\" --temperature 0"
    })
final class GenerateCommand implements Callable<Integer> {
  @Mixin private ModelOption source;

  @Option(
      names = {"-p", "--prompt"},
      paramLabel = "TEXT",
      required = true,
      description = "Text to continue.")
  private String prompt;

  @Option(
      names = {"-n", "--max-tokens"},
      paramLabel = "N",
      defaultValue = "128",
      description = "At most this many new tokens (default: ${DEFAULT-VALUE}).")
  private int maxTokens;

  @Option(
      names = "--temperature",
      paramLabel = "T",
      defaultValue = "0.8",
      description = "0 always takes the most likely token (default: ${DEFAULT-VALUE}).")
  private float temperature;

  @Option(
      names = "--top-k",
      paramLabel = "K",
      defaultValue = "40",
      description = "Sample among the K most likely tokens, 0 for all (default: ${DEFAULT-VALUE}).")
  private int topK;

  @Option(
      names = "--top-p",
      paramLabel = "P",
      defaultValue = "0.95",
      description =
          "Sample among the most likely tokens of total probability P (default: ${DEFAULT-VALUE}).")
  private float topP;

  @Option(
      names = "--repetition-penalty",
      paramLabel = "R",
      defaultValue = "1.0",
      description = "Above 1 makes tokens already present less likely (default: ${DEFAULT-VALUE}).")
  private float repetitionPenalty;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "0",
      description = "Seed of the sampling (default: ${DEFAULT-VALUE}).")
  private long seed;

  @Option(
      names = {"-c", "--ctx-size"},
      paramLabel = "N",
      description =
          "Most tokens of prompt and continuation (default: what both need, at most the model's context).")
  private @Nullable Integer contextSize;

  @Option(names = "--ignore-eos", description = "Go on after the end token.")
  private boolean ignoreEos;

  @Mixin private EngineOptions engine;
  @Mixin private OutputOptions output;

  @Override
  public Integer call() {
    Sampling sampling = new Sampling(temperature, topK, topP, repetitionPenalty, seed);
    try (Transformer model = source.open();
        Backend backend = engine.open()) {
      Tokenizer tokenizer = model.directory().tokenizer();
      int[] ids = tokenizer.encode(prompt, true);
      int context =
          contextSize != null
              ? contextSize
              : Math.min(model.config().contextLength(), ids.length + maxTokens);
      OptionalInt eos = tokenizer.eosId();
      Set<Integer> ends = ignoreEos || eos.isEmpty() ? Set.of() : Set.of(eos.getAsInt());
      long start = System.nanoTime();
      try (Decoder decoder = new Decoder(backend, model, context)) {
        double loadSeconds = (System.nanoTime() - start) / 1e9;
        run(decoder, ids, sampling, ends, tokenizer.streamDecoder(), loadSeconds);
      }
    }
    return 0;
  }

  private void run(
      Decoder decoder,
      int[] ids,
      Sampling sampling,
      Set<Integer> ends,
      StreamDecoder text,
      double loadSeconds) {
    StringBuilder whole = new StringBuilder();
    long start = System.nanoTime();
    long[] first = new long[1];
    int count =
        decoder.generate(
            ids,
            maxTokens,
            sampling,
            ends,
            id -> {
              if (first[0] == 0) {
                first[0] = System.nanoTime();
              }
              emit(text.next(id), whole);
              return true;
            });
    emit(text.finish(), whole);
    double prefill = ((first[0] == 0 ? System.nanoTime() : first[0]) - start) / 1e9;
    double decode = first[0] == 0 ? 0 : (System.nanoTime() - first[0]) / 1e9;
    double rate = count > 1 ? (count - 1) / decode : 0;
    if (output.json) {
      ObjectNode node = Json.MAPPER.createObjectNode();
      node.put("prompt", prompt);
      node.put("text", whole.toString());
      node.put("prompt_tokens", ids.length);
      node.put("new_tokens", count);
      node.put("load_seconds", loadSeconds);
      node.put("first_token_seconds", prefill);
      node.put("tokens_per_second", rate);
      output.print(node);
    } else {
      output.out().println();
      output.out().flush();
      output.say(
          String.format(
              Locale.ROOT,
              "%d prompt tokens, first token after %.3f s; %d new tokens, %.1f tokens/s",
              ids.length,
              prefill,
              count,
              rate));
    }
  }

  private void emit(String piece, StringBuilder whole) {
    whole.append(piece);
    if (!output.json) {
      output.out().print(piece);
      output.out().flush();
    }
  }
}
