package org.modegpt.model;

import java.lang.foreign.Arena;
import java.util.SplittableRandom;
import org.modegpt.Progress;
import org.modegpt.backend.Backend;
import org.modegpt.model.Transformer.Residence;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Short texts that a model writes from a first token each, all side by side: one pass through the
/// blocks gives the next token of every text. Tokens are drawn from the model's own distribution.
public final class SpanWriter {
  /// Keys and values of the texts that are written at once, in host memory.
  private static final long HOST_CACHE_BYTES = 1L << 30;

  private final Backend backend;
  private final Transformer model;
  private final ModelConfig config;
  private final Blocks blocks;

  /// Where weights come from; those of a block live as long as `owner` or longer.
  @FunctionalInterface
  public interface Blocks {
    BlockWeights get(int layer, Arena owner);
  }

  public SpanWriter(Backend backend, Transformer model, Blocks blocks) {
    this.backend = backend;
    this.model = model;
    this.config = model.config();
    this.blocks = blocks;
  }

  /// Blocks for a writer that ends before anything else is computed: on a device they stay where
  /// there is room; host memory has them as they are stored.
  public static Blocks stored(Backend backend, Transformer model, DenseBlocks dense) {
    return backend.unifiedMemory()
        ? (layer, owner) -> model.block(backend, owner, layer, Residence.STORED)
        : dense::get;
  }

  /// Continues each token to a text of `length` tokens.
  ///
  /// @return `[first.length][length]`; the same for the same seed
  public int[][] write(int[] first, int length, long seed, Progress progress) {
    SplittableRandom random = new SplittableRandom(seed);
    int[][] texts = new int[first.length][length];
    float[][] uniforms = new float[first.length][length];
    for (int i = 0; i < first.length; i++) {
      texts[i][0] = first[i];
      for (int t = 1; t < length; t++) {
        uniforms[i][t] = random.nextInt(1 << 24) * 0x1p-24f;
      }
    }
    int together = together(length);
    try (Arena arena = Arena.ofShared();
        BlockForward forward = new BlockForward(backend, config);
        LanguageHead head = new LanguageHead(backend, model, Residence.F32)) {
      TokenEmbedding embedding = model.embedding(backend, arena);
      embedding.check(length);
      for (int from = 0; from < first.length; from += together) {
        int to = Math.min(first.length, from + together);
        try (Arena call = Arena.ofShared()) {
          KvCache cache = new KvCache(backend, call, config, to - from, length);
          for (int t = 1; t < length; t++) {
            Progress.checkCancelled();
            long done = (long) from * (length - 1) + (long) (t - 1) * (to - from);
            progress.update("writing", done, (long) first.length * (length - 1), "token");
            step(forward, embedding, head, cache, texts, uniforms, from, to, t);
          }
          backend.sync();
        }
      }
    }
    return texts;
  }

  /// Texts whose keys and values fit into a part of the memory, and whose tokens go through a block
  /// at once.
  private int together(int length) {
    long room = backend.unifiedMemory() ? HOST_CACHE_BYTES : backend.freeMemory() / 4;
    long each = Math.max(1, length * KvCache.bytesPerToken(backend, config));
    return Math.clamp(room / each, 1, backend.passRows());
  }

  /// Token `t` of the texts `from` to `to`.
  private void step(
      BlockForward forward,
      TokenEmbedding embedding,
      LanguageHead head,
      KvCache cache,
      int[][] texts,
      float[][] uniforms,
      int from,
      int to,
      int t) {
    int count = to - from;
    try (Arena arena = Arena.ofShared()) {
      int[] last = new int[count];
      Tensor draws = Tensor.allocate(arena, DType.F32, 1, count);
      for (int i = 0; i < count; i++) {
        last[i] = texts[from + i][t - 1];
        draws.set(0, i, uniforms[from + i][t]);
      }
      DecodePass pass = DecodePass.next(backend, arena, cache, last);
      Tensor x = backend.allocate(arena, DType.F32, count, config.hiddenSize());
      embedding.embed(pass.ids(), pass.positions(), x);
      for (int layer = 0; layer < config.layers(); layer++) {
        try (Arena block = Arena.ofShared()) {
          forward.runCached(blocks.get(layer, block), x, pass, cache, layer);
        }
      }
      Tensor ids = backend.allocate(arena, DType.I32, 1, count);
      head.sample(x, Residents.upload(backend, arena, draws), ids);
      int[] drawn = Residents.download(backend, arena, ids).toInts();
      for (int i = 0; i < count; i++) {
        texts[from + i][t] = drawn[i];
        cache.advance(i, 1);
      }
    }
  }
}
