package org.modegpt.compress;

import java.util.List;

/// What shrinking one module cost on the calibration text.
///
/// @param rank kept inner dimensions, of `fullRank`
/// @param relativeError Frobenius norm of the change of the module's output relative to the output;
///   for `qk` the root of the share of the score energy `Σ C_q[t,t] C_k[t,t]` that was dropped,
///   which is the expected relative change of the logits when coordinates are uncorrelated
/// @param jitter what was added to the diagonal of a singular system before it was solved; 0 when
///   it was regular
/// @param tail per key/value head the singular values that were cut off, descending; empty for
///   `mlp` and `qk`
public record ModuleReport(
    Module module,
    int rank,
    int fullRank,
    double relativeError,
    double jitter,
    List<List<Double>> tail) {

  /// Of a module that was left alone.
  static ModuleReport untouched(Module module, int rank) {
    return new ModuleReport(module, rank, rank, 0, 0, List.of());
  }

  /// `sqrt(lost / total)`, and 0 when there is nothing to lose; rounding below zero counts as zero.
  static double relative(double lost, double total) {
    return total > 0 ? Math.sqrt(Math.max(0, lost) / total) : 0;
  }
}
