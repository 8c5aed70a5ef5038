package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.util.Map;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.model.Role;
import org.modegpt.tensor.Tensor;

/// Shrinks the inner dimension of one module so that what the module does on the calibration text
/// changes least. A pure function of weights and statistics; nothing given is changed.
sealed interface Decomposition
    permits NystromMlp, ColumnRowQk, MultiplierQk, LowRankQk, NormedQk, ValueOutputSvd {

  Module module();

  /// Shrinks the module of one block.
  ///
  /// @param workspace scratch, whose back-end holds all tensors; reset by the call
  /// @param arena owns the new weights
  /// @param weights of the block, `[out, in]`; kept rows and columns are copied in their own dtype,
  ///   recomputed matrices are F32
  /// @param rank inner dimensions to keep, 1 to the full rank
  ModuleResult apply(
      Workspace workspace,
      Arena arena,
      BlockSizes sizes,
      Map<Role, Tensor> weights,
      LayerStatistics statistics,
      int rank);
}
