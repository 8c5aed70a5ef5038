package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.stream.DoubleStream;
import org.modegpt.Progress;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.model.BlockForward;
import org.modegpt.model.BlockTap;
import org.modegpt.model.BlockWeights;
import org.modegpt.model.ModelConfig;
import org.modegpt.model.Residents;
import org.modegpt.model.Role;
import org.modegpt.model.StreamingPass;
import org.modegpt.model.Transformer;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Refits the two matrices that write to the residual stream, W_o and W_down, of compressed blocks
/// in order, on what the compressed blocks before them really give.
///
/// Two residual streams run side by side: x of the dense model and x̃ of the compressed one so far.
/// With Z̃ the inputs of the matrix on x̃ (head outputs or MLP inner activations) and `a` what the
/// dense module adds to x, the new matrix is the ridge least-squares solution
///
///     W' = (Z̃ᵀZ̃ + λI)⁻¹ (Z̃ᵀ(a + α (x − x̃)) + λ W),   λ relative to the mean of diag(Z̃ᵀZ̃)
///
/// of giving what the dense module gives and making good the share α of the drift of the stream.
/// The ridge pulls towards the decomposition's own W. Where a norm follows the matrix, α is 0. Blocks
/// whose MLP reads the stream before attention are not refitted. Memory: three residual streams of all
/// sequences, one dense and one compressed block.
final class PrefixRefit implements AutoCloseable {
  private final Transformer model;
  private final Backend backend;
  private final Recipe.Refit settings;
  private final StreamingPass dense;
  private final StreamingPass shrunk;
  private final BlockForward forward;
  private final Workspace workspace;
  private final Arena arena = Arena.ofShared();
  private final int sequences;
  private final int tokens;

  /// The dense stream between attention and MLP.
  private final Tensor middle;

  private final Tensor positions;
  private final Tensor wanted;
  private final Tensor copy;

  /// Whether blocks of the model are made for this.
  static boolean suits(ModelConfig config) {
    return !config.design().parallel();
  }

  /// @param text equally long sequences; as many as the settings say are used
  PrefixRefit(Transformer model, Backend backend, Recipe.Refit settings, List<int[]> text) {
    if (text.isEmpty()) {
      throw new UserException("this recipe refits on calibration text, and none was given");
    }
    List<int[]> used = text.subList(0, Math.min(settings.sequences(), text.size()));
    this.model = model;
    this.backend = backend;
    this.settings = settings;
    this.sequences = used.size();
    this.tokens = used.getFirst().length;
    this.dense = new StreamingPass(backend, model, sequences, tokens);
    this.shrunk = new StreamingPass(backend, model, sequences, tokens);
    this.forward = new BlockForward(backend, model.config());
    this.workspace = new Workspace(backend);
    long d = model.config().hiddenSize();
    long rows = (long) dense.batch() * tokens;
    this.middle = backend.allocate(arena, DType.F32, (long) sequences * tokens, d);
    this.wanted = backend.allocate(arena, DType.F32, rows, d);
    this.copy = backend.allocate(arena, DType.F32, rows, d);
    this.positions = Residents.positions(backend, arena, 0, tokens, dense.batch());
    dense.embed(used);
    shrunk.embed(used);
  }

  /// Half of a block: reads a matrix's inputs through `tap`, adds its outputs to the stream.
  @FunctionalInterface
  private interface Half {
    void run(BlockWeights weights, Tensor stream, int batch, BlockTap tap);
  }

  /// The next block with W_o and W_down refitted.
  ///
  /// @param owner of the new weights
  CompressedBlock next(Arena owner, BlockWeights original, CompressedBlock block) {
    Half attention =
        (w, stream, batch, tap) ->
            forward.attention(w, stream, positions.columns(0, stream.rows()), batch, tap);
    Half mlp = (w, stream, _, tap) -> forward.mlp(w, stream, tap);
    CompressedBlock result = block;
    result = refit(owner, attention, Role.O, dense.stream(), middle, original, result);
    return refit(owner, mlp, Role.DOWN, middle, dense.stream(), original, result);
  }

