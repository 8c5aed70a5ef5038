package org.modegpt.model;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.function.IntPredicate;
import org.modegpt.Progress;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.model.Transformer.Residence;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// A model held resident for decoding one sequence at a time with a key/value cache. Weights stay
/// in their stored type. One serial stream; owns its memory until closed.
public final class Decoder implements AutoCloseable {
  private final Backend backend;
  private final ModelConfig config;
  private final Arena arena = Arena.ofShared();
  private final List<BlockWeights> blocks = new ArrayList<>();
  private final TokenEmbedding embedding;
  private final LanguageHead head;
  private final BlockForward forward;
  private final KvCache cache;

  /// @param capacity most tokens of prompt and continuation together
  public Decoder(Backend backend, Transformer model, int capacity) {
    this.backend = backend;
    this.config = model.config();
    for (int layer = 0; layer < config.layers(); layer++) {
      blocks.add(model.block(backend, arena, layer, Residence.STORED));
    }
    this.embedding = model.embedding(backend, arena);
    this.head = new LanguageHead(backend, model, Residence.STORED);
    this.forward = new BlockForward(backend, config);
    this.cache = new KvCache(backend, arena, config, capacity);
  }

  public KvCache cache() {
    return cache;
  }

  /// Appends tokens and returns the logits `[vocab]` after the last of them.
  public float[] feed(int... ids) {
    if (ids.length == 0 || cache.length() + ids.length > cache.capacity()) {
      throw new UserException(
          ids.length == 0
              ? "the prompt is empty"
              : cache.length()
                  + ids.length
                  + " tokens do not fit the context of "
                  + cache.capacity());
    }
    checkIds(ids);
    try (Arena call = Arena.ofShared()) {
      Tensor x = backend.allocate(call, DType.F32, ids.length, config.hiddenSize());
      embedding.embed(ids, cache.length(), x);
      Tensor positions = Residents.positions(backend, call, cache.length(), ids.length, 1);
      for (int layer = 0; layer < blocks.size(); layer++) {
        forward.runCached(blocks.get(layer), x, positions, cache, layer);
      }
      cache.advance(ids.length);
      return Residents.floats(backend, head.logits(x.rows(ids.length - 1, ids.length)));
    }
  }

  /// Continues `prompt` by at most `maxTokens` tokens, telling each to `sink`, which returns false
  /// to stop. An end token is not told. Returns the number of tokens told.
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
    SplittableRandom random = sampling.random();
    Set<Integer> present = new LinkedHashSet<>();
    for (int id : prompt) {
      present.add(id);
    }
    long before = System.nanoTime();
    float[] logits = feed(prompt);
    long now = System.nanoTime();
    observer.prompt(prompt, now - before);
    int told = 0;
    while (told < maxTokens) {
      Progress.checkCancelled();
      int next = sampling.next(logits, present, random);
      before = now;
      now = System.nanoTime();
      observer.token(next, logits, now - before);
      if (endTokens.contains(next)) {
        break;
      }
      told++;
      if (!sink.test(next) || told == maxTokens || cache.length() == cache.capacity()) {
        break;
      }
      present.add(next);
      logits = feed(next);
    }
    return told;
  }

  private void checkIds(int... ids) {
    for (int id : ids) {
      if (id < 0 || id >= config.vocabSize()) {
        throw new UserException(
            "token id " + id + " is outside the vocabulary of " + config.vocabSize());
      }
    }
  }

  @Override
  public void close() {
    backend.sync();
    forward.close();
    head.close();
    arena.close();
  }
}
