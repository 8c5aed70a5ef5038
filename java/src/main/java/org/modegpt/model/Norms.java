package org.modegpt.model;

import org.jspecify.annotations.Nullable;
import org.modegpt.backend.Backend;
import org.modegpt.model.Design.QkNorm;
import org.modegpt.tensor.Tensor;

/// The norms of a model's design.
///
/// @param design says which kind and its epsilon
record Norms(Backend backend, Design design) {

  /// `y = norm(x)` per row; may be in place.
  ///
  /// @param bias of LayerNorm, null for RMS norm
  void apply(Tensor x, Tensor weight, @Nullable Tensor bias, Tensor y) {
    if (design.layerNorm()) {
      backend.layerNorm(x, weight, bias, design.normEps(), y);
    } else {
      backend.rmsNorm(x, weight, design.normEps(), y);
    }
  }

  /// RMS norm of queries or keys in place, over each head or over all together.
  ///
  /// @param x `[N, heads * dim]`
  /// @param weight `[1, heads * dim]`
  /// @param shared whether all heads have the same weights
  void applyToHeads(Tensor x, Tensor weight, int heads, float eps, boolean shared) {
    if (design.qkNorm() == QkNorm.WHOLE) {
      backend.rmsNorm(x, weight, eps, x);
      return;
    }
    long dim = x.cols() / heads;
    if (shared) {
      Tensor rows = x.reshape(x.rows() * heads, dim);
      backend.rmsNorm(rows, weight.columns(0, dim), eps, rows);
      return;
    }
    for (int head = 0; head < heads; head++) {
      Tensor part = x.columns(head * dim, (head + 1) * dim);
      backend.rmsNorm(part, weight.columns(head * dim, (head + 1) * dim), eps, part);
    }
  }
}
