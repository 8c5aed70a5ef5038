package org.modegpt.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.modegpt.Progress;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.io.Json;
import org.modegpt.model.Continuation;
import org.modegpt.model.Decoder;
import org.modegpt.model.GenerationSettings;
import org.modegpt.model.TextContinuation;
import org.modegpt.model.Transformer;
import tools.jackson.databind.node.ObjectNode;

/// Continues the prompts of a file, several at a time, and prints a JSON line for each in the
/// file's order: its fields, `text`, and the numbers of tokens.
final class PromptBatch {
  private final OutputOptions output;
  private final Progress progress;
  private final List<PromptFile.Entry> entries;
  private final List<Continuation> continuations = new ArrayList<>();

  /// Of those that are done but wait for one before them; null for the rest.
  private final @Nullable ObjectNode[] lines;

  private int printed;
  private int done;
  private long promptTokens;
  private long newTokens;

  PromptBatch(
      OutputOptions output, Transformer model, PromptFile file, Function<String, int[]> encode) {
    this.output = output;
    this.progress = output.progress();
    this.entries = file.entries();
    this.lines = new ObjectNode[entries.size()];
    for (int i = 0; i < entries.size(); i++) {
      int place = i;
      int[] ids = encode.apply(entries.get(i).prompt());
      promptTokens += ids.length;
      continuations.add(
          new TextContinuation(model.directory().tokenizer(), ids, text -> end(place, text)));
    }
  }

  /// Tokens of the longest prompt.
  int longest() {
    return continuations.stream().mapToInt(c -> c.prompt().length).max().orElse(0);
  }

  /// @param sequences at once; 0 for as many as are fast and fit
  /// @param context most tokens of a prompt and its continuation
  /// @return new tokens per second, prompts included
  double run(
      Transformer model, Backend backend, int sequences, int context, GenerationSettings settings) {
    for (int i = 0; i < entries.size(); i++) {
      int tokens = continuations.get(i).prompt().length;
      if (tokens == 0 || tokens > context) {
        throw new UserException(
            entries.get(i).place()
                + (tokens == 0
                    ? " is an empty prompt"
                    : " has %d tokens, more than the context of %d".formatted(tokens, context)));
      }
    }
    int most = sequences > 0 ? sequences : Decoder.sequencesAtOnce(backend, model, context);
    try (Decoder decoder =
        new Decoder(backend, model, Math.min(most, continuations.size()), context)) {
      progress.update("generate", 0, entries.size(), "prompt");
      long start = System.nanoTime();
      decoder.generate(continuations.iterator(), settings);
      double seconds = (System.nanoTime() - start) / 1e9;
      output.say(
          String.format(
              Locale.ROOT,
              "%d prompts of %d tokens, %d new tokens in %.1f s, %.1f tokens/s, up to %d prompts at once",
              entries.size(),
              promptTokens,
              newTokens,
              seconds,
              newTokens / seconds,
              decoder.cache().sequences()));
      return newTokens / seconds;
    }
  }

  private void end(int place, TextContinuation text) {
    newTokens += text.tokens();
    ObjectNode line = entries.get(place).fields().deepCopy();
    line.put("text", text.text());
    line.put("prompt_tokens", text.prompt().length);
    line.put("new_tokens", text.tokens());
    lines[place] = line;
    while (printed < lines.length && lines[printed] != null) {
      output.out().println(Json.MAPPER.writeValueAsString(lines[printed]));
      lines[printed++] = null;
    }
    output.out().flush();
    progress.update("generate", ++done, entries.size(), "prompt");
  }

  long promptTokens() {
    return promptTokens;
  }

  long newTokens() {
    return newTokens;
  }
}
