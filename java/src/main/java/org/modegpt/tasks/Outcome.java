package org.modegpt.tasks;

import java.util.List;

/// An item with what a model said.
///
/// @param likelihoods one for each of the item's requests; empty for generated text
/// @param answer the generated text after a filter; empty for likelihoods
/// @param text the generated text as it came
/// @param tokens generated tokens
public record Outcome(
    Item item, List<Likelihood> likelihoods, String answer, String text, int tokens) {

  /// Of a continuation.
  ///
  /// @param logLikelihood nats
  /// @param greedy whether every token was the most likely one
  public record Likelihood(double logLikelihood, boolean greedy) {}

  public static Outcome of(Item item, List<Likelihood> likelihoods) {
    return new Outcome(item, likelihoods, "", "", 0);
  }

  /// The choice with the largest value; the first on a tie.
  public int best(java.util.function.IntToDoubleFunction value) {
    int best = 0;
    for (int i = 1; i < likelihoods.size(); i++) {
      if (value.applyAsDouble(i) > value.applyAsDouble(best)) {
        best = i;
      }
    }
    return best;
  }
}
