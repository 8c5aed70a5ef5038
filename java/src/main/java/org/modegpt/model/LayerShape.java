package org.modegpt.model;

import java.util.List;
import java.util.stream.IntStream;

/// Inner sizes of one decoder block, which compression makes different per layer, and what its
/// attention has of its own.
///
/// @param mlpWidth inner units of the MLP
/// @param qkDim columns of one query or key head
/// @param voDim columns of one value head
/// @param rotaryPairs for each key/value head the kept rotary pairs, ascending: entry `t` of head
///   `g` turns with the frequency of pair `rotaryPairs.get(g).get(t)` of the original model. Every
///   head has equally many, and the `qkDim - 2 * size` columns after them do not turn
public record LayerShape(
    int mlpWidth, int qkDim, int voDim, List<List<Integer>> rotaryPairs, LayerAttention attention) {

  public LayerShape {
    rotaryPairs = rotaryPairs.stream().map(List::copyOf).toList();
    for (List<Integer> pairs : rotaryPairs) {
      if (2 * pairs.size() > qkDim || pairs.size() != rotaryPairs.getFirst().size()) {
        throw new IllegalArgumentException(
            pairs.size() + " rotary pairs do not fit " + qkDim + " columns");
      }
    }
  }

  /// A layer whose attention sees all keys.
  public LayerShape(int mlpWidth, int qkDim, int voDim, List<List<Integer>> rotaryPairs) {
    this(mlpWidth, qkDim, voDim, rotaryPairs, LayerAttention.FULL);
  }

  /// The shape of an uncompressed block all of whose query and key columns turn.
  public static LayerShape full(int mlpWidth, int headDim, int kvHeads) {
    return full(mlpWidth, headDim, kvHeads, headDim / 2, LayerAttention.FULL);
  }

  /// The shape of an uncompressed block.
  ///
  /// @param pairs rotary pairs of a head: `headDim / 2`, fewer or none
  static LayerShape full(
      int mlpWidth, int headDim, int kvHeads, int pairs, LayerAttention attention) {
    List<Integer> all = IntStream.range(0, pairs).boxed().toList();
    return new LayerShape(
        mlpWidth,
        headDim,
        headDim,
        IntStream.range(0, kvHeads).mapToObj(g -> all).toList(),
        attention);
  }

  /// Rotary pairs of one head.
  public int pairs() {
    return rotaryPairs.isEmpty() ? 0 : rotaryPairs.getFirst().size();
  }

  public LayerShape withMlpWidth(int value) {
    return new LayerShape(value, qkDim, voDim, rotaryPairs, attention);
  }

  public LayerShape withVoDim(int value) {
    return new LayerShape(mlpWidth, qkDim, value, rotaryPairs, attention);
  }

  public LayerShape withQueryKey(int dim, List<List<Integer>> pairs, LayerAttention changed) {
    return new LayerShape(mlpWidth, dim, voDim, pairs, changed);
  }
}
