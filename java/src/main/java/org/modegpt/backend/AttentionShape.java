package org.modegpt.backend;

/// Parameters of {@link Backend#attention}; the fields are those of `mg_attention_params` in
/// `modegpt.h`.
///
/// @param keys of every sequence; with spans of the longest
/// @param keyCapacity rows between the keys of consecutive sequences (at least `keys`); not used
///   with spans
/// @param window 0 for full causal attention, else the number of last keys a query sees
/// @param softcap 0 for none
public record AttentionShape(
    long batch,
    long queries,
    long keys,
    long keyCapacity,
    int heads,
    int kvHeads,
    int window,
    float scale,
    float softcap) {

  /// One whole sequence of `tokens`, causal, no cache.
  public static AttentionShape causal(long tokens, int heads, int kvHeads, float scale) {
    return new AttentionShape(1, tokens, tokens, tokens, heads, kvHeads, 0, scale, 0f);
  }
}
