package org.modegpt.tasks;

import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.modegpt.jinja.TemplateException;

/// Whether a generated answer is one of the right ones, after the changes that a task asks for.
final class ExactMatch {
  /// The parameter that lists regular expressions whose matches do not count.
  static final String IGNORED = "regexes_to_ignore";

  static final Set<String> PARAMETERS =
      Set.of(IGNORED, "ignore_case", "ignore_punctuation", "ignore_numbers");

  private static final Pattern NUMBER =
      Pattern.compile("-?(\\d[\\d,]*)?\\.?\\d+(?:[eE][-+]?\\d+)?");
  private static final double TOLERANCE = 1e-6;

  private ExactMatch() {}

  static boolean matches(Outcome outcome, Map<String, Object> parameters) {
    String answer = plain(outcome.answer(), parameters);
    return outcome.item().references().stream()
        .anyMatch(reference -> plain(reference, parameters).equals(answer));
  }

  private static String plain(String text, Map<String, Object> parameters) {
    String plain = text;
    Object patterns = parameters.get(IGNORED);
    for (Object pattern :
        patterns instanceof List<?> list
            ? list
            : patterns == null ? List.of() : List.of(patterns)) {
      plain = pattern(String.valueOf(pattern)).matcher(plain).replaceAll("");
    }
    if (Boolean.TRUE.equals(parameters.get("ignore_case"))) {
      plain = plain.toLowerCase(Locale.ROOT);
    }
    if (Boolean.TRUE.equals(parameters.get("ignore_punctuation"))) {
      plain = plain.replaceAll("[!-/:-@\\[-`{-~]", "");
    }
    if (Boolean.TRUE.equals(parameters.get("ignore_numbers"))) {
      plain = plain.replaceAll("[0-9]", "");
    }
    return plain;
  }

  static Pattern pattern(String regex) {
    try {
      // Python writes \Z where Java has \z, and named groups as (?P<name>.
      return Pattern.compile(regex.replace("(?P<", "(?<"));
    } catch (PatternSyntaxException e) {
      throw new TemplateException(
          "the regular expression '" + regex + "' is wrong: " + e.getDescription());
    }
  }

  /// Whether the last number of the answer equals that of a reference ("1,000" is 1000).
  static boolean sameNumber(Outcome outcome) {
    double answer = lastNumber(outcome.answer());
    return outcome.item().references().stream()
        .mapToDouble(ExactMatch::lastNumber)
        .anyMatch(right -> Math.abs(answer - right) <= TOLERANCE * Math.max(1, Math.abs(right)));
  }

  private static double lastNumber(String text) {
    Matcher numbers = NUMBER.matcher(text);
    double last = Double.NaN;
    while (numbers.find()) {
      last = Double.parseDouble(numbers.group().replace(",", ""));
    }
    return last;
  }
}
