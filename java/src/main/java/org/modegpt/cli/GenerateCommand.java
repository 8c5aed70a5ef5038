package org.modegpt.cli;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.chat.Chat;
import org.modegpt.chat.Message;
import org.modegpt.io.Json;
import org.modegpt.model.Decoder;
import org.modegpt.model.GenerationSettings;
import org.modegpt.model.Sampling;
import org.modegpt.model.Transformer;
import org.modegpt.runs.Metrics;
import org.modegpt.runs.ModelUse;
import org.modegpt.runs.Run;
import org.modegpt.text.StreamDecoder;
import org.modegpt.text.Tokenizer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import tools.jackson.databind.node.ObjectNode;

@Command(
    name = "generate",
    description = "Continues a prompt and streams the text.",
    mixinStandardHelpOptions = true,
    footer = {
      "",
      "Examples:",
      "  modegpt generate my-model --prompt \"The moon is\" --max-tokens 64",
      "  modegpt generate my-model --prompt \"Once\" --temperature 0",
      "  modegpt generate my-chat-model --chat --system \"Be brief.\" --prompt \"Why is the sky blue?\"",
      "  modegpt generate my-chat-model --chat              a conversation, one line at a time",
      "  modegpt generate my-model --prompt-file prompts.jsonl -n 64 > texts.jsonl"
    })
final class GenerateCommand implements Callable<Integer> {
  /// Most tokens of a conversation where no option says; a cache for more would be large.
  private static final int LONGEST_CHAT = 4096;

  @Mixin private ModelOption source;

  @Option(
      names = {"-p", "--prompt"},
      paramLabel = "TEXT",
      description = "Text to continue; with --chat the user's message.")
  private @Nullable String prompt;

  @Option(
      names = "--prompt-file",
      paramLabel = "FILE",
      description =
          "Continue many prompts, several at a time: each line of the file, or the field 'prompt' of each line of a .jsonl file. Prints a JSON line for each.")
  private @Nullable Path promptFile;

  @Option(
      names = {"-b", "--batch-size"},
      paramLabel = "N",
      description =
          "With --prompt-file: this many prompts at once (default: as many as are fast and fit).")
  private int batchSize;

  @Option(
      names = "--chat",
      description =
          "Put the prompt into the model's chat template and answer it; without a prompt, converse: each line of the standard input is a message.")
  private boolean chat;

