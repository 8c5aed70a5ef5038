package org.modegpt.tasks;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.LongStream;
import org.modegpt.jinja.Arguments;
import org.modegpt.jinja.Filter;
import org.modegpt.jinja.Function;
import org.modegpt.jinja.TemplateException;
import org.modegpt.jinja.Values;

/// What templates of tasks can use beyond Jinja: some of Python's functions, and filters with
/// regular expressions.
final class TaskFunctions {
  static final Map<String, Function> FUNCTIONS =
      Map.of(
          "len", a -> (long) Values.list(a.require(0, "obj")).size(),
          "str", a -> Values.text(a.require(0, "object")),
          "int", a -> whole(a.require(0, "x")),
          "zip", a -> zip(Values.list(a.require(0, "first")), Values.list(a.require(1, "second"))),
          "enumerate", a -> enumerate(Values.list(a.require(0, "iterable"))));

  static final Map<String, Filter> FILTERS =
      Map.of("regex_replace", TaskFunctions::replace, "regex_findall", TaskFunctions::findAll);

  private TaskFunctions() {}

  private static Object whole(Object value) {
    if (!(value instanceof String s)) {
      return (long) Values.number(value);
    }
    try {
      return Long.valueOf(s.strip());
    } catch (NumberFormatException e) {
      throw new TemplateException(Values.kind(s) + " is no whole number");
    }
  }

  private static List<Object> enumerate(List<Object> list) {
    return zip(new ArrayList<>(LongStream.range(0, list.size()).boxed().toList()), list);
  }

  private static List<Object> zip(List<Object> x, List<Object> y) {
    List<Object> pairs = new ArrayList<>();
    for (int i = 0; i < Math.min(x.size(), y.size()); i++) {
      pairs.add(List.of(x.get(i), y.get(i)));
    }
    return pairs;
  }

  private static Object findAll(Object value, Arguments a) {
    Pattern pattern = ExactMatch.pattern(a.text(0, "pattern"));
    return new ArrayList<Object>(AnswerFilter.findAll(pattern, Values.text(value), ""));
  }

  /// Python's replacement: `\\1` is a group, and `$` nothing special.
  private static Object replace(Object value, Arguments a) {
    Pattern pattern = ExactMatch.pattern(a.text(0, "pattern"));
    String replacement = a.text(1, "replacement");
    try {
      return pattern
          .matcher(Values.text(value))
          .replaceAll(replacement.replace("$", "\\$").replaceAll("\\\\(\\d)", "\\$$1"));
    } catch (IndexOutOfBoundsException | IllegalArgumentException e) {
      throw new TemplateException(
          "the replacement '" + replacement + "' is wrong: " + e.getMessage());
    }
  }
}
