package org.modegpt.compress;

import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.modegpt.model.LayerShape;
import org.modegpt.model.Role;
import org.modegpt.tensor.Tensor;

/// A shrunk decoder block. Weights that did not change are the tensors that were given; the others
/// belong to the arena of the call.
///
/// @param weights all weights of the block, norms included
/// @param units kept MLP units, ascending
/// @param reports one per module
public record CompressedBlock(
    LayerShape shape, Map<Role, Tensor> weights, List<Integer> units, List<ModuleReport> reports) {

  public CompressedBlock {
    weights = new EnumMap<>(weights);
    units = List.copyOf(units);
    reports = List.copyOf(reports);
  }
}
