package org.modegpt.model;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.random.RandomGenerator;
import org.jspecify.annotations.Nullable;
import org.modegpt.backend.Backend;
import org.modegpt.model.Scratch.Buffer;
import org.modegpt.model.Transformer.Residence;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Final normalisation and output matrix: residual stream to logits. Holds its weights until
/// closed.
public final class LanguageHead implements AutoCloseable {
  /// Below this the output matrix is held as F32, so that chunks of tokens do not convert it again
  /// and again.
  private static final long F32_LIMIT_BYTES = 256L << 20;

  /// Of the output matrix that are converted to float32 at once for a gradient.
  private static final long MATRIX_ROWS = 8192;

  private static final long LOGITS_BYTES = 64L << 20;

  private final Backend backend;
  private final ModelConfig config;
  private final Arena arena = Arena.ofShared();
  private final Scratch scratch;
  private final Norms norms;
  private final Tensor norm;
  private final @Nullable Tensor normBias;
  private final Tensor matrix;

  public LanguageHead(Backend backend, Transformer model, Residence residence) {
    this.backend = backend;
    this.config = model.config();
    this.scratch = new Scratch(backend);
    this.norms = new Norms(backend, config.design());
    this.norm = model.finalNorm(backend, arena);
    this.normBias = model.finalNormBias(backend, arena);
    long f32 = 4L * config.vocabSize() * config.hiddenSize();
    this.matrix = model.head(backend, arena, f32 <= F32_LIMIT_BYTES ? residence : Residence.STORED);
  }

  /// Rows to pass to {@link #logits} at once so that the logits stay within a bounded buffer.
  public long chunkRows() {
    return Math.max(1, LOGITS_BYTES / (4L * config.vocabSize()));
  }

  /// Logits F32 `[N, vocab]` of stream rows `[N, d]`; borrowed until the next call. The stream is
  /// left as it is.
  public Tensor logits(Tensor stream) {
    Tensor normed = scratch.get(Buffer.NORM, stream.rows(), stream.cols());
    norms.apply(stream, norm, normBias, normed);
    Tensor logits = scratch.get(Buffer.LOGITS, stream.rows(), config.vocabSize());
    backend.linear(normed, matrix, null, logits);
    if (config.design().logitSoftcap() > 0) {
      backend.scale(1f, config.design().logitSoftcap(), logits);
    }
    return logits;
  }

  /// A number in `[0, 1)` to draw with, exact in float32.
  public static float uniform(RandomGenerator random) {
    return random.nextInt(1 << 24) * 0x1p-24f;
  }

  /// Draws a token after each row of the stream from the model's own distribution.
  ///
  /// @param stream F32 `[N, d]`
  /// @param uniforms F32 `[1, N]` in `[0, 1)`, on the device
  /// @param ids I32 `[1, N]`, the tokens drawn
  public void sample(Tensor stream, Tensor uniforms, Tensor ids) {
    for (long from = 0; from < stream.rows(); from += chunkRows()) {
      long to = Math.min(stream.rows(), from + chunkRows());
      sampled(stream.rows(from, to), uniforms.columns(from, to), ids.columns(from, to));
    }
  }

  /// The gradient at the logits.
  private Tensor sampled(Tensor stream, Tensor uniforms, Tensor ids) {
    Tensor logits = logits(stream);
    backend.sampledGradient(logits, config.design().logitSoftcap(), uniforms, ids);
    return logits;
  }

  /// Draws a token after each row of the stream from the model's own distribution and gives the
  /// gradient of its negative log-likelihood at the row.
  ///
  /// @param stream F32 `[N, d]`
  /// @param uniforms F32 `[1, N]` in `[0, 1)`, on the device
  /// @param ids I32 `[1, N]`, the tokens drawn
  /// @param gradient F32 `[N, d]`
  public void sampledGradient(Tensor stream, Tensor uniforms, Tensor ids, Tensor gradient) {
    for (long from = 0; from < stream.rows(); from += chunkRows()) {
      long to = Math.min(stream.rows(), from + chunkRows());
      Tensor rows = stream.rows(from, to);
      Tensor logits = sampled(rows, uniforms.columns(from, to), ids.columns(from, to));
      Tensor normed = scratch.get(Buffer.OUTPUT, rows.rows(), rows.cols());
      for (long first = 0; first < matrix.rows(); first += MATRIX_ROWS) {
        long last = Math.min(matrix.rows(), first + MATRIX_ROWS);
        try (Arena call = Arena.ofShared()) {
          Tensor part = Residents.single(backend, call, matrix.rows(first, last));
          backend.gemm(
              false, false, 1, logits.columns(first, last), part, first == 0 ? 0 : 1, normed);
          backend.sync();
        }
      }
      norms.back(rows, norm, normed, gradient.rows(from, to));
    }
  }

  /// Negative log-likelihoods (natural log) of `targets` under the logits of `stream`; a negative
  /// target gives 0.
  ///
  /// @param stream F32 `[N, d]`
  /// @param targets `[N]` token ids
  public double[] negativeLogLikelihood(Tensor stream, int[] targets) {
    double[] nll = new double[targets.length];
    score(stream, targets, nll, null);
    return nll;
  }

  /// The same into `nll`, and into `best` (when it is not null) the most likely token of each row.
  public void score(Tensor stream, int[] targets, double[] nll, int @Nullable [] best) {
    for (int from = 0; from < targets.length; from += (int) chunkRows()) {
      int to = (int) Math.min(targets.length, from + chunkRows());
      try (Arena call = Arena.ofShared()) {
        Tensor ids = Residents.ints(backend, call, Arrays.copyOfRange(targets, from, to));
        Tensor losses = backend.allocate(call, DType.F64, 1, to - from);
        Tensor largest = best == null ? null : backend.allocate(call, DType.I32, 1, to - from);
        backend.nll(logits(stream.rows(from, to)), ids, losses, largest);
        System.arraycopy(Residents.doubles(backend, losses), 0, nll, from, to - from);
        if (best != null && largest != null) {
          System.arraycopy(
              Residents.download(backend, call, largest).toInts(), 0, best, from, to - from);
        }
      }
    }
  }

  @Override
  public void close() {
    backend.sync();
    scratch.close();
    arena.close();
  }
}
