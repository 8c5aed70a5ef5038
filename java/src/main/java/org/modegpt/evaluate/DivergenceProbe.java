package org.modegpt.evaluate;

import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.function.Function;
import org.modegpt.Progress;
import org.modegpt.backend.Backend;
import org.modegpt.io.Digests;
import org.modegpt.model.BlockForward;
import org.modegpt.model.BlockTap;
import org.modegpt.model.BlockWeights;
import org.modegpt.model.LanguageHead;
import org.modegpt.model.Residents;
import org.modegpt.model.TokenEmbedding;
import org.modegpt.model.Transformer;
import org.modegpt.model.Transformer.Residence;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Measures how far variants of a model move its predictions: the mean KL divergence from the dense
/// model's next-token distribution on a few probe sequences, in nats per token.
///
/// Many variants that each differ from a common base in one block are measured in one pass over the
/// layers: a variant's residual stream branches off the base's at its block and follows the base's
/// blocks from there. Weights of one block are resident, and one residual stream per variant. One
/// serial stream; owns its memory until closed.
public final class DivergenceProbe implements AutoCloseable {
  /// Positions of all sequences together whose predictions are compared; they are evenly spaced.
  /// The output matrix is the costly part.
  private static final int POSITIONS = 1024;

  /// A change of one block: `block` makes the changed weights, which live as long as the arena it
  /// is given.
  public record Variant(int layer, Function<Arena, BlockWeights> block) {}

  /// The blocks all variants share.
  @FunctionalInterface
  public interface Blocks {
    /// The weights of one block, living as long as `arena`.
    BlockWeights load(int layer, Arena arena);
  }

  private final Backend backend;
  private final Transformer model;
  private final List<int[]> sequences;
  private final int tokens;
  private final Arena arena = Arena.ofShared();
  private final BlockForward forward;
  private final Tensor positions;
  private final Tensor embedded;
  private final LanguageHead head;
  private final List<Tensor> denseLogits = new ArrayList<>();

  /// Runs the dense model over the probe sequences, which are equally long.
  ///
  /// @param blocks of the dense model
  public DivergenceProbe(Transformer model, Backend backend, List<int[]> sequences, Blocks blocks) {
    this.backend = backend;
    this.model = model;
    this.sequences = sequences;
    this.tokens = sequences.getFirst().length;
    this.forward = new BlockForward(backend, model.config());
    this.positions = Residents.positions(backend, arena, 0, tokens, sequences.size());
    this.embedded = stream();
    this.head = new LanguageHead(backend, model, Residence.F32);
    try (Arena call = Arena.ofShared()) {
      TokenEmbedding embedding = model.embedding(backend, call);
      for (int s = 0; s < sequences.size(); s++) {
        embedding.embed(sequences.get(s), 0, sequence(embedded, s));
      }
      Tensor dense = copy(embedded, call);
      for (int layer = 0; layer < model.config().layers(); layer++) {
        try (Arena block = Arena.ofShared()) {
          run(blocks.load(layer, block), dense);
        }
      }
      for (int s = 0; s < sequences.size(); s++) {
        Tensor logits = logits(dense, s, call);
        Tensor kept = backend.allocate(arena, DType.F32, logits.rows(), logits.cols());
        backend.copy(logits, kept);
        denseLogits.add(kept);
      }
      backend.sync();
    }
  }

  /// The mean divergence of the base, and of every variant.
  public record Result(double base, double[] variants) {}

  /// What a variant's block makes of the residual stream, compared to what the base's makes of it.
  public interface Change {
    /// @param base F32 `[N, d]`, output of the base's block
    /// @param changed F32 `[N, d]`, that of the variant's; may be overwritten
    double of(int layer, Tensor base, Tensor changed);
  }

  /// The change of the residual stream behind a variant's block, relative to the stream there: the
  /// mean over tokens of `‖x' − x‖² / ‖x‖²`.
  public double noise(Tensor base, Tensor changed) {
    try (Arena call = Arena.ofShared()) {
      Tensor sums = Residents.zeros(backend, call, 1, 3);
      backend.blockInfluence(base, changed, sums);
      double[] sum = Residents.doubles(backend, sums);
      return sum[1] / sum[2];
    }
  }

