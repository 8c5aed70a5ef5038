package org.modegpt.text;

import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/// How far the tokens of one text are from those of another: what was calibrated on against what is
/// evaluated on.
///
/// @param divergence Jensen-Shannon divergence of the token frequencies, in bits, 0 for the same
///   frequencies to 1 for no token in common
/// @param unseen share of the second text's tokens that do not occur in the first
public record TextDifference(double divergence, double unseen) {

  /// @param first sequences of token ids, at least one token
  /// @param second likewise
  public static TextDifference of(List<int[]> first, List<int[]> second) {
    Map<Integer, Double> p = frequencies(first);
    Map<Integer, Double> q = frequencies(second);
    Set<Integer> all = new HashSet<>(p.keySet());
    all.addAll(q.keySet());
    double divergence = 0;
    double unseen = 0;
    for (int token : all) {
      double a = p.getOrDefault(token, 0.0);
      double b = q.getOrDefault(token, 0.0);
      double mean = (a + b) / 2;
      divergence += (part(a, mean) + part(b, mean)) / 2;
      unseen += a == 0 ? b : 0;
    }
    return new TextDifference(Math.max(0, divergence), unseen);
  }

  private static double part(double p, double mean) {
    return p > 0 ? p * Math.log(p / mean) / Math.log(2) : 0;
  }

  private static Map<Integer, Double> frequencies(List<int[]> sequences) {
    long total = sequences.stream().mapToLong(s -> s.length).sum();
    Map<Integer, Double> shares = new HashMap<>();
    for (int[] sequence : sequences) {
      for (int token : sequence) {
        shares.merge(token, 1.0 / total, Double::sum);
      }
    }
    return shares;
  }
}