  @Option(
      names = "--system",
      paramLabel = "TEXT",
      description = "With --chat: the system message before the conversation.")
  private @Nullable String system;

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
      description =
          "Seed of the sampling; each prompt of a file has the next one (default: ${DEFAULT-VALUE}).")
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
  @Mixin private RecordOptions record;
  @Mixin private OutputOptions output;

  @Override
  public Integer call() {
    if (prompt == null && promptFile == null && !chat) {
      throw new ParameterException(
          output.command(), "--prompt is missing (or --prompt-file, or --chat)");
    }
    if (prompt != null && promptFile != null) {
      throw new ParameterException(
          output.command(), "--prompt and --prompt-file exclude each other");
    }
    if (batchSize < 0 || (batchSize > 0 && promptFile == null)) {
      throw new ParameterException(
          output.command(), "--batch-size is a positive number and needs --prompt-file");
    }
    if (system != null && !chat) {
      throw new ParameterException(output.command(), "--system needs --chat");
    }
    Map<String, Object> parameters = engine.parameters(source);
    // Not the prompt: it may be nobody else's business.
    parameters.put("command", "modegpt generate " + source.path());
    return record.record("generate", parameters, this::run);
  }

  private int run(Run run) {
    output.recordIn(run);
    Sampling sampling = new Sampling(temperature, topK, topP, repetitionPenalty, seed);
    try (Transformer model = source.open();
        Backend backend = engine.open()) {
      run.model(ModelUse.SUBJECT, model.directory().path(), model.parameters());
      Tokenizer tokenizer = model.directory().tokenizer();
      if (promptFile != null) {
        generateAll(model, backend, PromptFile.read(promptFile), sampling);
      } else if (chat) {
        Chat template = Chat.of(model.directory());
        if (prompt == null) {
          converse(model, backend, template, messages(), sampling);
          return 0;
        }
        generate(model, backend, template.encode(messages(prompt)), template.endIds(), sampling);
      } else {
        Set<Integer> ends = Set.copyOf(tokenizer.endIds());
        generate(model, backend, tokenizer.encode(prompt, true), ends, sampling);
      }
    }
    return 0;
  }

  private void generate(
      Transformer model, Backend backend, int[] ids, Set<Integer> ends, Sampling sampling) {
    long start = System.nanoTime();
    try (Decoder decoder = new Decoder(backend, model, context(model, ids.length))) {
      double loadSeconds = (System.nanoTime() - start) / 1e9;
      StreamDecoder text = model.directory().tokenizer().streamDecoder();
      run(decoder, ids, sampling, ignoreEos ? Set.of() : ends, text, loadSeconds);
    }
  }

  private void generateAll(Transformer model, Backend backend, PromptFile file, Sampling sampling) {
    Tokenizer tokenizer = model.directory().tokenizer();
    Set<Integer> ends = Set.copyOf(tokenizer.endIds());
    Function<String, int[]> encode = text -> tokenizer.encode(text, true);
    if (chat) {
      Chat template = Chat.of(model.directory());
      ends = template.endIds();
      encode = text -> template.encode(messages(text));
    }
    PromptBatch batch = new PromptBatch(output, model, file, encode);
    double rate =
        batch.run(
            model,
            backend,
            batchSize,
            context(model, batch.longest()),
            new GenerationSettings(maxTokens, sampling, ignoreEos ? Set.of() : ends));
    Run run = output.run();
    if (run != null) {
      run.metric("prompt_tokens", (double) batch.promptTokens());
      run.metric("new_tokens", (double) batch.newTokens());
      run.metric(Metrics.TOKENS_PER_SECOND, rate, null, "1/s", Map.of("test", "prompt-file"));
    }
  }

  /// The beginning of a conversation, to be added to.
  private List<Message> messages(String... ofUser) {
    List<Message> messages = new ArrayList<>();
    if (system != null) {
      messages.add(new Message("system", system));
    }
    for (String text : ofUser) {
      messages.add(new Message("user", text));
    }
    return messages;
  }

  /// Most tokens of a prompt of this length with its continuation.
  private int context(Transformer model, int promptTokens) {
    return contextSize != null
        ? contextSize
        : Math.min(model.config().contextLength(), promptTokens + maxTokens);
  }

  private void converse(
      Transformer model,
      Backend backend,
      Chat template,
      List<Message> messages,
      Sampling sampling) {
    int context =
        contextSize != null ? contextSize : Math.min(model.config().contextLength(), LONGEST_CHAT);
    try (Decoder decoder = new Decoder(backend, model, context)) {
      Conversation conversation =
          new Conversation(
              decoder, template, model.directory().tokenizer(), sampling, maxTokens, messages);
      boolean terminal = Boolean.getBoolean("modegpt.terminal");
      output.say("Each line is a message; end with Ctrl-D.");
      BufferedReader lines =
          new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
      while (true) {
        if (terminal) {
          output.prompt("> ");
        }
        String line = lines.readLine();
        if (line == null) {
          return;
        }
        if (!line.isBlank()) {
          conversation.answer(line, this::emit);
          emit(System.lineSeparator());
        }
      }
    } catch (IOException e) {
      throw new UserException("cannot read the standard input: " + e.getMessage(), e);
    }
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
    record(ids.length, count, prefill, rate);
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

  private void record(int promptTokens, int newTokens, double firstSeconds, double rate) {
    Run run = output.run();
    if (run == null) {
      return;
    }
    run.metric("prompt_tokens", promptTokens);
    run.metric("new_tokens", newTokens);
    run.metric(Metrics.FIRST_TOKEN_SECONDS, firstSeconds, null, "s", Map.of());
    if (newTokens > 1) {
      run.metric(Metrics.TOKENS_PER_SECOND, rate, null, "1/s", Map.of("test", "generate"));
    }
  }

  private void emit(String piece, StringBuilder whole) {
    whole.append(piece);
    if (!output.json) {
      emit(piece);
    }
  }

  private void emit(String piece) {
    output.out().print(piece);
    output.out().flush();
  }
}
