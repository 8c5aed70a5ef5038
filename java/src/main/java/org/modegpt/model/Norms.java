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

  /// The gradient at `x` from that at what {@link #apply} gives; may be in place of `dy`.
  void back(Tensor x, Tensor weight, Tensor dy, Tensor dx) {
    if (design.layerNorm()) {
      backend.layerNormBackward(x, weight, design.normEps(), dy, dx);
    } else {
      backend.rmsNormBackward(x, weight, design.normEps(), dy, dx);
    }
  }

  /// RMS norm of queries or keys in place, over each head or over all together.
  ///
  /// @param x `[N, heads * dim]`
  /// @param weight `[1, heads * dim]`
  /// @param shared whether all heads have the same weights
  void applyToHeads(Tensor x, Tensor weight, int heads, float eps, boolean shared) {
    eachHead(
        heads, shared, weight, (own, view) -> backend.rmsNorm(view.of(x), own, eps, view.of(x)));
  }

  /// The gradient at `x` from that at what {@link #applyToHeads} made of it, in place.
  void backToHeads(Tensor x, Tensor weight, int heads, float eps, boolean shared, Tensor gradient) {
    eachHead(
        heads,
        shared,
        weight,
        (own, view) ->
            backend.rmsNormBackward(view.of(x), own, eps, view.of(gradient), view.of(gradient)));
  }

  /// What is normalised together of a tensor, one row for each.
  private interface View {
    Tensor of(Tensor x);
  }

  private interface Action {
    void run(Tensor weight, View view);
  }

  private void eachHead(int heads, boolean shared, Tensor weight, Action action) {
    if (design.qkNorm() == QkNorm.WHOLE) {
      action.run(weight, x -> x);
      return;
    }
    long dim = weight.cols() / heads;
    if (shared) {
      action.run(weight.columns(0, dim), x -> x.reshape(x.rows() * heads, dim));
      return;
    }
    for (int head = 0; head < heads; head++) {
      long from = head * dim;
      action.run(weight.columns(from, from + dim), x -> x.columns(from, from + dim));
    }
  }
}
