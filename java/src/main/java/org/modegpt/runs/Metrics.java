package org.modegpt.runs;

/// Names of metrics that commands share, so that runs of different commands can be set side by
/// side. Any other name may be recorded too.
///
/// A metric describes the run's [ModelUse#OUTPUT] or [ModelUse#SUBJECT] model. Tags tell variants
/// apart, for example `dataset=wikitext2`.
public final class Metrics {
  /// Perplexity per token; tag `dataset`.
  public static final String PERPLEXITY = "perplexity";

  /// Share of right answers, 0 to 1; tag `task`.
  public static final String ACCURACY = "accuracy";

  /// Tokens generated per second of one sequence; tag `test` (as in `tg128`) and, where it matters,
  /// `dtype`.
  public static final String TOKENS_PER_SECOND = "tokens_per_second";

  /// Prompt tokens per second; tag `test` (as in `pp512`).
  public static final String PROMPT_TOKENS_PER_SECOND = "prompt_tokens_per_second";

  /// Share of the block matrices' parameters that were kept, 0 to 1.
  public static final String RATIO = "ratio";

  /// Size of the model's files in bytes.
  public static final String BYTES = "bytes";

  /// Number of parameters.
  public static final String PARAMETERS = "parameters";

  /// Highest resident memory of the process in bytes; recorded by [Run] itself when it ends.
  public static final String PEAK_RSS = "peak_rss_bytes";

  /// Wall time of the run in seconds; recorded by [Run] itself when it ends.
  public static final String SECONDS = "seconds";

  private Metrics() {}

  /// Whether a larger value is worse, by what the name says: true for perplexity, bytes, seconds
  /// and latencies, false for rates, accuracies and counts of tokens per second.
  public static boolean lowerIsBetter(String name) {
    return !(name.contains("per_second")
        || name.contains("accuracy")
        || name.contains("acc")
        || name.contains("recovery"));
  }
}
