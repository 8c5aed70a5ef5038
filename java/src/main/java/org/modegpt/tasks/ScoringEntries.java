package org.modegpt.tasks;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.UnaryOperator;
import org.modegpt.jinja.TemplateException;
import org.modegpt.tasks.TaskDefinition.Generation;
import org.modegpt.tasks.TaskDefinition.MetricUse;
import tools.jackson.databind.JsonNode;

/// The entries of a task file that say how answers are made and judged: `metric_list`,
/// `generation_kwargs` and `filter_list`.
record ScoringEntries(LocatedYaml yaml, OutputType type) {
  /// Keys that an entry of every metric may have.
  private static final Set<String> COMMON =
      Set.of("metric", "name", "aggregation", "higher_is_better");

  /// Keys of lm-evaluation-harness that change nothing here.
  private static final Set<String> IGNORED = Set.of("hf_evaluate");

  private static final int DEFAULT_MAX_TOKENS = 256;

  List<MetricUse> metrics() {
    JsonNode list = yaml.get("metric_list", "metrics", "metric");
    String pointer = yaml.pointer("", "metric_list", "metrics", "metric");
    if (list == null) {
      return Metrics.defaults(type).stream()
          .map(m -> new MetricUse(metric(m, pointer), Map.of()))
          .toList();
    }
    if (!list.isArray()) {
      return List.of(use(list, pointer));
    }
    List<MetricUse> uses = new ArrayList<>();
    for (int i = 0; i < list.size(); i++) {
      MetricUse use = use(list.get(i), pointer + "/" + i);
      if (uses.stream().anyMatch(u -> u.name().equals(use.name()))) {
        throw yaml.error(pointer + "/" + i, "the metric " + use.name() + " is there twice");
      }
      uses.add(use);
    }
    if (uses.isEmpty()) {
      throw yaml.error(pointer, "want at least one metric");
    }
    return uses;
  }

  private MetricUse use(JsonNode entry, String pointer) {
    if (!entry.isObject()) {
      if (!entry.isString()) {
        throw yaml.error(pointer, "want the name of a metric, not " + LocatedYaml.kind(entry));
      }
      return new MetricUse(metric(entry.stringValue(), pointer), Map.of());
    }
    String name = yaml.text(pointer, "metric", "name");
    if (name == null) {
      throw yaml.error(pointer, "an entry of metric_list needs 'metric', its name");
    }
    Metric metric = metric(name, yaml.pointer(pointer, "metric", "name"));
    String aggregation = yaml.text(pointer, "aggregation");
    Set<String> fits =
        switch (metric.aggregation()) {
          case MEAN -> Set.of("mean", "nanmean", "brier_score");
          case EXP -> Set.of("perplexity", "weighted_perplexity");
          case BITS -> Set.of("bits_per_byte");
        };
    if (aggregation != null && !fits.contains(aggregation)) {
      throw yaml.error(
          pointer + "/aggregation",
          "the metric "
              + name
              + " has the aggregation "
              + String.join(" or ", fits)
              + ", not "
              + aggregation);
    }
    if (yaml.flag(pointer, metric.higherIsBetter(), "higher_is_better")
        != metric.higherIsBetter()) {
      throw yaml.error(
          pointer + "/higher_is_better",
          "for the metric " + name + " it is " + metric.higherIsBetter());
    }
    return new MetricUse(metric, parameters(entry, pointer, metric));
  }

