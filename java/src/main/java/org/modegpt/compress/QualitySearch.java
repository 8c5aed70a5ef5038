package org.modegpt.compress;

import java.util.function.DoubleUnaryOperator;
import org.modegpt.UserException;

/// Finds how much can be removed so that a measured loss stays within a limit: the largest ratio
/// that was tried and held. Each trial is a real compression, so there are few: the next ratio
/// comes from the power law through the trials on both sides of the limit.
public final class QualitySearch {
  private static final double FIRST = 0.2;
  private static final int TRIALS = 7;

  /// The search ends when the limit is bracketed this closely.
  private static final double CLOSE = 0.01;

  /// Loss grows about like this power of the ratio.
  private static final double POWER = 1.5;

  private QualitySearch() {}

  /// @param limit of the loss, positive
  /// @param loss at a ratio, 0 at ratio 0 and rising; not a number counts as too much
  /// @return the largest ratio tried whose loss is within the limit
  public static double largest(double limit, DoubleUnaryOperator loss) {
    double held = 0;
    double heldLoss = 0;
    double broken = Recipe.MAX_RATIO;
    double brokenLoss = Double.NaN;
    double next = FIRST;
    for (int trial = 0; trial < TRIALS && broken - held > CLOSE; trial++) {
      double value = loss.applyAsDouble(next);
      if (value <= limit) {
        held = next;
        heldLoss = value;
      } else {
        broken = next;
        brokenLoss = value;
      }
      next = next(limit, held, heldLoss, broken, brokenLoss);
    }
    if (held == 0) {
      throw new UserException(
          "removing even %.1f %% loses more than was allowed; allow more, or calibrate on more text"
              .formatted(100 * broken));
    }
    return held;
  }

  private static double next(
      double limit, double held, double heldLoss, double broken, double brokenLoss) {
    boolean above = Double.isFinite(brokenLoss);
    double guess;
    if (held > 0 && heldLoss > 0 && above) {
      double power = Math.log(brokenLoss / heldLoss) / Math.log(broken / held);
      guess = held * Math.pow(limit / heldLoss, 1 / Math.max(power, 0.5));
    } else if (above) {
      guess = broken * Math.pow(limit / brokenLoss, 1 / POWER);
    } else if (heldLoss > 0) {
      guess = held * Math.pow(limit / heldLoss, 1 / POWER);
    } else {
      guess = (held + broken) / 2;
    }
    double margin = 0.1 * (broken - held);
    return Math.clamp(guess, held + margin, broken - margin);
  }
}
