package org.modegpt.model;

import java.util.EnumMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.modegpt.tensor.Tensor;

/// The weights of one decoder block on a back-end's device, borrowed from the arena they were
/// loaded into.
///
/// @param tensors matrices `[out, in]`, vectors as one row; optional biases are absent when the
///   model has none
/// @param frequencies F32 `[kvHeads, pairs]` rotary angles per position of the kept pairs; null
///   when there are none
public record BlockWeights(
    LayerShape shape, Map<Role, Tensor> tensors, @Nullable Tensor frequencies) {

  public BlockWeights {
    tensors = new EnumMap<>(tensors);
  }

  public Tensor get(Role role) {
    Tensor tensor = tensors.get(role);
    if (tensor == null) {
      throw new IllegalArgumentException("this block has no " + role.key());
    }
    return tensor;
  }

  public @Nullable Tensor optional(Role role) {
    return tensors.get(role);
  }
}
