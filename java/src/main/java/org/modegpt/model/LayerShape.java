package org.modegpt.model;

import java.util.List;
import java.util.stream.IntStream;

/// Inner sizes of one decoder block, which compression makes different per layer.
///
/// @param mlpWidth inner units of the MLP
/// @param qkDim columns of one query or key head
/// @param voDim columns of one value head
/// @param rotaryPairs for each key/value head the kept rotary pairs, ascending: entry `t` of head
///   `g` turns with the frequency of pair `rotaryPairs.get(g).get(t)` of the original model; `2 *
///   size == qkDim`
public record LayerShape(int mlpWidth, int qkDim, int voDim, List<List<Integer>> rotaryPairs) {

  public LayerShape {
    rotaryPairs = rotaryPairs.stream().map(List::copyOf).toList();
    for (List<Integer> pairs : rotaryPairs) {
      if (2 * pairs.size() != qkDim) {
        throw new IllegalArgumentException(
            pairs.size() + " rotary pairs do not make " + qkDim + " columns");
      }
    }
  }

  /// The shape of an uncompressed block.
  public static LayerShape full(int mlpWidth, int headDim, int kvHeads) {
    List<Integer> all = IntStream.range(0, headDim / 2).boxed().toList();
    return new LayerShape(
        mlpWidth, headDim, headDim, IntStream.range(0, kvHeads).mapToObj(g -> all).toList());
  }

  /// Parameters of the seven compressible matrices of a block of this shape.
  public long matrixParameters(int hiddenSize, int heads, int kvHeads) {
    return (long) hiddenSize * ((long) (heads + kvHeads) * (qkDim + voDim) + 3L * mlpWidth);
  }
}
