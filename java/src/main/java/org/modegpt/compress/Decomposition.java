package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.util.Map;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.model.Role;
import org.modegpt.tensor.Tensor;

/// Shrinks the inner dimension of one module so that what the module does on the calibration text
/// changes least. A function of weights and statistics; nothing given is changed.
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

  /// The squared change of the module's output on the calibration text at each rank, up to a factor
  /// that is the same for all ranks.
  default double[] removalCosts(
      Workspace workspace,
      BlockSizes sizes,
      Map<Role, Tensor> weights,
      LayerStatistics statistics,
      int... ranks) {
    double[] costs = new double[ranks.length];
    for (int i = 0; i < ranks.length; i++) {
      if (ranks[i] < sizes.fullRank(module())) {
        try (Arena arena = Arena.ofShared()) {
          double error =
              apply(workspace, arena, sizes, weights, statistics, ranks[i])
                  .report()
                  .relativeError();
          costs[i] = error * error;
        }
      }
    }
    return costs;
  }
}
