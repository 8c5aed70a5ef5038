package org.modegpt.model;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.IntPredicate;
import org.modegpt.Progress;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.model.Transformer.Residence;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// A model held resident for decoding one sequence, or several at once, with a key/value cache.
/// Weights stay in their stored type and are read once for all sequences of a step. One serial
/// stream; owns its memory until closed.
public final class Decoder implements AutoCloseable {
  /// Sequences at once: as many as products of few rows take on a CPU, whose cores are busy then;
  /// on a device many more cost hardly more time than one.
  private static final int HOST_SEQUENCES = 8;

  private static final int DEVICE_SEQUENCES = 32;

  private final Backend backend;
  private final ModelConfig config;
  private final Arena arena = Arena.ofShared();
  private final List<BlockWeights> blocks = new ArrayList<>();
  private final TokenEmbedding embedding;
  private final LanguageHead head;
  private final BlockForward forward;
  private final KvCache cache;

  /// The next tokens of a sequence of the cache; at least one.
  public record Tokens(int sequence, int... ids) {}

  /// For one sequence.
  ///
  /// @param capacity most tokens of prompt and continuation together
  public Decoder(Backend backend, Transformer model, int capacity) {
    this(backend, model, 1, capacity);
  }

  /// @param sequences most sequences at once
  /// @param capacity most tokens of each, prompt and continuation together
  public Decoder(Backend backend, Transformer model, int sequences, int capacity) {
    this.backend = backend;
    this.config = model.config();
    for (int layer = 0; layer < config.layers(); layer++) {
      blocks.add(model.block(backend, arena, layer, Residence.STORED));
    }
    this.embedding = model.embedding(backend, arena);
    this.head = new LanguageHead(backend, model, Residence.STORED);
    this.forward = new BlockForward(backend, config);
    this.cache = new KvCache(backend, arena, config, sequences, capacity);
  }

  /// How many sequences of at most `capacity` tokens are fast at once and fit into memory.
  public static int sequencesAtOnce(Backend backend, Transformer model, int capacity) {
    boolean host = backend.unifiedMemory();
    long room = host ? KvCache.HOST_BYTES : (backend.freeMemory() - model.bytes()) / 2;
    long fit = KvCache.sequences(backend, model.config(), room, capacity);
    return Math.clamp(fit, 1, host ? HOST_SEQUENCES : DEVICE_SEQUENCES);
  }

  public KvCache cache() {
    return cache;
  }

  /// Token ids are below this.
  public int vocabulary() {
    return config.vocabSize();
  }

  /// Appends tokens to the first sequence and returns the logits `[vocab]` after the last of them.
  public float[] feed(int... ids) {
    return feed(List.of(new Tokens(0, ids)))[0];
  }

  /// Appends tokens to several sequences, each named once, and returns the logits `[vocab]` after
  /// the last token of each.
  public float[][] feed(List<Tokens> inputs) {
    List<float[]> logits = new ArrayList<>();
    append(
        inputs,
        last -> {
          float[] all = Residents.floats(backend, head.logits(last));
          int width = config.vocabSize();
          for (int i = 0; i < last.rows(); i++) {
            logits.add(Arrays.copyOfRange(all, i * width, (i + 1) * width));
          }
        });
    return logits.toArray(float[][]::new);
  }

  /// The same, but returns the most likely token after each.
  public int[] next(List<Tokens> inputs) {
    int[] ids = new int[inputs.size()];
    int[] done = {0};
    append(
        inputs,
        last -> {
          int[] none = new int[(int) last.rows()];
          int[] best = new int[none.length];
          Arrays.fill(none, -1);
          head.score(last, none, new double[none.length], best);
          System.arraycopy(best, 0, ids, done[0], best.length);
          done[0] += best.length;
        });
    return ids;
  }

  /// @param sink is given the stream after the last token of each input, some inputs at a time
  private void append(List<Tokens> inputs, Consumer<Tensor> sink) {
    check(inputs);
    int from = 0;
    while (from < inputs.size()) {
      int to = from + 1;
      int rows = inputs.get(from).ids.length;
      while (to < inputs.size() && rows + inputs.get(to).ids.length <= backend.passRows()) {
        rows += inputs.get(to++).ids.length;
      }
      pass(inputs.subList(from, to), sink);
      from = to;
    }
  }

