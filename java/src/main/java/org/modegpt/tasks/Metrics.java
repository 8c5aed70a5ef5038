package org.modegpt.tasks;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.ServiceLoader;
import java.util.Set;
import java.util.TreeMap;

/// The built-in metrics, under the names of lm-evaluation-harness where it has them, and those of
/// {@link ServiceLoader}.
public final class Metrics {
  private interface Rule {
    Metric.Value of(Outcome outcome, Map<String, Object> parameters);
  }

  private record BuiltIn(
      String name,
      Set<OutputType> types,
      boolean higherIsBetter,
      Metric.Aggregation aggregation,
      Rule rule)
      implements Metric {
    @Override
    public Optional<Set<String>> parameters() {
      return Optional.of(name.equals("exact_match") ? ExactMatch.PARAMETERS : Set.of());
    }

    @Override
    public Value of(Outcome outcome, Map<String, Object> parameters) {
      return rule.of(outcome, parameters);
    }
  }

  private static final Map<String, Metric> ALL = new TreeMap<>();

  static {
    Set<OutputType> choice = Set.of(OutputType.MULTIPLE_CHOICE);
    Set<OutputType> one = Set.of(OutputType.LOGLIKELIHOOD);
    Set<OutputType> document = Set.of(OutputType.LOGLIKELIHOOD_ROLLING, OutputType.PERPLEXITY);
    Set<OutputType> text = Set.of(OutputType.GENERATE_UNTIL);
    up("acc", Set.of(OutputType.MULTIPLE_CHOICE, OutputType.LOGLIKELIHOOD), (o, _) -> accuracy(o));
    up(
        "acc_norm",
        choice,
        (o, _) ->
            right(
                o,
                i ->
                    perUnit(
                        o,
                        i,
                        o.item()
                            .choices()
                            .get(i)
                            .codePointCount(0, o.item().choices().get(i).length()))));
    up(
        "acc_bytes",
        choice,
        (o, _) -> right(o, i -> perUnit(o, i, bytes(o.item().choices().get(i)))));
    up("likelihood", choice, (o, _) -> Metric.Value.of(share(o)));
    down("brier_score", choice, Metric.Aggregation.MEAN, (o, _) -> Metric.Value.of(brier(o)));
    down("perplexity", one, Metric.Aggregation.EXP, (o, _) -> Metric.Value.of(-total(o)));
    down(
        "token_perplexity",
        Set.of(OutputType.PERPLEXITY),
        Metric.Aggregation.EXP,
        (o, _) -> new Metric.Value(-total(o), o.tokens()));
    down(
        "word_perplexity",
        document,
        Metric.Aggregation.EXP,
        (o, _) -> new Metric.Value(-total(o), words(document(o))));
    down(
        "byte_perplexity",
        document,
        Metric.Aggregation.EXP,
        (o, _) -> new Metric.Value(-total(o), bytes(document(o))));
    down(
        "bits_per_byte",
        document,
        Metric.Aggregation.BITS,
        (o, _) -> new Metric.Value(-total(o), bytes(document(o))));
    up("exact_match", text, (o, p) -> Metric.Value.of(ExactMatch.matches(o, p)));
    up("numeric_match", text, (o, _) -> Metric.Value.of(ExactMatch.sameNumber(o)));
    down(
        "repetition",
        text,
        Metric.Aggregation.MEAN,
        (o, _) -> Metric.Value.of(repetition(o.text())));
    down("empty", text, Metric.Aggregation.MEAN, (o, _) -> Metric.Value.of(o.text().isBlank()));
    up("length", text, (o, _) -> Metric.Value.of(o.tokens()));
    for (Metric metric : ServiceLoader.load(Metric.class)) {
      ALL.put(metric.name(), metric);
    }
  }

  private Metrics() {}

  private static void up(String name, Set<OutputType> types, Rule rule) {
    ALL.put(name, new BuiltIn(name, types, true, Metric.Aggregation.MEAN, rule));
  }

  private static void down(
      String name, Set<OutputType> types, Metric.Aggregation aggregation, Rule rule) {
    ALL.put(name, new BuiltIn(name, types, false, aggregation, rule));
  }

  /// All metrics by name.
  public static Map<String, Metric> all() {
    return java.util.Collections.unmodifiableMap(ALL);
  }

  /// Those measured when a task file names none.
  static List<String> defaults(OutputType type) {
    return switch (type) {
      case MULTIPLE_CHOICE -> List.of("acc", "acc_norm");
      case LOGLIKELIHOOD -> List.of("perplexity", "acc");
      case LOGLIKELIHOOD_ROLLING -> List.of("word_perplexity", "byte_perplexity", "bits_per_byte");
      case PERPLEXITY -> List.of("token_perplexity", "bits_per_byte");
      case GENERATE_UNTIL -> List.of("exact_match");
      case DIVERGENCE -> List.of();
    };
  }

  private static Metric.Value accuracy(Outcome o) {
    return o.item().choices().isEmpty()
        ? Metric.Value.of(o.likelihoods().getFirst().greedy())
        : right(o, i -> o.likelihoods().get(i).logLikelihood());
  }

  private static Metric.Value right(Outcome o, java.util.function.IntToDoubleFunction value) {
    return Metric.Value.of(o.item().gold().contains(o.best(value)));
  }

  private static double perUnit(Outcome o, int choice, long units) {
    return o.likelihoods().get(choice).logLikelihood() / units;
  }

  private static double total(Outcome o) {
    return o.likelihoods().stream().mapToDouble(Outcome.Likelihood::logLikelihood).sum();
  }

  /// Probability of the right choice among the choices.
  private static double share(Outcome o) {
    double[] p = probabilities(o);
    return o.item().gold().stream().mapToDouble(g -> p[g]).sum();
  }

  private static double brier(Outcome o) {
    double[] p = probabilities(o);
    double sum = 0;
    for (int i = 0; i < p.length; i++) {
      double miss = p[i] - (o.item().gold().contains(i) ? 1 : 0);
      sum += miss * miss;
    }
    return sum;
  }

  private static double[] probabilities(Outcome o) {
    double max =
        o.likelihoods().get(o.best(i -> o.likelihoods().get(i).logLikelihood())).logLikelihood();
    double[] p =
        o.likelihoods().stream().mapToDouble(l -> Math.exp(l.logLikelihood() - max)).toArray();
    double sum = java.util.Arrays.stream(p).sum();
    return java.util.Arrays.stream(p).map(x -> x / sum).toArray();
  }

  private static String document(Outcome o) {
    return o.item().references().getFirst();
  }

  static long bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8).length;
  }

  private static long words(String text) {
    return text.split("\\s+", -1).length;
  }

  /// Share of the four-word sequences of a text that have occurred in it before; 0 for a text of
  /// fewer words.
  static double repetition(String text) {
    String[] words = text.strip().split("\\s+");
    Set<List<String>> seen = new HashSet<>();
    int repeated = 0;
    int all = words.length - 3;
    for (int i = 0; i < all; i++) {
      repeated += seen.add(new ArrayList<>(List.of(words).subList(i, i + 4))) ? 0 : 1;
    }
    return all > 0 ? (double) repeated / all : 0;
  }
}
