package org.modegpt.model;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntConsumer;
import org.modegpt.Progress;
import org.modegpt.backend.Backend;
import org.modegpt.model.Transformer.Residence;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Runs the rows of a {@link Packing} through a model one block at a time. Memory holds one block,
/// the residual stream of all rows, and the keys and values of one sequence. Owns them until
/// closed; one serial stream.
public final class PackedPass implements AutoCloseable {
  /// Rows that go through a block at once: enough for full GEMM speed, little enough for the caches
  /// and scratch memory.
  public static final int CHUNK_ROWS = 2048;

  /// Memory for the keys that are put together for one call, and as much for values.
  private static final long GATHERED_BYTES = 64 << 20;

  private final Backend backend;
  private final Transformer model;
  private final Packing packing;
  private final Arena arena = Arena.ofShared();
  private final Tensor stream;
  private final Tensor positions;
  private final BlockForward forward;

  /// Of every chunk; empty where spans are attended to one by one.
  private final List<GatheredChunk> gathered = new ArrayList<>();

  public PackedPass(Backend backend, Transformer model, Packing packing) {
    this(backend, model, packing, backend.unifiedMemory() ? 0 : GATHERED_BYTES);
  }

  /// @param gatheredBytes memory for keys that are put together, so that spans share calls; pays
  ///   where a call costs more than a copy; 0 to attend to spans one by one
  PackedPass(Backend backend, Transformer model, Packing packing, long gatheredBytes) {
    this.backend = backend;
    this.model = model;
    this.packing = packing;
    this.stream = backend.allocate(arena, DType.F32, packing.rows(), model.config().hiddenSize());
    this.positions = Residents.ints(backend, arena, packing.positions());
    this.forward = new BlockForward(backend, model.config());
    if (gatheredBytes > 0) {
      ModelConfig config = model.config();
      long keys = gatheredBytes / DType.F32.bytes((long) config.kvHeads() * config.headDim());
      for (Packing.Chunk chunk : packing.chunks()) {
        gathered.add(GatheredChunk.of(backend, arena, chunk, packing.longest(), keys));
      }
    }
  }

  /// Computes the residual stream after the last block.
  ///
  /// @param layerDone told the number of finished blocks after each
  public void run(IntConsumer layerDone) {
    embed();
    ModelConfig config = model.config();
    for (int layer = 0; layer < config.layers(); layer++) {
      try (Arena call = Arena.ofShared()) {
        BlockWeights weights = model.block(backend, call, layer, Residence.F32);
        LayerShape shape = weights.shape();
        Tensor keys = cache(call, shape.qkDim());
        Tensor values = cache(call, shape.voDim());
        for (int i = 0; i < packing.chunks().size(); i++) {
          Progress.checkCancelled();
          chunk(i, weights, keys, values);
        }
        backend.sync();
      }
      layerDone.accept(layer + 1);
    }
  }

  private void chunk(int index, BlockWeights weights, Tensor keys, Tensor values) {
    Packing.Chunk chunk = packing.chunks().get(index);
    Tensor x = stream.rows(chunk.from(), chunk.to());
    Tensor places = positions.columns(chunk.from(), chunk.to());
    if (gathered.isEmpty()) {
      forward.runSpans(weights, x, places, chunk.spans(), keys, values);
    } else {
      GatheredChunk spans = gathered.get(index);
      forward.runGathered(weights, x, places, spans, packing.longest(), keys, values);
    }
  }

  private Tensor cache(Arena call, int width) {
    long columns = (long) model.config().kvHeads() * width;
    int rows = gathered.isEmpty() ? 0 : packing.longestChunk();
    return backend.allocate(call, DType.F32, packing.longest() + rows, columns);
  }

  private void embed() {
    try (Arena call = Arena.ofShared()) {
      TokenEmbedding embedding = model.embedding(backend, call);
      for (Packing.Chunk chunk : packing.chunks()) {
        embedding.embed(
            Arrays.copyOfRange(packing.tokens(), chunk.from(), chunk.to()),
            Arrays.copyOfRange(packing.positions(), chunk.from(), chunk.to()),
            stream.rows(chunk.from(), chunk.to()));
      }
    }
  }

  /// Copies rows of the residual stream, F32 `[rows.length, d]`; lives as long as `owner`.
  public Tensor gather(int[] rows, Arena owner) {
    Tensor out = backend.allocate(owner, DType.F32, rows.length, stream.cols());
    backend.gatherRows(stream, Residents.ints(backend, owner, rows), out);
    return out;
  }

  @Override
  public void close() {
    backend.sync();
    forward.close();
    arena.close();
  }
}
