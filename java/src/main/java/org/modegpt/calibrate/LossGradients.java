package org.modegpt.calibrate;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.modegpt.Progress;
import org.modegpt.backend.Backend;
import org.modegpt.model.BlockBackward;
import org.modegpt.model.BlockWeights;
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
/// All gradients of all layers are held on the device until this is closed; memory of `layers *
/// tokens * d` floats.
final class LossGradients implements AutoCloseable {
  /// Calibration sequences, and tokens of each from its start.
  private static final int SEQUENCES = 8;

  private static final int TOKENS = 512;

  private final Backend backend;
  private final ModelConfig config;
  private final Arena arena = Arena.ofShared();

  /// Per layer the input of its block, then the gradient at its output.
  private final List<Tensor> streams = new ArrayList<>();

  /// Per layer the gradient at the output of its MLP, where a norm follows that.
  private final List<Tensor> mlps = new ArrayList<>();

  private LossGradients(Backend backend, ModelConfig config) {
    this.backend = backend;
    this.config = config;
  }

  static LossGradients of(
      Transformer model, Backend backend, List<int[]> calibration, long seed, Progress progress) {
    int count = Math.min(SEQUENCES, calibration.size());
    int tokens = Math.min(TOKENS, calibration.getFirst().length);
    LossGradients gradients = new LossGradients(backend, model.config());
    try (StreamingPass pass = new StreamingPass(backend, model, count, tokens)) {
      pass.embed(
          calibration.subList(0, count).stream().map(ids -> Arrays.copyOf(ids, tokens)).toList());
      gradients.forth(pass, progress);
      gradients.atHead(model, pass.stream(), seed);
      gradients.back(model, pass, tokens, progress);
      return gradients;
    } catch (RuntimeException e) {
      gradients.close();
      throw e;
    }
  }

  /// Device memory that gradients on calibration sequences of `tokens` tokens take.
  static long bytes(ModelConfig config, int sequences, int tokens) {
    long rows = (long) Math.min(SEQUENCES, sequences) * Math.min(TOKENS, tokens);
    int kept = config.layers() * (normed(config) ? 2 : 1);
    return DType.F32.bytes(rows * config.hiddenSize() * kept);
  }

  static boolean normed(ModelConfig config) {
    return config.design().norms().contains(Role.MLP_OUTPUT_NORM);
  }

  private void forth(StreamingPass pass, Progress progress) {
    for (int layer = 0; layer < config.layers(); layer++) {
      streams.add(copy(pass.stream(), arena));
      pass.block(layer, StreamingPass.LayerTap.NONE);
      progress.update("gradients", layer + 1, 2L * config.layers(), "layer");
    }
  }

  private void atHead(Transformer model, Tensor stream, long seed) {
    try (Arena call = Arena.ofShared();
        LanguageHead head = new LanguageHead(backend, model, Residence.F32)) {
      Tensor uniforms = Resampling.uniforms(backend, call, stream.rows(), seed);
      Tensor ids = backend.allocate(call, DType.I32, 1, stream.rows());
      Tensor gradient = backend.allocate(call, DType.F32, stream.rows(), stream.cols());
      head.sampledGradient(stream, uniforms, ids, gradient);
      backend.copy(gradient, stream);
      backend.sync();
    }
  }

  /// From here on the pass's stream holds the gradient.
  private void back(Transformer model, StreamingPass pass, int tokens, Progress progress) {
    BlockBackward backward = new BlockBackward(backend, config);
    int sequences = Math.toIntExact(pass.stream().rows() / tokens);
    for (int layer = config.layers() - 1; layer >= 0; layer--) {
      Tensor input = streams.get(layer);
      Tensor mlp = normed(config) ? copy(pass.stream(), arena) : null;
      try (Arena call = Arena.ofShared()) {
        Tensor positions = Residents.positions(backend, call, 0, tokens, pass.batch());
        Tensor output = copy(pass.stream(), call);
        BlockWeights weights = model.block(backend, call, layer, Residence.F32);
        for (int from = 0; from < sequences; from += pass.batch()) {
          Progress.checkCancelled();
          int to = Math.min(sequences, from + pass.batch());
          long first = (long) from * tokens;
          long last = (long) to * tokens;
          backward.run(
              weights,
              input.rows(first, last),
              positions.columns(0, last - first),
              to - from,
              pass.sequence(from, to),
              gradient -> {
                if (mlp != null) {
                  backend.copy(gradient, mlp.rows(first, last));
                }
              });
        }
        backend.copy(output, input);
        backend.sync();
      }
      if (mlp != null) {
        mlps.addFirst(mlp);
      }
      progress.update("gradients", 2L * config.layers() - layer, 2L * config.layers(), "layer");
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
