package org.modegpt.tasks;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.UnaryOperator;
import org.modegpt.tasks.TaskDefinition.Generation;
import org.modegpt.tasks.TaskDefinition.MetricUse;
import tools.jackson.databind.JsonNode;

/// The entries of a task file that say how answers are made and judged: `metric_list`,
/// `generation_kwargs` and `filter_list`.
record ScoringEntries(LocatedYaml yaml, OutputType type) {
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
      return List.of(new MetricUse(metric(list.asString(), pointer), Map.of()));
    }
    List<MetricUse> uses = new ArrayList<>();
    for (int i = 0; i < list.size(); i++) {
      uses.add(use(list.get(i), pointer + "/" + i));
    }
    if (uses.isEmpty()) {
      throw yaml.error(pointer, "want at least one metric");
    }
    return uses;
  }

  private MetricUse use(JsonNode entry, String pointer) {
    if (!entry.isObject()) {
      return new MetricUse(metric(entry.asString(), pointer), Map.of());
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
    Map<String, Object> parameters = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> e : entry.properties()) {
      Object value = Values.of(e.getValue());
      if (value != null
          && !Set.of("metric", "name", "aggregation", "higher_is_better").contains(e.getKey())) {
        parameters.put(e.getKey(), value);
      }
    }
    if (parameters.get("regexes_to_ignore") instanceof List<?> patterns) {
      patterns.forEach(p ->
          checked(pointer + "/regexes_to_ignore", () -> ExactMatch.pattern(String.valueOf(p))));
    }
    return new MetricUse(metric, parameters);
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
    if (yaml.get("generation_kwargs") == null) {
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
    if (type != OutputType.GENERATE_UNTIL) {
      throw yaml.error(pointer, "filters belong to a task of output_type generate_until");
    }
    List<AnswerFilter> filters = new ArrayList<>();
    for (int i = 0; i < list.size(); i++) {
      String at = pointer + "/" + i;
      String name = Objects.requireNonNullElse(yaml.text(at, "name"), "filter" + i);
      JsonNode steps = yaml.at(at, "filter");
      List<UnaryOperator<String>> functions = new ArrayList<>();
      for (int s = 0; steps != null && s < steps.size(); s++) {
        functions.add(step(at + "/filter/" + s));
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
        JsonNode group = yaml.at(at, "group_select");
        String fallback = Objects.requireNonNullElse(yaml.text(at, "fallback"), "[invalid]");
        yield checked(
            at + "/regex_pattern",
            () -> AnswerFilter.regex(regex, group == null ? 0 : group.asInt(), fallback));
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
