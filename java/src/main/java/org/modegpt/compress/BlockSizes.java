package org.modegpt.compress;

import java.util.List;
import org.modegpt.model.LayerAttention;
import org.modegpt.model.LayerShape;
import org.modegpt.model.ModelConfig;

/// Sizes of an uncompressed decoder block.
///
/// @param hidden `d`, width of the residual stream
/// @param heads query heads, a multiple of `kvHeads`
/// @param headDim `h`, size of one head
/// @param mlpWidth `f`, inner units of the MLP
/// @param gated whether the MLP has a gate matrix
/// @param pairs rotary pairs of a head in layers that have any, of which only whole ones can be
///   dropped; 0 without a rotary embedding
/// @param fixedQueryKey whether queries and keys keep their full rank
public record BlockSizes(
    int hidden,
    int heads,
    int kvHeads,
    int headDim,
    int mlpWidth,
    boolean gated,
    int pairs,
    boolean fixedQueryKey) {

  public BlockSizes {
    boolean positive = hidden > 0 && kvHeads > 0 && headDim > 0 && mlpWidth > 0;
    if (!positive || heads < kvHeads || heads % kvHeads != 0 || 2 * pairs > headDim) {
      throw new IllegalArgumentException(
          "no such block: hidden %d, heads %d/%d of %d, MLP %d"
              .formatted(hidden, heads, kvHeads, headDim, mlpWidth));
    }
  }

  /// A block all of whose query and key columns turn, or none.
  public BlockSizes(
      int hidden,
      int heads,
      int kvHeads,
      int headDim,
      int mlpWidth,
      boolean gated,
      boolean rotary) {
    this(hidden, heads, kvHeads, headDim, mlpWidth, gated, rotary ? headDim / 2 : 0, false);
  }

  public boolean rotary() {
    return pairs > 0;
  }

  /// The sizes that every block of the original model has.
  public static BlockSizes of(ModelConfig config) {
    return new BlockSizes(
        config.hiddenSize(),
        config.heads(),
        config.kvHeads(),
        config.headDim(),
        config.mlpWidth(),
        config.design().gated(),
        config.ropes().isEmpty() ? 0 : config.ropes().getFirst().inverseFrequencies().length,
        false);
  }

  /// The same as far as `recipe` may shrink it.
  BlockSizes under(Recipe recipe) {
    return new BlockSizes(
        hidden,
        heads,
        kvHeads,
        headDim,
        mlpWidth,
        gated,
        pairs,
        recipe.queryKey() == QueryKeyRule.KEEP);
  }

  /// The shape of an uncompressed block.
  LayerShape dense(LayerAttention attention) {
    List<List<Integer>> turning =
        LayerShape.full(mlpWidth, headDim, kvHeads).rotaryPairs().stream()
            .map(all -> all.subList(0, pairs))
            .toList();
    return new LayerShape(mlpWidth, headDim, headDim, turning, attention);
  }

  /// Query heads per key/value head.
  public int group() {
    return heads / kvHeads;
  }

  /// The largest rank: the present inner dimension.
  public int fullRank(Module module) {
    return module == Module.MLP ? mlpWidth : headDim;
  }

  /// Matrix parameters that one kept inner dimension costs, over all heads of the block.
  public long unitCost(Module module) {
    return (long) hidden * (module == Module.MLP ? (gated ? 3 : 2) : heads + kvHeads);
  }

  /// Ranks are multiples of this unless full.
  int granularity(Module module, int multipleOf) {
    if (module == Module.QUERY_KEY && fixedQueryKey) {
      return headDim;
    }
    boolean whole = module == Module.QUERY_KEY && rotary();
    return whole && multipleOf % 2 != 0 ? 2 * multipleOf : multipleOf;
  }

  /// The share of the parameters that goes when every rank is the least allowed.
  double removable(int multipleOf) {
    long least = 0;
    for (Module module : Module.values()) {
      least += unitCost(module) * Math.min(fullRank(module), granularity(module, multipleOf));
    }
    return 1 - (double) least / parameters();
  }

  /// Parameters of the compressible matrices.
  public long parameters() {
    return parameters(LayerRanks.full(this));
  }

  /// The same at the given ranks; biases do not count.
  public long parameters(LayerRanks ranks) {
    long sum = 0;
    for (Module module : Module.values()) {
      sum += unitCost(module) * ranks.of(module);
    }
    return sum;
  }
}
