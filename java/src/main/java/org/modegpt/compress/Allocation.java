package org.modegpt.compress;

import java.util.List;

/// Says how much of each module goes so that the whole reaches a ratio. The answer is real-valued;
/// {@link Budget} turns it into ranks that meet the parameter count.
@FunctionalInterface
public interface Allocation {

  /// Shares for every block.
  ///
  /// @param layers number of blocks
  /// @param ratio share of all block parameters to remove, in `[0, 1)`
  /// @return one entry per block
  List<Removal> allocate(int layers, double ratio);

  /// The same share everywhere.
  static Allocation uniform() {
    return (layers, ratio) -> java.util.Collections.nCopies(layers, Removal.of(ratio));
  }
}
