package org.modegpt.compress;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.modegpt.model.LayerAttention;
import org.modegpt.model.Role;
import org.modegpt.tensor.Tensor;

/// A shrunk module.
///
/// @param weights all its weights, also those that did not change; a role that is absent is gone (a
///   value bias becomes an output bias)
/// @param kept what was kept, ascending: MLP units in one list, rotary pairs in one list per
///   key/value head; empty where dimensions are mixed
/// @param report what it cost
/// @param attention what the layer's attention has of its own from now on; null when that did not
///   change
record ModuleResult(
    Map<Role, Tensor> weights,
    List<List<Integer>> kept,
    ModuleReport report,
    @Nullable LayerAttention attention) {

  ModuleResult(Map<Role, Tensor> weights, List<List<Integer>> kept, ModuleReport report) {
    this(weights, kept, report, null);
  }
}
