package org.modegpt.evaluate;

import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.ObjIntConsumer;
import java.util.stream.IntStream;
import org.modegpt.backend.Backend;
import org.modegpt.model.Continuation;
import org.modegpt.model.Decoder;
import org.modegpt.model.GenerationSettings;
import org.modegpt.model.Sampling;
import org.modegpt.model.Transformer;
import org.modegpt.tasks.TaskDefinition.Generation;
import org.modegpt.text.Tokenizer;

/// Greedy continuations of prompts, several at a time; what a prompt shares with one that is in the
/// key/value cache is copied from there. Holds the model until closed.
final class Generator implements AutoCloseable {
  private final Decoder decoder;
  private final Tokenizer tokenizer;
  private final Set<Integer> ends;

  /// A continuation up to its stop text, and its number of tokens.
  record Text(String text, int tokens) {}

  /// @param capacity most tokens of a prompt and its continuation
  Generator(Backend backend, Transformer model, int capacity) {
    int sequences = Decoder.sequencesAtOnce(backend, model, capacity);
    this.decoder = new Decoder(backend, model, sequences, capacity);
    this.tokenizer = model.directory().tokenizer();
    OptionalInt eos = tokenizer.eosId();
    this.ends = eos.isPresent() ? Set.of(eos.getAsInt()) : Set.of();
  }

  int capacity() {
    return decoder.cache().capacity();
  }

  /// Continues prompts. They share most in the order of {@link org.modegpt.model.Packing#compare}.
  ///
  /// @param sink is given each text and the place of its prompt, as they end
  void generate(List<int[]> prompts, Generation settings, ObjIntConsumer<Text> sink) {
    decoder.generate(
        IntStream.range(0, prompts.size())
            .mapToObj(i -> continuation(prompts.get(i), settings, text -> sink.accept(text, i)))
            .iterator(),
        new GenerationSettings(settings.maxTokens(), Sampling.GREEDY, ends));
  }

  private Continuation continuation(int[] prompt, Generation settings, Consumer<Text> sink) {
    return new Continuation() {
      private final int[] ids = new int[settings.maxTokens()];
      private int count;
      private String text = "";

      @Override
      public int[] prompt() {
        return prompt;
      }

      @Override
      public boolean token(int id) {
        ids[count++] = id;
        text = tokenizer.decode(Arrays.copyOf(ids, count));
        return settings.until().stream().noneMatch(text::contains);
      }

      @Override
      public void end() {
        sink.accept(new Text(cut(text, settings), count));
      }
    };
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
