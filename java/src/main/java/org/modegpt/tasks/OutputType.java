package org.modegpt.tasks;

import java.util.List;
import java.util.Locale;

/// What a model is asked for an item of a task.
public enum OutputType {
  /// The log-likelihood of each of several choices.
  MULTIPLE_CHOICE,
  /// The log-likelihood of one continuation and whether it is the greedy one.
  LOGLIKELIHOOD,
  /// The log-likelihood of a whole document, in windows of the model's context that each start with
  /// one token of the one before.
  LOGLIKELIHOOD_ROLLING,
  /// The log-likelihood of consecutive blocks of a text, without a first token added.
  PERPLEXITY,
  /// A greedy continuation up to a stop text.
  GENERATE_UNTIL,
  /// How far the predictions on a text are from those of the baseline.
  DIVERGENCE;

  public String label() {
    return name().toLowerCase(Locale.ROOT);
  }

  static List<String> labels() {
    return List.of(values()).stream().map(OutputType::label).toList();
  }
}