  /// The change behind every variant's block. Only the variant's own block is run.
  ///
  /// @param base blocks of the dense model; variants must be ordered by layer
  public double[] changes(Blocks base, List<Variant> variants, Change change, Progress progress) {
    int layers = model.config().layers();
    double[] result = new double[variants.size()];
    int next = 0;
    try (Arena call = Arena.ofShared()) {
      Tensor before = copy(embedded, call);
      Tensor after = copy(embedded, call);
      Tensor changed = copy(embedded, call);
      for (int layer = 0; layer < layers; layer++) {
        try (Arena block = Arena.ofShared()) {
          run(base.load(layer, block), after);
        }
        while (next < result.length && variants.get(next).layer() == layer) {
          Progress.checkCancelled();
          try (Arena block = Arena.ofShared()) {
            backend.copy(before, changed);
            run(variants.get(next).block().apply(block), changed);
            result[next++] = change.of(layer, after, changed);
          }
          progress.update("probe", next, result.length, "block");
        }
        backend.copy(after, before);
      }
    }
    return result;
  }

  /// The divergence of the base and of every variant.
  ///
  /// @param base blocks of the base model; variants must be ordered by layer
  public Result measure(Blocks base, List<Variant> variants, Progress progress) {
    int layers = model.config().layers();
    double[] result = new double[variants.size()];
    try (Arena call = Arena.ofShared()) {
      Tensor baseStream = copy(embedded, call);
      List<Tensor> streams = new ArrayList<>();
      int next = 0;
      long work = 0;
      long total = variants.stream().mapToLong(v -> layers - v.layer()).sum() + layers;
      for (int layer = 0; layer < layers; layer++) {
        int joined = next;
        while (next < variants.size() && variants.get(next).layer() == layer) {
          streams.add(copy(baseStream, call));
          next++;
        }
        for (int v = joined; v < next; v++) {
          Progress.checkCancelled();
          try (Arena block = Arena.ofShared()) {
            run(variants.get(v).block().apply(block), streams.get(v));
          }
          progress.update("probe", ++work, total, "block");
        }
        try (Arena block = Arena.ofShared()) {
          BlockWeights weights = base.load(layer, block);
          for (int v = 0; v < joined; v++) {
            Progress.checkCancelled();
            run(weights, streams.get(v));
            progress.update("probe", ++work, total, "block");
          }
          run(weights, baseStream);
          progress.update("probe", ++work, total, "block");
        }
      }
      for (int v = 0; v < variants.size(); v++) {
        result[v] = divergence(streams.get(v));
      }
      return new Result(divergence(baseStream), result);
    }
  }

  /// SHA-256 of the probe's tokens.
  public String textHash() {
    ByteBuffer bytes = ByteBuffer.allocate(4 * tokens * sequences.size());
    int at = 0;
    for (int[] sequence : sequences) {
      for (int id : sequence) {
        bytes.putInt(at, id);
        at += 4;
      }
    }
    return HexFormat.of().formatHex(Digests.sha256().digest(bytes.array()));
  }

  private Tensor stream() {
    return backend.allocate(
        arena, DType.F32, (long) sequences.size() * tokens, model.config().hiddenSize());
  }

  private Tensor copy(Tensor source, Arena owner) {
    Tensor copy = backend.allocate(owner, DType.F32, source.rows(), source.cols());
    backend.copy(source, copy);
    return copy;
  }

  private Tensor sequence(Tensor stream, int index) {
    return stream.rows((long) index * tokens, (index + 1L) * tokens);
  }

  private void run(BlockWeights weights, Tensor stream) {
    forward.run(weights, stream, positions, sequences.size(), BlockTap.NONE);
    backend.sync();
  }

  /// Logits of the compared positions of sequence `index`, borrowed until the next call.
  private Tensor logits(Tensor stream, int index, Arena call) {
    int stride = Math.clamp((long) tokens * sequences.size() / POSITIONS, 1, tokens);
    int count = tokens / stride;
    Tensor rows = sequence(stream, index);
    Tensor picked =
        new Tensor(
            DType.F32,
            count,
            rows.cols(),
            rows.stride() * stride,
            rows.rows(stride - 1L, tokens).data(),
            rows.onDevice());
    Tensor dense = backend.allocate(call, DType.F32, count, rows.cols());
    backend.copy(picked, dense);
    return head.logits(dense);
  }

  private double divergence(Tensor stream) {
    double sum = 0;
    long count = 0;
    try (Arena call = Arena.ofShared()) {
      for (int s = 0; s < sequences.size(); s++) {
        Tensor logits = logits(stream, s, call);
        Tensor kl = backend.allocate(call, DType.F64, 1, logits.rows());
        backend.klDivergence(denseLogits.get(s), logits, kl);
        for (double value : Residents.doubles(backend, kl)) {
          sum += value;
          count++;
        }
      }
    }
    return sum / count;
  }

  @Override
  public void close() {
    backend.sync();
    head.close();
    forward.close();
    arena.close();
  }
}
