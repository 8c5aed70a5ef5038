package org.modegpt.model;

import java.util.Comparator;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.modegpt.UserException;

/// How the next token is chosen from the logits.
///
/// @param temperature 0 takes the most likely token
/// @param topK only the `topK` most likely tokens; 0 for all
/// @param topP only the most likely tokens that together have this probability; 1 for all
/// @param repetitionPenalty divides positive and multiplies negative logits of tokens already
///   present; 1 for none
public record Sampling(
    float temperature, int topK, float topP, float repetitionPenalty, long seed) {

  public static final Sampling GREEDY = new Sampling(0f, 0, 1f, 1f, 0);

  public Sampling {
    if (!(temperature >= 0) || topK < 0 || !(topP > 0 && topP <= 1) || !(repetitionPenalty > 0)) {
      throw new UserException(
          "sampling: temperature and top-k must be at least 0, top-p in (0, 1], repetition penalty above 0");
    }
  }

  /// Whether always the most likely token is next.
  boolean greedy() {
    return temperature == 0 && repetitionPenalty == 1f;
  }

  SplittableRandom random() {
    return new SplittableRandom(seed);
  }

  /// The index of the next token. `logits` is changed.
  int next(float[] logits, Iterable<Integer> present, SplittableRandom random) {
    penalise(logits, present);
    if (temperature == 0) {
      return argmax(logits);
    }
    int[] order = candidates(logits);
    double[] weights = new double[order.length];
    double max = logits[order[0]];
    double sum = 0;
    for (int i = 0; i < order.length; i++) {
      weights[i] = Math.exp((logits[order[i]] - max) / temperature);
      sum += weights[i];
    }
    double cut = topP * sum;
    double kept = 0;
    int count = 0;
    while (count < order.length && (count == 0 || kept < cut)) {
      kept += weights[count++];
    }
    double draw = random.nextDouble() * kept;
    for (int i = 0; i < count; i++) {
      draw -= weights[i];
      if (draw < 0) {
        return order[i];
      }
    }
    return order[count - 1];
  }

  private void penalise(float[] logits, Iterable<Integer> present) {
    if (repetitionPenalty != 1f) {
      for (int id : present) {
        logits[id] =
            logits[id] > 0 ? logits[id] / repetitionPenalty : logits[id] * repetitionPenalty;
      }
    }
  }

  /// Token indices by falling logit, the first `topK` of them.
  private int[] candidates(float[] logits) {
    return IntStream.range(0, logits.length)
        .boxed()
        .sorted(Comparator.comparingDouble(i -> -logits[i]))
        .limit(topK == 0 ? logits.length : topK)
        .mapToInt(Integer::intValue)
        .toArray();
  }

  static int argmax(float[] logits) {
    int best = 0;
    for (int i = 1; i < logits.length; i++) {
      if (logits[i] > logits[best]) {
        best = i;
      }
    }
    return best;
  }
}
