package org.modegpt.calibrate;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.modegpt.Progress;
import org.modegpt.backend.Backend;
import org.modegpt.model.Ahead;
import org.modegpt.model.BlockBackward;
import org.modegpt.model.BlockWeights;
import org.modegpt.model.DenseBlocks;
import org.modegpt.model.LanguageHead;
import org.modegpt.model.ModelConfig;
import org.modegpt.model.Residents;
import org.modegpt.model.Role;
import org.modegpt.model.StreamingPass;
import org.modegpt.model.Transformer;
import org.modegpt.model.Transformer.Residence;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Gradients of the model's own loss at the outputs of its blocks: of `−log p(y)` with `y` drawn
/// from the model's prediction `p` after every token. Their Gram matrix `M = E[g gᵀ]` is the Fisher
/// information of the residual stream there: to second order, changing a block's output by Δ moves
/// the predictions by `KL ≈ E[Δᵀ M Δ] / 2`.
///
/// Streams are gathered by {@link #forth} and turned into gradients by {@link #back}. Those of all
/// layers are held on the device until this is closed; memory of `layers * tokens * d` floats.
final class LossGradients implements AutoCloseable {
  /// Sequences, and tokens of each from its start.
  private static final int SEQUENCES = 8;

  private static final int TOKENS = 512;

  private final Transformer model;
  private final Backend backend;
  private final ModelConfig config;
  private final Arena arena = Arena.ofShared();

  /// Per layer the input of its block, and the output of the last; then the gradient at a block's
  /// output.
  private final List<Tensor> streams = new ArrayList<>();

  /// Per layer the gradient at the output of its MLP, where a norm follows that.
  private final List<Tensor> mlps = new ArrayList<>();

  private final int sequences;
  private final int tokens;

  /// @param data tells how many sequences there are and how long they are
  LossGradients(Transformer model, Backend backend, CalibrationData data) {
    this.model = model;
    this.backend = backend;
    this.config = model.config();
    this.sequences = Math.min(SEQUENCES, data.count());
    this.tokens = Math.min(TOKENS, data.tokens());
  }

  /// Device memory that gradients on calibration sequences of `tokens` tokens take.
  static long bytes(ModelConfig config, int sequences, int tokens) {
    long rows = (long) Math.min(SEQUENCES, sequences) * Math.min(TOKENS, tokens);
    int kept = 1 + config.layers() * (normed(config) ? 2 : 1);
    return DType.F32.bytes(rows * config.hiddenSize() * kept);
  }

  static boolean normed(ModelConfig config) {
    return config.design().norms().contains(Role.MLP_OUTPUT_NORM);
  }

  /// Sends the beginnings of the first sequences through all blocks.
  void forth(DenseBlocks dense, List<int[]> calibration, Progress progress) {
    List<int[]> texts =
        calibration.stream().limit(sequences).map(ids -> Arrays.copyOf(ids, tokens)).toList();
    try (Ahead<BlockWeights> blocks = dense.forth();
        StreamingPass pass = new StreamingPass(backend, model, sequences, tokens)) {
      pass.embed(texts);
      keep(pass.stream());
      for (int layer = 0; layer < config.layers(); layer++) {
        try (Ahead<BlockWeights>.Loaded block = blocks.get(layer)) {
          pass.block(block.value(), StreamingPass.LayerTap.NONE);
        }
        keep(pass.stream());
        progress.update("gradients", layer + 1, 2L * config.layers(), "layer");
      }
    }
  }

  private void keep(Tensor stream) {
    streams.add(copy(stream, arena));
  }

  /// Draws a token after each row of the last stream, and follows its loss back through the blocks.
  void back(DenseBlocks dense, long seed, Progress progress) {
    Tensor gradient = streams.removeLast();
    atHead(gradient, seed);
    BlockBackward backward = new BlockBackward(backend, config);
    int layers = config.layers();
    int batch = Math.clamp(backend.passRows() / tokens, 1, sequences);
    try (Ahead<BlockWeights> blocks = dense.back();
        Arena call = Arena.ofShared()) {
      Tensor output = copy(gradient, call);
      for (int layer = layers - 1; layer >= 0; layer--) {
        Tensor mlp = normed(config) ? copy(gradient, arena) : null;
        try (Ahead<BlockWeights>.Loaded block = blocks.get(layers - 1 - layer)) {
          backend.copy(gradient, output);
          through(backward, block.value(), streams.get(layer), gradient, mlp, batch);
          backend.copy(output, streams.get(layer));
          backend.sync();
        }
        if (mlp != null) {
          mlps.addFirst(mlp);
        }
        progress.update("gradients", 2L * layers - layer, 2L * layers, "layer");
      }
    }
  }

  private void atHead(Tensor stream, long seed) {
    try (Arena call = Arena.ofShared();
        LanguageHead head = new LanguageHead(backend, model, Residence.F32)) {
      Tensor uniforms = OwnText.uniforms(backend, call, stream.rows(), seed);
      Tensor ids = backend.allocate(call, DType.I32, 1, stream.rows());
      Tensor gradient = backend.allocate(call, DType.F32, stream.rows(), stream.cols());
      head.sampledGradient(stream, uniforms, ids, gradient);
      backend.copy(gradient, stream);
      backend.sync();
    }
  }

  /// Leaves the gradient at the block's input in `gradient`.
  private void through(
      BlockBackward backward,
      BlockWeights weights,
      Tensor input,
      Tensor gradient,
      @Nullable Tensor mlp,
      int batch) {
    try (Arena call = Arena.ofShared()) {
      Tensor positions = Residents.positions(backend, call, 0, tokens, batch);
      for (int from = 0; from < sequences; from += batch) {
        Progress.checkCancelled();
        int to = Math.min(sequences, from + batch);
        long first = (long) from * tokens;
        long last = (long) to * tokens;
        backward.run(
            weights,
            input.rows(first, last),
            positions.columns(0, last - first),
            to - from,
            gradient.rows(first, last),
            atMlp -> {
              if (mlp != null) {
                backend.copy(atMlp, mlp.rows(first, last));
              }
            });
      }
      backend.sync();
    }
  }

  private Tensor copy(Tensor source, Arena owner) {
    Tensor copy = backend.allocate(owner, DType.F32, source.rows(), source.cols());
    backend.copy(source, copy);
    return copy;
  }

  /// Adds the Gram matrices of a layer to its statistics.
  void addTo(int layer, LayerStatistics statistics) {
    Tensor output = streams.get(layer);
    backend.gram(output, statistics.extra().get(LayerStatistics.OUTPUT_GRADIENT));
    Tensor mlp = statistics.extra().get(LayerStatistics.MLP_GRADIENT);
    if (mlp != null) {
      backend.gram(mlps.get(layer), mlp);
    }
    try (Arena call = Arena.ofShared()) {
      Tensor tokens = Tensor.allocate(call, DType.F64, 1, 1);
      tokens.set(0, 0, (double) output.rows());
      Tensor sum = statistics.extra().get(LayerStatistics.GRADIENT_TOKENS);
      backend.add(1, Residents.upload(backend, call, tokens), sum);
      backend.sync();
    }
  }

  @Override
  public void close() {
    backend.sync();
    arena.close();
  }
}
