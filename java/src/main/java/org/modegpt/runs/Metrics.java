package org.modegpt.runs;

import java.util.List;
import java.util.Map;

/// Names of metrics that commands share, so that runs of different commands can be set side by
/// side. Any other name may be recorded too.
///
/// A metric describes the run's [ModelUse#OUTPUT] or [ModelUse#SUBJECT] model. Tags tell variants
/// apart, for example `dataset=wikitext2`.
public final class Metrics {
  /// Perplexity per token; tag `dataset`.
  public static final String PERPLEXITY = "perplexity";

  /// Tag of a metric of a run's [ModelUse#BASE] model, measured for comparison.
  public static final Map<String, String> OF_BASE = Map.of("of", "base");

  /// Bits per byte of text; tag `dataset`.
  public static final String BITS_PER_BYTE = "bits_per_byte";

  /// Seconds from giving a prompt to having the first new token.
  public static final String FIRST_TOKEN_SECONDS = "first_token_seconds";

  /// Share of right answers, 0 to 1; tag `task`.
  public static final String ACCURACY = "accuracy";

  /// Tokens generated per second; tag `test` (as in `tg128`, or `tg128 b8` of 8 sequences together)
  /// and, where it matters, `dtype`.
  public static final String TOKENS_PER_SECOND = "tokens_per_second";

  /// Prompt tokens per second; tag `test` (as in `pp512`).
  public static final String PROMPT_TOKENS_PER_SECOND = "prompt_tokens_per_second";

  /// Processor time per token over all threads; tag `test`.
  public static final String CPU_SECONDS = "cpu_seconds_per_token";

  /// Before the name of a rate: its best repetition instead of the mean.
  public static final String BEST = "best_";

  /// Share of the block matrices' parameters that were removed, 0 to 1, as `--ratio`.
  public static final String RATIO = "ratio";

  /// Size of the model's files in bytes.
  public static final String BYTES = "bytes";

  /// Number of parameters.
  public static final String PARAMETERS = "parameters";

  /// Highest resident memory of the process during the run in bytes; recorded by [Run] itself when
  /// it ends.
  public static final String PEAK_RSS = "peak_rss_bytes";

  /// Highest resident memory of processes that generate with a model; derived from [#PEAK_RSS] of
  /// `generate` runs.
  public static final String SERVING_MEMORY = "serving_memory_bytes";

  /// Wall time of the run in seconds; recorded by [Run] itself when it ends.
  public static final String SECONDS = "seconds";

  private static final List<String> BY_INTEREST =
      List.of(PERPLEXITY, ACCURACY, TOKENS_PER_SECOND, PROMPT_TOKENS_PER_SECOND, RATIO, BYTES);

  private Metrics() {}

  /// Whether the metric with this key says what came out of a run about its own model, rather than
  /// what the run cost or how the original did.
  public static boolean isResult(String key) {
    return !key.equals(SECONDS) && !key.equals(PEAK_RSS) && !key.contains("of=base");
  }

  /// Where the metric with this key stands when the most telling come first.
  public static int rank(String key) {
    for (int i = 0; i < BY_INTEREST.size(); i++) {
      if (key.equals(BY_INTEREST.get(i)) || key.startsWith(BY_INTEREST.get(i) + "{")) {
        return 2 * i + (isResult(key) ? 0 : 1);
      }
    }
    return 2 * BY_INTEREST.size();
  }

  /// Whether a larger value is worse, by what the name says: true for perplexity, bytes, seconds
  /// and latencies, false for rates, accuracies and counts of tokens per second.
  public static boolean lowerIsBetter(String name) {
    return !(name.contains("per_second") || name.contains("acc") || name.contains("recovery"));
  }
}
