package org.modegpt.compress;

import java.util.Arrays;
import java.util.List;
import org.modegpt.UserException;

/// Global allocation by block influence `BI = 1 − E[cos(x_in, x_out)]`: the entropy-regularised
/// assignment `φ_ℓ = L φ softmax(−BI / ε)_ℓ` under `φ_ℓ ≤ cap`. Its solution keeps the softmax
/// proportions among the layers below the cap, so what capped layers cannot take is spread over the
/// others in those proportions and the mean stays `φ` exactly.
///
/// @param influence `BI` per layer, in `[0, 2]`
/// @param epsilon temperature: small concentrates the removal on the layers of least influence,
///   large approaches uniform
/// @param cap largest share removed of one layer; a ratio above it removes the ratio everywhere
public record BlockInfluence(List<Double> influence, double epsilon, double cap)
    implements Allocation {

  public BlockInfluence {
    influence = List.copyOf(influence);
    if (!(epsilon > 0) || !(cap > 0 && cap <= 1)) {
      throw new IllegalArgumentException("block influence needs epsilon > 0 and a cap in (0, 1]");
    }
    for (int i = 0; i < influence.size(); i++) {
      if (!Double.isFinite(influence.get(i))) {
        throw new UserException(
            "the block influence of layer "
                + i
                + " is not a number; check the model's weights and calibrate again");
      }
    }
  }

  @Override
  public List<Removal> allocate(int layers, double ratio) {
    if (layers != influence.size()) {
      throw new IllegalArgumentException(
          "influence of " + influence.size() + " layers for " + layers);
    }
    return Arrays.stream(shares(ratio)).mapToObj(Removal::of).toList();
  }

  private double[] shares(double ratio) {
    int n = influence.size();
    double limit = Math.max(cap, ratio);
    double[] shares = new double[n];
    boolean[] capped = new boolean[n];
    double open = ratio * n;
    for (boolean again = true; again; ) {
      double[] weights = softmax(capped);
      double spread = open;
      again = false;
      for (int i = 0; i < n; i++) {
        if (!capped[i]) {
          shares[i] = spread * weights[i];
          if (shares[i] > limit) {
            shares[i] = limit;
            capped[i] = true;
            open -= limit;
            again = true;
          }
        }
      }
    }
    return shares;
  }

  /// Softmax of `−BI / ε` over the layers that are not capped; shifted by the least influence, so
  /// that a small ε cannot make all weights vanish.
  private double[] softmax(boolean[] capped) {
    double least = Double.POSITIVE_INFINITY;
    for (int i = 0; i < capped.length; i++) {
      least = capped[i] ? least : Math.min(least, influence.get(i));
    }
    double[] weights = new double[capped.length];
    double sum = 0;
    for (int i = 0; i < capped.length; i++) {
      weights[i] = capped[i] ? 0 : Math.exp((least - influence.get(i)) / epsilon);
      sum += weights[i];
    }
    for (int i = 0; i < capped.length; i++) {
      weights[i] /= sum;
    }
    return weights;
  }
}
