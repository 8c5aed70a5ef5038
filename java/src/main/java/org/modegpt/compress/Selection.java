package org.modegpt.compress;

import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/// Choosing the best by score, the same way every time.
final class Selection {
  private Selection() {}

  /// Indices of the `count` largest scores, ascending; of equal scores the lower index goes first.
  static int[] largest(double[] scores, int count) {
    return IntStream.range(0, scores.length)
        .boxed()
        .sorted(Comparator.<Integer>comparingDouble(i -> -scores[i]).thenComparingInt(i -> i))
        .limit(count)
        .mapToInt(Integer::intValue)
        .sorted()
        .toArray();
  }

  static List<Integer> list(int[] indices) {
    return IntStream.of(indices).boxed().toList();
  }
}
