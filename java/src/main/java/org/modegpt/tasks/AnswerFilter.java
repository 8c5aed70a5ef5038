package org.modegpt.tasks;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// Takes the answer out of a generated text, in steps.
///
/// @param name stands beside the metric in results: `exact_match,strict-match`
public record AnswerFilter(String name, List<UnaryOperator<String>> steps) {
  /// Leaves the text as it is.
  public static final AnswerFilter NONE = new AnswerFilter("none", List.of());

  public String apply(String text) {
    String answer = text;
    for (UnaryOperator<String> step : steps) {
      answer = step.apply(answer);
    }
    return answer;
  }

  /// The `group`-th match (negative: from the end) of a regular expression; of one with groups the
  /// first group that took part.
  static UnaryOperator<String> regex(String regex, int group, String fallback) {
    Pattern pattern = ExactMatch.pattern(regex);
    return text -> {
      List<String> found = findAll(pattern, text, fallback);
      int at = group < 0 ? found.size() + group : group;
      return at >= 0 && at < found.size() ? found.get(at).strip() : fallback;
    };
  }

  /// All matches; of an expression with groups the first group of each that took part.
  static List<String> findAll(Pattern pattern, String text, String fallback) {
    List<String> found = new ArrayList<>();
    Matcher matcher = pattern.matcher(text);
    while (matcher.find()) {
      found.add(firstGroup(matcher, fallback));
    }
    return found;
  }

  private static String firstGroup(Matcher matcher, String fallback) {
    if (matcher.groupCount() == 0) {
      return matcher.group();
    }
    for (int g = 1; g <= matcher.groupCount(); g++) {
      String group = matcher.group(g);
      if (group != null && (!group.isEmpty() || matcher.groupCount() == 1)) {
        return group;
      }
    }
    return fallback;
  }

  static UnaryOperator<String> lowercase() {
    return text -> text.toLowerCase(Locale.ROOT);
  }
}
