package org.modegpt.evaluate;

import java.util.Arrays;
import java.util.OptionalInt;
import java.util.Set;
import org.modegpt.backend.Backend;
import org.modegpt.model.Decoder;
import org.modegpt.model.Sampling;
import org.modegpt.model.Transformer;
import org.modegpt.tasks.TaskDefinition.Generation;
import org.modegpt.text.Tokenizer;

/// Greedy continuations of prompts, one after another; what a prompt shares with the one before it
/// stays in the key/value cache. Holds the model until closed.
final class Generator implements AutoCloseable {
  private final Decoder decoder;
  private final Tokenizer tokenizer;
  private final int capacity;
  private final Set<Integer> ends;
  private int[] previous = {};

  /// A continuation up to its stop text, and its number of tokens.
  record Text(String text, int tokens) {}

  Generator(Backend backend, Transformer model, int capacity) {
    this.decoder = new Decoder(backend, model, capacity);
    this.tokenizer = model.directory().tokenizer();
    this.capacity = capacity;
    OptionalInt eos = tokenizer.eosId();
    this.ends = eos.isPresent() ? Set.of(eos.getAsInt()) : Set.of();
  }

  int capacity() {
    return capacity;
  }

  Text generate(int[] prompt, Generation settings) {
    int mismatch = Arrays.mismatch(previous, prompt);
    int shared = Math.min(mismatch < 0 ? prompt.length : mismatch, prompt.length - 1);
    decoder.cache().truncate(shared);
    previous = prompt;
    String[] text = {""};
    int[] ids = new int[settings.maxTokens()];
    int[] count = {0};
    decoder.generate(
        Arrays.copyOfRange(prompt, shared, prompt.length),
        settings.maxTokens(),
        Sampling.GREEDY,
        ends,
        id -> {
          ids[count[0]++] = id;
          text[0] = tokenizer.decode(Arrays.copyOf(ids, count[0]));
          return settings.until().stream().noneMatch(text[0]::contains);
        });
    return new Text(cut(text[0], settings), count[0]);
  }

  private static String cut(String text, Generation settings) {
    int end = text.length();
    for (String stop : settings.until()) {
      int at = text.indexOf(stop);
      end = at >= 0 ? Math.min(end, at) : end;
    }
    return text.substring(0, end);
  }

  @Override
  public void close() {
    decoder.close();
  }
}
