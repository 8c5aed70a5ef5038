package org.modegpt.model;

/// What the attention of one layer has of its own.
///
/// @param rotary which of the model's sets of rotary frequencies; of no meaning in a layer without
///   rotary pairs
/// @param window number of last keys that a query sees, its own among them; 0 for all
/// @param queryNormEps of the norm of queries, where the model has one; so `keyNormEps`
public record LayerAttention(int rotary, int window, float queryNormEps, float keyNormEps) {

  /// All keys, the first set of frequencies, no norms.
  public static final LayerAttention FULL = new LayerAttention(0, 0, 0f, 0f);

  /// The same with other norms of queries and keys.
  public LayerAttention withNormEps(float query, float key) {
    return new LayerAttention(rotary, window, query, key);
  }
}
