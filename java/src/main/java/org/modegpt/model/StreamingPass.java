package org.modegpt.model;

import java.lang.foreign.Arena;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.modegpt.Progress;
import org.modegpt.backend.Backend;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Runs many equally long sequences through a model one block at a time: all sequences through
/// block 0, then all through block 1, and so on. Memory holds one block and the residual stream of
/// the sequences, whatever the model's depth.
///
/// Owns the residual stream F32 `[sequences * tokens, d]` until closed. One serial stream.
public final class StreamingPass implements AutoCloseable {
  private final Backend backend;
  private final Transformer model;
  private final int sequences;
  private final int tokens;
  private final Arena arena = Arena.ofShared();
  private final Tensor stream;
  private final BlockForward forward;
  private @Nullable Ahead<BlockWeights> blocks;

  /// @param tokens length of every sequence
  public StreamingPass(Backend backend, Transformer model, int sequences, int tokens) {
    this.backend = backend;
    this.model = model;
    this.sequences = sequences;
    this.tokens = tokens;
    this.stream =
        backend.allocate(
            arena,
            DType.F32,
            Math.multiplyExact((long) sequences, tokens),
            model.config().hiddenSize());
    this.forward = new BlockForward(backend, model.config());
  }

  public int sequences() {
    return sequences;
  }

  /// Sequences that go through a block together.
  public int batch() {
    return batch(backend, sequences, tokens);
  }

  private static int batch(Backend backend, int sequences, int tokens) {
    return Math.clamp(backend.passRows() / Math.max(1, tokens), 1, sequences);
  }

  /// Device memory that a pass takes besides the weights: the residual stream, and for the
  /// sequences that go together what blocks and those who look on hold, in float32 at most.
  public static long bytes(Backend backend, ModelConfig config, int sequences, int tokens) {
    long d = config.hiddenSize();
    long heads = (config.heads() + 2L * config.kvHeads()) * config.headDim();
    long row = 6 * d + 3 * heads + 4L * config.mlpWidth();
    long rows = (long) batch(backend, sequences, tokens) * tokens;
    return DType.F32.bytes((long) sequences * tokens * d + rows * row);
  }

  /// The residual stream; row `s * tokens + t` belongs to token `t` of sequence `s`.
  public Tensor stream() {
    return stream;
  }

  /// Fills the residual stream with the token embeddings.
  public void embed(List<int[]> ids) {
    try (Arena call = Arena.ofShared()) {
      TokenEmbedding embedding = model.embedding(backend, call);
      for (int s = 0; s < sequences; s++) {
        Progress.checkCancelled();
        embedding.embed(ids.get(s), 0, sequence(s, s + 1));
      }
    }
  }

  /// Sends every sequence through block `layer`.
  public void block(int layer, LayerTap tap) {
    if (blocks == null) {
      blocks = model.blocksAhead(backend);
    }
    try (Ahead<BlockWeights>.Loaded block = blocks.get(layer)) {
      block(block.value(), tap);
    }
  }

  /// Sends every sequence through the given block.
  public void block(BlockWeights weights, LayerTap tap) {
    try (Arena call = Arena.ofShared()) {
      Tensor positions = Residents.positions(backend, call, 0, tokens, batch());
      for (int from = 0; from < sequences; from += batch()) {
        Progress.checkCancelled();
        int to = Math.min(sequences, from + batch());
        Tensor rows = sequence(from, to);
        tap.before(rows);
        forward.run(weights, rows, positions.columns(0, rows.rows()), to - from, tap.activations());
        tap.after(rows);
        tap.progress(to, sequences);
      }
      backend.sync();
    }
  }

  /// Rows of sequences `from` (inclusive) to `to` (exclusive).
  public Tensor sequence(int from, int to) {
    return stream.rows((long) from * tokens, (long) to * tokens);
  }

  /// What looks on while sequences pass a block.
  public interface LayerTap {
    LayerTap NONE = new LayerTap() {};

    default BlockTap activations() {
      return BlockTap.NONE;
    }

    /// The residual stream of the next sequences before the block.
    default void before(Tensor stream) {}

    /// The same after it.
    default void after(Tensor stream) {}

    default void progress(int done, int total) {}
  }

  @Override
  public void close() {
    backend.sync();
    if (blocks != null) {
      blocks.close();
    }
    forward.close();
    arena.close();
  }
}
