package org.modegpt.tasks;

import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.modegpt.jinja.TemplateException;

/// What is measured on an item. Programs add metrics of their own by naming implementations in
/// `META-INF/services/org.modegpt.tasks.Metric`; a task file then uses them by name.
/// Implementations have a public constructor without arguments and are thread-safe.
public interface Metric {

  /// The name task files use, such as `acc`.
  String name();

  /// The output types the metric is for.
  Set<OutputType> types();

  default boolean higherIsBetter() {
    return true;
  }

  default Aggregation aggregation() {
    return Aggregation.MEAN;
  }

  /// Names of the parameters that a task file's entry may give; empty for any.
  default Optional<Set<String>> parameters() {
    return Optional.empty();
  }

  /// The value of one item.
  ///
  /// @param parameters those of the task file's entry, such as `ignore_case`
  /// @throws TemplateException when a parameter is wrong
  Value of(Outcome outcome, Map<String, Object> parameters);

  /// An item's part of the result, which is `aggregation(sum of sums / sum of weights)`.
  record Value(double sum, double weight) {
    static Value of(double value) {
      return new Value(value, 1);
    }

    static Value of(boolean right) {
      return new Value(right ? 1 : 0, 1);
    }
  }

  /// What becomes of the weighted mean.
  enum Aggregation {
    /// The mean itself.
    MEAN,
    /// Its exponential: perplexities, from negative log-likelihoods.
    EXP,
    /// In bits instead of nats.
    BITS;

    public double of(double mean) {
      return switch (this) {
        case MEAN -> mean;
        case EXP -> Math.exp(mean);
        case BITS -> mean / Math.log(2);
      };
    }

    /// The derivative, to carry errors over.
    public double slope(double mean) {
      return switch (this) {
        case MEAN -> 1;
        case EXP -> Math.exp(mean);
        case BITS -> 1 / Math.log(2);
      };
    }
  }
}