  /// @param before the dense stream in front of this half
  /// @param after receives the dense stream behind it
  private CompressedBlock refit(
      Arena owner,
      Half half,
      Role role,
      Tensor before,
      Tensor after,
      BlockWeights original,
      CompressedBlock block) {
    try (Arena call = Arena.ofShared()) {
      BlockWeights decomposed = model.block(backend, call, block.shape(), block.weights());
      Sums sums = new Sums(call, decomposed.get(role));
      each((from, to) -> {
        Tensor x = rows(before, from, to);
        Tensor y = rows(after, from, to);
        Tensor drifted = shrunk.sequence(from, to);
        Tensor goal = wanted.rows(0, x.rows());
        backend.copy(x, y);
        half.run(original, y, to - from, outputTo(goal));
        if (!normed(role)) {
          backend.add((float) settings.strength(), x, goal);
          backend.add((float) -settings.strength(), drifted, goal);
        }
        Tensor bias = decomposed.optional(role == Role.O ? Role.O_BIAS : Role.DOWN_BIAS);
        if (bias != null) {
          backend.add(-1, bias, goal);
        }
        Tensor stream = copy.rows(0, x.rows());
        backend.copy(drifted, stream);
        half.run(decomposed, stream, to - from, sums.tap(goal));
      });
      Map<Role, Tensor> weights = new EnumMap<>(block.weights());
      weights.put(role, sums.solve(owner));
      BlockWeights refitted = model.block(backend, call, block.shape(), weights);
      each((from, to) -> half.run(refitted, shrunk.sequence(from, to), to - from, BlockTap.NONE));
      backend.sync();
      return new CompressedBlock(block.shape(), weights, block.units(), block.reports());
    }
  }

  /// Whether a norm stands between the matrix and the stream: then only the matrix's own output can
  /// be aimed at.
  private boolean normed(Role role) {
    return model
        .config()
        .design()
        .norms()
        .contains(role == Role.O ? Role.ATTENTION_OUTPUT_NORM : Role.MLP_OUTPUT_NORM);
  }

  private BlockTap outputTo(Tensor goal) {
    return new BlockTap() {
      @Override
      public void attentionOutput(Tensor output, Tensor stream) {
        backend.copy(output, goal);
      }

      @Override
      public void mlpOutput(Tensor output, Tensor stream) {
        backend.copy(output, goal);
      }
    };
  }

  @FunctionalInterface
  private interface Chunk {
    void sequences(int from, int to);
  }

  private void each(Chunk chunk) {
    for (int from = 0; from < sequences; from += dense.batch()) {
      Progress.checkCancelled();
      chunk.sequences(from, Math.min(sequences, from + dense.batch()));
    }
  }

  private Tensor rows(Tensor stream, int from, int to) {
    return stream.rows((long) from * tokens, (long) to * tokens);
  }

  /// Normal equations of one matrix, F64.
  private final class Sums {
    private final Tensor matrix;
    private final Tensor gram;
    private final Tensor cross;

    /// @param matrix `[d, n]`
    Sums(Arena call, Tensor matrix) {
      this.matrix = matrix;
      this.gram = Residents.zeros(backend, call, matrix.cols(), matrix.cols());
      this.cross = Residents.zeros(backend, call, matrix.rows(), matrix.cols());
    }

    BlockTap tap(Tensor goal) {
      return new BlockTap() {
        @Override
        public void headOutputs(Tensor z) {
          add(z);
        }

        @Override
        public void mlpInner(Tensor h) {
          add(h);
        }

        private void add(Tensor inputs) {
          backend.gram(inputs, gram);
          backend.crossGram(goal, inputs, cross);
        }
      };
    }

    /// The new matrix, F32.
    Tensor solve(Arena owner) {
      workspace.reset();
      double mean = DoubleStream.of(workspace.diagonal(gram)).average().orElseThrow();
      float ridge = (float) (settings.ridge() * mean);
      Tensor solution = workspace.doubles(matrix);
      if (mean > 0) {
        Tensor present = solution;
        solution = workspace.copy(cross);
        backend.add(ridge, present, solution);
        workspace.addToDiagonal(gram, ridge);
        if (backend.cholesky(gram) != 0) {
          throw new UserException("a refit is singular; use a larger refit.ridge");
        }
        backend.triangularSolve(gram, false, true, solution);
        backend.triangularSolve(gram, false, false, solution);
      }
      Tensor single = backend.allocate(owner, DType.F32, matrix.rows(), matrix.cols());
      backend.cast(solution, single);
      return single;
    }
  }

  @Override
  public void close() {
    workspace.close();
    forward.close();
    shrunk.close();
    dense.close();
    arena.close();
  }
}
