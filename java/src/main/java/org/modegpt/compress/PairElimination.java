package org.modegpt.compress;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/// Which rotary pairs of one key head to drop, and by what the rest is multiplied.
///
/// A kept pair of a query may be scaled and rotated by any complex number `a + ib`: that commutes
/// with the rotary embedding and folds into W_q. Per query head the logit is a sum over pairs of
/// `re_p = Re(q_p conj(k_p))`, and with multipliers `Σ a_p re_p + b_p im_p`. With G the covariance
/// of all `(re, im)` under the softmax of the true logits, the loss of a choice of multipliers w (1
/// and 0 before compression) is `(t − w)ᵀ G (t − w)`, `t = (1…1, 0…0)`. Pairs leave one at a time,
/// always the one whose removal costs least after the multipliers of the rest are refitted, summed
/// over the query heads that share the key head: with `P = G⁻¹` on what is left, removing pair p
/// costs `w_pᵀ (P_pp)⁻¹ w_p`, and w and P follow by a 2 x 2 elimination step.
final class PairElimination {
  private final int pairs;
  private final List<double[][]> inverse = new ArrayList<>();
  private final List<double[]> multipliers = new ArrayList<>();

  /// The multipliers of all query heads after 0, 1, … removals.
  private final List<List<double[]>> stages = new ArrayList<>();

  private final boolean[] gone;
  private final List<Integer> order = new ArrayList<>();
  private final double[] cost;
  private final double energy;

  /// @param covariances per query head that shares the key head, `[h][h]`: features `re` of all
  ///   pairs, then `im`
  /// @param ridge added to each diagonal, relative to its mean
  PairElimination(List<double[][]> covariances, double ridge) {
    this.pairs = covariances.getFirst().length / 2;
    this.gone = new boolean[pairs];
    this.cost = new double[pairs + 1];
    double sum = 0;
    for (double[][] g : covariances) {
      for (int i = 0; i < pairs; i++) {
        for (int j = 0; j < pairs; j++) {
          sum += g[i][j];
        }
      }
      inverse.add(SmallMatrix.inverse(regularised(g, ridge)));
      double[] w = new double[2 * pairs];
      java.util.Arrays.fill(w, 0, pairs, 1.0);
      multipliers.add(w);
    }
    this.energy = sum;
    stages.add(multipliers.stream().map(double[]::clone).toList());
    while (order.size() < pairs - 1) {
      remove(cheapest());
      stages.add(multipliers.stream().map(double[]::clone).toList());
    }
    inverse.clear();
  }

  private static double[][] regularised(double[][] g, double ridge) {
    double mean = 0;
    for (int i = 0; i < g.length; i++) {
      mean += g[i][i] / g.length;
    }
    double[][] result = new double[g.length][];
    for (int i = 0; i < g.length; i++) {
      result[i] = g[i].clone();
      result[i][i] += mean > 0 ? ridge * mean : 1;
    }
    return result;
  }

  /// The last `keep` pairs, ascending.
  List<Integer> kept(int keep) {
    List<Integer> gonePairs = order.subList(0, pairs - keep);
    return IntStream.range(0, pairs).boxed().filter(p -> !gonePairs.contains(p)).toList();
  }

  /// The loss after `removed` pairs have left, summed over the query heads.
  double cost(int removed) {
    return cost[removed];
  }

  /// The spread of all logits, summed over the query heads: what a cost is relative to.
  double energy() {
    return energy;
  }

  /// `a` and `b` of pair p for query head `head` of the group, when `keep` pairs are left.
  double[] multiplier(int keep, int head, int pair) {
    double[] w = stages.get(pairs - keep).get(head);
    return new double[] {w[pair], w[pair + pairs]};
  }

  private int cheapest() {
    int best = -1;
    double least = Double.POSITIVE_INFINITY;
    for (int p = 0; p < pairs; p++) {
      if (!gone[p]) {
        double loss = removalCost(p);
        if (loss < least) {
          least = loss;
          best = p;
        }
      }
    }
    if (best < 0) {
      throw new IllegalArgumentException("query/key statistics are not finite");
    }
    return best;
  }

  private double removalCost(int p) {
    double sum = 0;
    for (int head = 0; head < inverse.size(); head++) {
      double[] w = multipliers.get(head);
      double[] x = solve2(inverse.get(head), p, w[p], w[p + pairs]);
      sum += w[p] * x[0] + w[p + pairs] * x[1];
    }
    return sum;
  }

  /// `(P_pp)⁻¹ (u, v)ᵀ` of the 2 x 2 block of pair p.
  private double[] solve2(double[][] inv, int p, double u, double v) {
    int q = p + pairs;
    double a = inv[p][p];
    double b = inv[p][q];
    double d = inv[q][q];
    double det = a * d - b * b;
    return new double[] {(d * u - b * v) / det, (a * v - b * u) / det};
  }

  private void remove(int p) {
    cost[order.size() + 1] = cost[order.size()] + removalCost(p);
    int q = p + pairs;
    for (int head = 0; head < inverse.size(); head++) {
      double[][] inv = inverse.get(head);
      double[] w = multipliers.get(head);
      double[] x = solve2(inv, p, w[p], w[q]);
      double[] columnP = inv[p].clone();
      double[] columnQ = inv[q].clone();
      for (int i = 0; i < inv.length; i++) {
        w[i] -= columnP[i] * x[0] + columnQ[i] * x[1];
        double[] y = {columnP[i], columnQ[i]};
        double[] z = solve2Of(columnP[p], columnP[q], columnQ[q], y);
        double[] row = inv[i];
        for (int j = 0; j < row.length; j++) {
          row[j] -= z[0] * columnP[j] + z[1] * columnQ[j];
        }
      }
      w[p] = 0;
      w[q] = 0;
    }
    gone[p] = true;
    order.add(p);
  }

  private static double[] solve2Of(double a, double b, double d, double... y) {
    double det = a * d - b * b;
    return new double[] {(d * y[0] - b * y[1]) / det, (a * y[1] - b * y[0]) / det};
  }
}