  private void pass(List<Tokens> inputs, Consumer<Tensor> sink) {
    try (Arena call = Arena.ofShared()) {
      DecodePass pass = DecodePass.of(backend, call, cache, inputs);
      Tensor x = backend.allocate(call, DType.F32, pass.rows(), config.hiddenSize());
      embedding.embed(pass.ids(), pass.positions(), x);
      for (int layer = 0; layer < blocks.size(); layer++) {
        forward.runCached(blocks.get(layer), x, pass, cache, layer);
      }
      for (Tokens input : inputs) {
        cache.advance(input.sequence, input.ids.length);
      }
      Tensor last = x;
      if (inputs.size() == 1) {
        last = x.rows(x.rows() - 1, x.rows());
      } else if (inputs.size() < x.rows()) {
        last = backend.allocate(call, DType.F32, inputs.size(), x.cols());
        backend.gatherRows(x, pass.last(), last);
      }
      sink.accept(last);
    }
  }

  private void check(List<Tokens> inputs) {
    Set<Integer> sequences = new HashSet<>();
    for (Tokens input : inputs) {
      if (input.sequence < 0 || input.sequence >= cache.sequences()) {
        throw new IllegalArgumentException(
            "there is no sequence " + input.sequence + " of " + cache.sequences());
      }
      if (!sequences.add(input.sequence)) {
        throw new IllegalArgumentException("sequence " + input.sequence + " is there twice");
      }
      if (input.ids.length == 0) {
        throw new UserException("the prompt is empty");
      }
      int tokens = cache.length(input.sequence) + input.ids.length;
      if (tokens > cache.capacity()) {
        throw new UserException(tokens + " tokens do not fit the context of " + cache.capacity());
      }
      embedding.check(tokens);
      for (int id : input.ids) {
        if (id < 0 || id >= config.vocabSize()) {
          throw new UserException(
              "token id " + id + " is outside the vocabulary of " + config.vocabSize());
        }
      }
    }
  }

  /// Continues `prompt`, which continues what the first sequence holds, by at most `maxTokens`
  /// tokens, telling each to `sink`, which returns false to stop. An end token is not told. Returns
  /// the number of tokens told.
  public int generate(
      int[] prompt, int maxTokens, Sampling sampling, Set<Integer> endTokens, IntPredicate sink) {
    return generate(prompt, maxTokens, sampling, endTokens, sink, DecodeObserver.NONE);
  }

  /// The same, observed.
  public int generate(
      int[] prompt,
      int maxTokens,
      Sampling sampling,
      Set<Integer> endTokens,
      IntPredicate sink,
      DecodeObserver observer) {
    GenerationSettings settings = new GenerationSettings(maxTokens, sampling, endTokens);
    Draws draws = new Draws(prompt, settings, sink);
    long before = System.nanoTime();
    float[] logits = feed(prompt);
    long now = System.nanoTime();
    observer.prompt(prompt, now - before);
    while (maxTokens > 0) {
      Progress.checkCancelled();
      int next = draws.draw(logits);
      before = now;
      now = System.nanoTime();
      observer.token(next, logits, now - before);
      if (!draws.tell(next) || cache.length() == cache.capacity()) {
        break;
      }
      logits = feed(next);
    }
    return draws.told();
  }

  /// Continues prompts, as many at a time as the cache has sequences; when one ends the next takes
  /// its place, and is asked for no sooner. Each is a sequence of its own: what the cache held is
  /// forgotten. The beginning that a prompt shares with one before it is not computed again. A
  /// prompt's tokens depend on its index, which the seed of its draws has added, and not on the
  /// others, but for the rounding of products of more rows.
  public void generate(Iterator<? extends Continuation> prompts, GenerationSettings settings) {
    for (int sequence = 0; sequence < cache.sequences(); sequence++) {
      cache.truncate(sequence, 0);
    }
    new Batch(this, settings, prompts).run();
  }

  @Override
  public void close() {
    backend.sync();
    forward.close();
    head.close();
    arena.close();
  }
}
