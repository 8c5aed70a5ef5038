package org.modegpt.compress;

/// Inner dimensions that one block keeps.
///
/// @param mlpWidth units of the MLP
/// @param qkRank columns of every query and key head; even with rotary embeddings
/// @param voRank columns of every value head
public record LayerRanks(int mlpWidth, int qkRank, int voRank) {

  public static LayerRanks full(BlockSizes sizes) {
    return new LayerRanks(sizes.mlpWidth(), sizes.headDim(), sizes.headDim());
  }

  /// The same with another rank of one module.
  LayerRanks with(Module module, int rank) {
    return switch (module) {
      case QUERY_KEY -> new LayerRanks(mlpWidth, rank, voRank);
      case VALUE_OUTPUT -> new LayerRanks(mlpWidth, qkRank, rank);
      case MLP -> new LayerRanks(rank, qkRank, voRank);
    };
  }

  public int of(Module module) {
    return switch (module) {
      case QUERY_KEY -> qkRank;
      case VALUE_OUTPUT -> voRank;
      case MLP -> mlpWidth;
    };
  }
}
