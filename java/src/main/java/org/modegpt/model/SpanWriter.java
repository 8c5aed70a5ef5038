package org.modegpt.model;

import java.lang.foreign.Arena;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.modegpt.Progress;
import org.modegpt.backend.Backend;
import org.modegpt.model.Decoder.Tokens;
import org.modegpt.model.Transformer.Residence;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Short texts that a model writes from a first token each, all side by side: one pass through the
/// blocks gives the next token of every text. Tokens are drawn from the model's own distribution.
/// Owns its memory until closed.
public final class SpanWriter implements AutoCloseable {
  private final Backend backend;
  private final Transformer model;
  private final ModelConfig config;
  private final DenseBlocks dense;
  private final Arena arena = Arena.ofShared();
  private final TokenEmbedding embedding;
  private final BlockForward forward;
  private final LanguageHead head;

  /// @param dense blocks for a device; host memory has them as they are stored
  public SpanWriter(Backend backend, Transformer model, DenseBlocks dense) {
    this.backend = backend;
    this.model = model;
    this.config = model.config();
    this.dense = dense;
    this.embedding = model.embedding(backend, arena);
    this.forward = new BlockForward(backend, config);
    this.head = new LanguageHead(backend, model, Residence.F32);
  }

  /// Continues each token to a text of `length` tokens.
  ///
  /// @return `[first.length][length]`; the same for the same seed
  public int[][] write(int[] first, int length, long seed, Progress progress) {
    embedding.check(length);
    SplittableRandom random = new SplittableRandom(seed);
    int[][] texts = new int[first.length][length];
    float[][] uniforms = new float[first.length][length];
    for (int i = 0; i < first.length; i++) {
      texts[i][0] = first[i];
      for (int t = 1; t < length; t++) {
        uniforms[i][t] = LanguageHead.uniform(random);
      }
    }
    int together = together(length);
    for (int from = 0; from < first.length; from += together) {
      int count = Math.min(together, first.length - from);
      try (Arena call = Arena.ofShared()) {
        KvCache cache = new KvCache(backend, call, config, count, length);
        for (int t = 1; t < length; t++) {
          Progress.checkCancelled();
          long done = (long) from * (length - 1) + (long) (t - 1) * count;
          progress.update("writing", done, (long) first.length * (length - 1), "token");
          step(cache, texts, uniforms, from, t);
        }
      }
    }
    return texts;
  }

  /// Texts whose keys and values fit into a part of the memory, and whose tokens go through a block
  /// at once.
  private int together(int length) {
    long room = backend.unifiedMemory() ? KvCache.HOST_BYTES : backend.freeMemory() / 4;
    long fit = KvCache.sequences(backend, config, room, length);
    return Math.clamp(fit, 1, backend.passRows());
  }

  /// Token `t` of the texts from `from` on, one for each sequence of the cache.
  private void step(KvCache cache, int[][] texts, float[][] uniforms, int from, int t) {
    int count = cache.sequences();
    try (Arena call = Arena.ofShared()) {
      DecodePass pass =
          DecodePass.of(
              backend,
              call,
              cache,
              IntStream.range(0, count)
                  .mapToObj(i -> new Tokens(i, texts[from + i][t - 1]))
                  .toList());
      Tensor x = backend.allocate(call, DType.F32, count, config.hiddenSize());
      embedding.embed(pass.ids(), pass.positions(), x);
      for (int layer = 0; layer < config.layers(); layer++) {
        try (Arena owner = Arena.ofShared()) {
          forward.runCached(block(layer, owner), x, pass, cache, layer);
        }
      }
      Tensor draws = Tensor.allocate(call, DType.F32, 1, count);
      for (int i = 0; i < count; i++) {
        draws.set(0, i, uniforms[from + i][t]);
      }
      Tensor ids = backend.allocate(call, DType.I32, 1, count);
      head.sample(x, Residents.upload(backend, call, draws), ids);
      int[] drawn = Residents.download(backend, call, ids).toInts();
      for (int i = 0; i < count; i++) {
        texts[from + i][t] = drawn[i];
        cache.advance(i, 1);
      }
    }
  }

  private BlockWeights block(int layer, Arena owner) {
    return backend.unifiedMemory()
        ? model.block(backend, owner, layer, Residence.STORED)
        : dense.get(layer, owner);
  }

  @Override
  public void close() {
    head.close();
    forward.close();
    arena.close();
  }
}
