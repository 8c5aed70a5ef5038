package org.modegpt.evaluate;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.Set;
import org.modegpt.backend.Backend;
import org.modegpt.io.PeakMemory;
import org.modegpt.model.Decoder;
import org.modegpt.model.Sampling;
import org.modegpt.model.Transformer;

/// Size and speed of a model, one sequence at a time, after a run that warms up.
///
/// @param bytes stored size of all tensors
/// @param loadSeconds from the path to a model that is ready to decode
/// @param peakMemory highest resident memory of the process while it was measured, in bytes; -1
///   where the system does not tell
/// @param prefill tokens per second of a prompt
/// @param decode tokens per second of a continuation, without its first token
/// @param firstToken seconds from the prompt to the first token
public record Footprint(
    long parameters,
    long bytes,
    double loadSeconds,
    long peakMemory,
    int promptTokens,
    int newTokens,
    Spread prefill,
    Spread decode,
    Spread firstToken) {
  private static final int PROMPT = 512;
  private static final int TOKENS = 48;
  private static final int RUNS = 5;

  /// Mean and standard deviation of the runs.
  public record Spread(double mean, double deviation) {
    static Spread of(double[] values) {
      double mean = Arrays.stream(values).average().orElse(0);
      double squares = Arrays.stream(values).map(v -> (v - mean) * (v - mean)).sum();
      return new Spread(mean, Math.sqrt(squares / Math.max(1, values.length - 1)));
    }
  }

  /// Opens the model anew and measures it.
  public static Footprint of(Path path, Backend backend) {
    long start = System.nanoTime();
    try (PeakMemory peak = PeakMemory.start();
        Transformer model = Transformer.open(path)) {
      int room = model.config().contextLength();
      int tokens = Math.min(TOKENS, Math.max(2, room / 4));
      int[] prompt = new int[Math.min(PROMPT, room - tokens)];
      Arrays.setAll(prompt, i -> (i * 7919 + 13) % model.config().vocabSize());
      try (Decoder decoder = new Decoder(backend, model, prompt.length + tokens)) {
        double load = (System.nanoTime() - start) / 1e9;
        double[] prefill = new double[RUNS];
        double[] decode = new double[RUNS];
        double[] first = new double[RUNS];
        for (int run = -1; run < RUNS; run++) {
          double[] seconds = measure(decoder, prompt, tokens);
          if (run >= 0) {
            first[run] = seconds[0];
            prefill[run] = prompt.length / seconds[0];
            decode[run] = (tokens - 1) / seconds[1];
          }
        }
        return new Footprint(
            model.parameters(),
            model.bytes(),
            load,
            peak.bytes(),
            prompt.length,
            tokens,
            Spread.of(prefill),
            Spread.of(decode),
            Spread.of(first));
      }
    }
  }

  /// Seconds to the first token and of those after it.
  private static double[] measure(Decoder decoder, int[] prompt, int tokens) {
    decoder.cache().truncate(0);
    long start = System.nanoTime();
    long[] first = new long[1];
    decoder.generate(
        prompt,
        tokens,
        Sampling.GREEDY,
        Set.of(),
        id -> {
          first[0] = first[0] == 0 ? System.nanoTime() : first[0];
          return true;
        });
    return new double[] {(first[0] - start) / 1e9, (System.nanoTime() - first[0]) / 1e9};
  }
}
