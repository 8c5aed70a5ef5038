package org.modegpt.model;

import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
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

  /// The sampling of a prompt among others, so that equal prompts are continued differently; of the
  /// first prompt it is this.
  Sampling ofPrompt(int index) {
    return new Sampling(temperature, topK, topP, repetitionPenalty, seed + index);
  }

  /// The index of the next token. `logits` is changed.
  int next(float[] logits, Iterable<Integer> present, SplittableRandom random) {
    penalise(logits, present);
    if (temperature == 0) {
      return argmax(logits);
    }
    double max = logits[argmax(logits)];
    double cut = topK == 0 && topP < 1 ? topP * total(logits, max) : Double.POSITIVE_INFINITY;
    int[] order = candidates(logits, max, cut);
    double[] weights = IntStream.of(order).mapToDouble(i -> weight(logits[i], max)).toArray();
    if (topK > 0) {
      cut = topP * DoubleStream.of(weights).sum();
    }
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

  private double weight(float logit, double max) {
    return Math.exp((logit - max) / temperature);
  }

  private void penalise(float[] logits, Iterable<Integer> present) {
    if (repetitionPenalty != 1f) {
      for (int id : present) {
        logits[id] =
            logits[id] > 0 ? logits[id] / repetitionPenalty : logits[id] * repetitionPenalty;
      }
    }
  }

  private double total(float[] logits, double max) {
    double sum = 0;
    for (float logit : logits) {
      sum += weight(logit, max);
    }
    return sum;
  }

  /// The `topK` most likely tokens, or the most likely ones of weight `cut`, and maybe more, by
  /// falling logit; all in any order where no choice is made. Only what lies near the best logit is
  /// put in order.
  private int[] candidates(float[] logits, double max, double cut) {
    if (topK == 0 && topP == 1) {
      return IntStream.range(0, logits.length).toArray();
    }
    for (double margin = 8 * temperature; ; margin *= 2) {
      long[] near = near(logits, max - margin);
      boolean enough = topK > 0 ? near.length >= topK : weight(near, logits, max) >= cut;
      if (enough || near.length == logits.length || margin == Double.POSITIVE_INFINITY) {
        Arrays.sort(near);
        return LongStream.of(near)
            .limit(topK > 0 ? topK : near.length)
            .mapToInt(key -> (int) key)
            .toArray();
      }
    }
  }

  private double weight(long[] near, float[] logits, double max) {
    return LongStream.of(near).mapToDouble(key -> weight(logits[(int) key], max)).sum();
  }

  /// Tokens with a logit of at least `least`: the index in the lower half, and in the upper half
  /// what rises while the logit falls.
  private static long[] near(float[] logits, double least) {
    long[] keys = new long[logits.length];
    int count = 0;
    for (int i = 0; i < logits.length; i++) {
      if (logits[i] >= least) {
        int bits = Float.floatToIntBits(logits[i]);
        int rising = bits ^ ((bits >> 31) & Integer.MAX_VALUE);
        keys[count++] = ((long) ~rising << 32) | i;
      }
    }
    return Arrays.copyOf(keys, count);
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
