package org.modegpt.evaluate;

import java.util.Arrays;
import java.util.Set;
import org.modegpt.backend.Backend;
import org.modegpt.model.Decoder;
import org.modegpt.model.Sampling;
import org.modegpt.model.Transformer;

/// Decoding speed of a model, one sequence, greedy, the best of several runs.
///
/// @param firstTokenSeconds from giving the prompt of 64 tokens to having the first new one
/// @param decodeTokensPerSecond of the tokens after the first
public record Speed(double firstTokenSeconds, double decodeTokensPerSecond) {
  private static final int PROMPT = 64;
  private static final int TOKENS = 32;
  private static final int RUNS = 3;

  public static Speed of(Transformer model, Backend backend) {
    int[] prompt = new int[Math.min(PROMPT, model.config().contextLength() - TOKENS)];
    Arrays.setAll(prompt, i -> (i * 7919 + 13) % model.config().vocabSize());
    double first = Double.POSITIVE_INFINITY;
    double rate = 0;
    try (Decoder decoder = new Decoder(backend, model, prompt.length + TOKENS)) {
      for (int run = 0; run < RUNS; run++) {
        decoder.cache().truncate(0);
        long start = System.nanoTime();
        long[] told = new long[1];
        int count =
            decoder.generate(
                prompt,
                TOKENS,
                Sampling.GREEDY,
                Set.of(),
                id -> {
                  if (told[0] == 0) {
                    told[0] = System.nanoTime();
                  }
                  return true;
                });
        first = Math.min(first, (told[0] - start) / 1e9);
        rate = Math.max(rate, (count - 1) / ((System.nanoTime() - told[0]) / 1e9));
      }
    }
    return new Speed(first, rate);
  }
}
