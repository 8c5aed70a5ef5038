package org.modegpt.model;

import org.modegpt.tensor.Tensor;

/// Sees the inner activations of a block's forward pass, for statistics. Tensors have one row per
/// token and are F32 or, where only products read them, of the back-end's operand type, borrowed
/// until the method returns, and must not be changed.
public interface BlockTap {

  /// Looks at nothing.
  BlockTap NONE = new BlockTap() {};

  /// Input of the query, key and value projections `[N, d]`.
  default void attentionInput(Tensor x) {}

  /// Queries `[N, heads * qkDim]` and keys `[N, kvHeads * qkDim]` before their norms; not called in
  /// models without.
  default void unnormedQueriesAndKeys(Tensor q, Tensor k) {}

  /// Queries `[N, heads * qkDim]` and keys `[N, kvHeads * qkDim]` before the rotary embedding.
  default void queriesAndKeys(Tensor q, Tensor k) {}

  /// The same after it.
  default void rotatedQueriesAndKeys(Tensor q, Tensor k) {}

  /// What the heads emit before the output projection `[N, heads * voDim]`.
  default void headOutputs(Tensor z) {}

  /// Output of attention `[N, d]`, before a norm of it, and the residual stream `[N, d]` it is
  /// about to be added to.
  default void attentionOutput(Tensor output, Tensor stream) {}

  /// MLP inner activations, right before the down projection `[N, mlpWidth]`.
  default void mlpInner(Tensor h) {}

  /// Output of the MLP `[N, d]`, before a norm of it, and the residual stream `[N, d]` it is about
  /// to be added to.
  default void mlpOutput(Tensor output, Tensor stream) {}
}
