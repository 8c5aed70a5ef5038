package org.modegpt.monitor;

import java.lang.foreign.Arena;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.calibrate.Statistics;
import org.modegpt.model.BlockForward;
import org.modegpt.model.BlockTap;
import org.modegpt.model.BlockWeights;
import org.modegpt.model.Residents;
import org.modegpt.model.TokenEmbedding;
import org.modegpt.model.Transformer;
import org.modegpt.model.Transformer.Residence;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// How far a text is from the calibration text, as the model's first block sees both: each of the d
/// inputs of its attention has a mean square over the calibration text (the diagonal of the
/// statistics' `C_X` of layer 0), and the drift is `Σ|a_j - c_j| / Σ c_j` between those of the text
/// and those of the calibration text. 0 is the same; it rises with other words, topics or
/// languages. Compression leaves these inputs alone, so statistics of the original serve its
/// compressed forms. One thread at a time.
public final class Drift implements AutoCloseable {
  private final Transformer model;
  private final Backend backend;
  private final Arena arena = Arena.ofShared();
  private final BlockWeights block;
  private final TokenEmbedding embedding;
  private final BlockForward forward;
  private final double[] calibration;

  /// @param statistics of the model, or of the one it was compressed from
  /// @throws org.modegpt.UserException when they belong to a model of another width
  public Drift(Transformer model, Statistics statistics) {
    this.model = model;
    int width = model.config().hiddenSize();
    try (Arena host = Arena.ofShared()) {
      var layer = statistics.layer(0, host);
      if (layer.attentionInput().rows() != width) {
        throw new org.modegpt.UserException(
            statistics.path()
                + " holds statistics of a model of another width than "
                + model.directory().path());
      }
      calibration = new double[width];
      for (int j = 0; j < width; j++) {
        calibration[j] = layer.attentionInput().get(j, j) / layer.tokens();
      }
    }
    // A thread of its own, so that the application's decoding goes on.
    this.backend = Backends.open("cpu", 1);
    this.block = model.block(backend, arena, 0, Residence.STORED);
    this.embedding = model.embedding(backend, arena);
    this.forward = new BlockForward(backend, model.config());
  }

  /// The drift of a text of at least one token.
  public double of(int... ids) {
    double[] squares = new double[calibration.length];
    try (Arena call = Arena.ofShared()) {
      Tensor x = backend.allocate(call, DType.F32, ids.length, model.config().hiddenSize());
      embedding.embed(ids, 0, x);
      Tensor positions = Residents.positions(backend, call, 0, ids.length, 1);
      forward.run(
          block,
          x,
          positions,
          1,
          new BlockTap() {
            @Override
            public void attentionInput(Tensor input) {
              float[] values = Residents.floats(backend, input);
              for (int i = 0; i < values.length; i++) {
                squares[i % squares.length] += (double) values[i] * values[i];
              }
            }
          });
      backend.sync();
    }
    double change = 0;
    double whole = 0;
    for (int j = 0; j < squares.length; j++) {
      change += Math.abs(squares[j] / ids.length - calibration[j]);
      whole += calibration[j];
    }
    return change / whole;
  }

  @Override
  public void close() {
    forward.close();
    arena.close();
    backend.close();
  }
}