  private Map<String, Object> parameters(JsonNode entry, String pointer, Metric metric) {
    metric.parameters().ifPresent(known -> yaml.refuseUnknown(pointer, known, IGNORED));
    if (metric.parameters().isPresent()) {
      ExactMatch.PARAMETERS.stream()
          .filter(p -> p.startsWith("ignore_"))
          .forEach(p -> yaml.flag(pointer, false, p));
    }
    Map<String, Object> parameters = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> e : entry.properties()) {
      if (!e.getValue().isNull() && !COMMON.contains(e.getKey())) {
        parameters.put(e.getKey(), Fields.value(e.getValue()));
      }
    }
    String ignored = ExactMatch.IGNORED;
    if (metric.parameters().isPresent()) {
      for (String pattern : yaml.texts(pointer, ignored)) {
        checked(pointer + "/" + ignored, () -> ExactMatch.pattern(pattern));
      }
    }
    return parameters;
  }

  private Metric metric(String name, String pointer) {
    Metric metric = Metrics.all().get(name);
    List<String> fitting =
        Metrics.all().values().stream()
            .filter(m -> m.types().contains(type))
            .map(Metric::name)
            .toList();
    if (metric == null || !metric.types().contains(type)) {
      throw yaml.error(
          pointer,
          (metric == null ? "unknown metric '" : "not a metric of " + type.label() + " tasks: '")
              + name
              + "'; there are "
              + String.join(", ", fitting));
    }
    return metric;
  }

  Generation generation(String delimiter) {
    String at = "/generation_kwargs";
    if (yaml.container("", true, "generation_kwargs") == null) {
      return new Generation(List.of(delimiter), DEFAULT_MAX_TOKENS);
    }
    if (type != OutputType.GENERATE_UNTIL) {
      throw yaml.error(at, "generation_kwargs belong to a task of output_type generate_until");
    }
    List<String> until = yaml.texts(at, "until", "stop");
    Integer most = yaml.integer(at, 1, "max_gen_toks", "max_new_tokens", "max_tokens");
    Double temperature = yaml.number(at, "temperature");
    if (yaml.flag(at, false, "do_sample") || (temperature != null && temperature > 0)) {
      throw yaml.error(
          at, "text is generated greedily here: do_sample must be false and temperature 0");
    }
    yaml.refuseUnknown(at, Set.of("top_k", "top_p", "num_beams"));
    if (until.stream().anyMatch(String::isEmpty)) {
      throw yaml.error(at + "/until", "a stop text is empty");
    }
    return new Generation(
        until.isEmpty() ? List.of(delimiter) : until,
        Objects.requireNonNullElse(most, DEFAULT_MAX_TOKENS));
  }

  List<AnswerFilter> filters() {
    JsonNode list = yaml.get("filter_list", "filters");
    if (list == null) {
      return List.of(AnswerFilter.NONE);
    }
    String pointer = yaml.pointer("", "filter_list", "filters");
    yaml.container("", false, "filter_list", "filters");
    if (type != OutputType.GENERATE_UNTIL) {
      throw yaml.error(pointer, "filters belong to a task of output_type generate_until");
    }
    List<AnswerFilter> filters = new ArrayList<>();
    for (int i = 0; i < list.size(); i++) {
      String at = pointer + "/" + i;
      if (!list.get(i).isObject()) {
        throw yaml.error(
            at, "want a name and a list of filters, not " + LocatedYaml.kind(list.get(i)));
      }
      String name = Objects.requireNonNullElse(yaml.text(at, "name"), "filter" + i);
      JsonNode steps = yaml.container(at, false, "filter");
      yaml.refuseUnknown(at);
      List<UnaryOperator<String>> functions = new ArrayList<>();
      for (int s = 0; steps != null && s < steps.size(); s++) {
        functions.add(step(at + "/filter/" + s));
        yaml.refuseUnknown(at + "/filter/" + s);
      }
      filters.add(new AnswerFilter(name, functions));
    }
    return filters;
  }

  private UnaryOperator<String> step(String at) {
    String function = Objects.requireNonNullElse(yaml.text(at, "function"), "");
    return switch (function) {
      case "regex" -> {
        String regex =
            Objects.requireNonNullElse(yaml.text(at, "regex_pattern"), "#### (\\-?[0-9\\.\\,]+)");
        int group =
            Objects.requireNonNullElse(yaml.integer(at, Integer.MIN_VALUE, "group_select"), 0);
        String fallback = Objects.requireNonNullElse(yaml.text(at, "fallback"), "[invalid]");
        yield checked(at + "/regex_pattern", () -> AnswerFilter.regex(regex, group, fallback));
      }
      case "remove_whitespace" -> String::strip;
      case "lowercase" -> AnswerFilter.lowercase();
      case "take_first" -> UnaryOperator.identity();
      default ->
          throw yaml.error(
              at,
              "unknown filter '"
                  + function
                  + "': there are regex, remove_whitespace, lowercase and take_first");
    };
  }

  private interface Check<T> {
    T run();
  }

  private <T> T checked(String pointer, Check<T> check) {
    try {
      return check.run();
    } catch (TemplateException e) {
      throw yaml.error(pointer, String.valueOf(e.getMessage()));
    }
  }
}
