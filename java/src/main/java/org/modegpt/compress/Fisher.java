package org.modegpt.compress;

import java.lang.foreign.Arena;
import org.modegpt.backend.Backend;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.model.Residents;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Fisher information `M = E[g gᵀ]` of the residual stream behind a block: to second order, a
/// change Δ of the stream moves the predictions by a divergence of `E[Δᵀ M Δ] / 2` nats per token.
///
/// @param sums `GᵀG` over the tokens whose gradients were gathered, F64 `[d, d]` in full
/// @param tokens how many those were
record Fisher(Backend backend, Tensor sums, double tokens) {

  /// @param memory owns a copy of the sums
  static Fisher of(Backend backend, Arena memory, LayerStatistics statistics) {
    Tensor gradient = LayerStatistics.required(statistics.outputGradient());
    Tensor full = backend.allocate(memory, DType.F64, gradient.rows(), gradient.cols());
    backend.copy(gradient, full);
    backend.mirrorLower(full);
    Tensor tokens = LayerStatistics.required(statistics.gradientTokens());
    return new Fisher(backend, full, Residents.doubles(backend, tokens)[0]);
  }

  /// @param change Δ, F32 `[N, d]`
  double divergence(Tensor change) {
    long d = change.cols();
    double scale = 0.5 / tokens / change.rows();
    try (Arena call = Arena.ofShared()) {
      Tensor gram = Residents.zeros(backend, call, d, d);
      backend.gram(change, gram);
      backend.mirrorLower(gram);
      Tensor product = Residents.zeros(backend, call, 1, 1);
      backend.gemm(false, true, scale, gram.reshape(1, d * d), sums.reshape(1, d * d), 0, product);
      return Residents.doubles(backend, product)[0];
    }
  }
}
