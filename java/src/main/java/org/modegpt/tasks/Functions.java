package org.modegpt.tasks;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.modegpt.io.Json;

/// Python's methods of texts, lists and maps, and Jinja's filters and tests, as far as task
/// definitions use them.
final class Functions {
  private static final List<String> FILTERS =
      List.of(
          "abs",
          "capitalize",
          "count",
          "d",
          "default",
          "e",
          "escape",
          "first",
          "float",
          "int",
          "join",
          "last",
          "length",
          "list",
          "lower",
          "map",
          "max",
          "min",
          "regex_findall",
          "regex_replace",
          "replace",
          "reverse",
          "round",
          "safe",
          "sort",
          "string",
          "sum",
          "title",
          "tojson",
          "trim",
          "unique",
          "upper");

  private static final List<String> TESTS =
      List.of(
          "boolean",
          "defined",
          "even",
          "iterable",
          "mapping",
          "none",
          "number",
          "odd",
          "sequence",
          "string",
          "undefined");

  private static final List<String> FUNCTIONS =
      List.of("enumerate", "int", "len", "range", "str", "zip");

  private Functions() {}

  /// The name of a filter, while a template is read.
  static String requireFilter(String name) {
    return require("filter", name, FILTERS);
  }

  static String requireTest(String name) {
    return require("test", name, TESTS);
  }

  static String requireFunction(String name) {
    return require("function", name, FUNCTIONS);
  }

  private static String require(String kind, String name, List<String> known) {
    if (!known.contains(name)) {
      throw new TemplateException(unknown(kind, name, known));
    }
    return name;
  }

  private static String unknown(String kind, String name, List<String> known) {
    return "there is no %s '%s'; there are %s".formatted(kind, name, String.join(", ", known));
  }

  private static List<?> filled(@Nullable Object value) {
    if (Values.list(value).isEmpty()) {
      throw new TemplateException("the list is empty");
    }
    return Values.list(value);
  }

  /// Python's replacement: `\\1` is a group, and `$` nothing special.
  private static String replaced(String text, Pattern pattern, String replacement) {
    try {
      return pattern
          .matcher(text)
          .replaceAll(replacement.replace("$", "\\$").replaceAll("\\\\(\\d)", "\\$$1"));
    } catch (IndexOutOfBoundsException | IllegalArgumentException e) {
      throw new TemplateException(
          "the replacement '" + replacement + "' is wrong: " + e.getMessage());
    }
  }

  /// `object.name(arguments)`.
  static @Nullable Object method(
      @Nullable Object object, String name, List<? extends @Nullable Object> arguments) {
    return switch (object) {
      case String s -> textMethod(s, name, arguments);
      case List<?> l -> listMethod(l, name, arguments);
      case Map<?, ?> m -> mapMethod(m, name, arguments);
      case null, default -> throw noMethod(object, name);
    };
  }

  private static @Nullable Object textMethod(
      String s, String name, List<? extends @Nullable Object> a) {
    return switch (name) {
      case "strip" -> strip(s, a, true, true);
      case "lstrip" -> strip(s, a, true, false);
      case "rstrip" -> strip(s, a, false, true);
      case "lower" -> s.toLowerCase(Locale.ROOT);
      case "upper" -> s.toUpperCase(Locale.ROOT);
      case "capitalize" -> capitalize(s);
      case "title" -> title(s);
      case "split" -> split(s, a);
      case "rsplit" -> rsplit(s, a);
      case "splitlines" -> s.lines().toList();
      case "replace" -> s.replace(text(a, 0, name), text(a, 1, name));
      case "startswith" -> s.startsWith(text(a, 0, name));
      case "endswith" -> s.endsWith(text(a, 0, name));
      case "removeprefix" ->
          s.startsWith(text(a, 0, name)) ? s.substring(text(a, 0, name).length()) : s;
      case "removesuffix" ->
          s.endsWith(text(a, 0, name)) ? s.substring(0, s.length() - text(a, 0, name).length()) : s;
      case "find" -> (long) s.indexOf(text(a, 0, name));
      case "index" -> position(s.indexOf(text(a, 0, name)), s, a);
      case "count" -> count(s, text(a, 0, name));
      case "join" -> join(Values.list(argument(a, 0, name)), s);
      case "isdigit" -> !s.isEmpty() && s.chars().allMatch(Character::isDigit);
      case "isalpha" -> !s.isEmpty() && s.chars().allMatch(Character::isLetter);
      case "isupper" ->
          !s.equals(s.toLowerCase(Locale.ROOT)) && s.equals(s.toUpperCase(Locale.ROOT));
      default -> throw noMethod(s, name);
    };
  }

  private static @Nullable Object listMethod(
      List<?> list, String name, List<? extends @Nullable Object> a) {
    Object wanted = argument(a, 0, name);
    return switch (name) {
      case "index" -> {
        for (int i = 0; i < list.size(); i++) {
          if (Values.equal(list.get(i), wanted)) {
            yield (long) i;
          }
        }
        throw new TemplateException(Values.kind(wanted) + " is not in " + Values.text(list));
      }
      case "count" -> list.stream().filter(v -> Values.equal(v, wanted)).count();
      default -> throw noMethod(list, name);
    };
  }

  private static @Nullable Object mapMethod(
      Map<?, ?> map, String name, List<? extends @Nullable Object> a) {
    return switch (name) {
      case "get" -> {
        String key = text(a, 0, name);
        yield map.containsKey(key) ? map.get(key) : a.size() > 1 ? a.get(1) : null;
      }
      case "keys" -> new ArrayList<@Nullable Object>(map.keySet());
      case "values" -> new ArrayList<@Nullable Object>(map.values());
      case "items" ->
          map.entrySet().stream().map(e -> Arrays.asList(e.getKey(), e.getValue())).toList();
      default -> throw noMethod(map, name);
    };
  }

  /// `value | name(arguments)`.
  static @Nullable Object filter(
      @Nullable Object value, String name, List<? extends @Nullable Object> a) {
    if (name.equals("default") || name.equals("d")) {
      return value instanceof Values.Undefined || (value == null && a.size() > 1)
          ? argument(a, 0, name)
          : value;
    }
    Values.defined(value);
    return switch (name) {
      case "join" -> join(Values.list(value), a.isEmpty() ? "" : Values.text(a.getFirst()));
      case "length", "count" ->
          value instanceof String s
              ? (long) s.codePointCount(0, s.length())
              : (long) Values.list(value).size();
      case "int" -> toInt(value, a);
      case "float" -> toFloat(value, a);
      case "string" -> Values.text(value);
      case "list" -> Values.list(value);
      case "lower" -> Values.text(value).toLowerCase(Locale.ROOT);
      case "upper" -> Values.text(value).toUpperCase(Locale.ROOT);
      case "capitalize" -> capitalize(Values.text(value));
      case "title" -> title(Values.text(value));
      case "trim" -> strip(Values.text(value), a, true, true);
      case "replace" -> Values.text(value).replace(text(a, 0, name), text(a, 1, name));
      case "regex_replace" ->
          replaced(Values.text(value), ExactMatch.pattern(text(a, 0, name)), text(a, 1, name));
      case "regex_findall" ->
          AnswerFilter.findAll(ExactMatch.pattern(text(a, 0, name)), Values.text(value), "");
      case "map" -> {
        String each = requireFilter(text(a, 0, name));
        List<? extends @Nullable Object> rest = a.subList(1, a.size());
        yield Values.list(value).stream()
            .map(v -> filter(v, each, rest))
            .collect(Collectors.toCollection(ArrayList<@Nullable Object>::new));
      }
      case "first" ->
          Values.list(value).isEmpty()
              ? new Values.Undefined("the list is empty")
              : Values.list(value).getFirst();
      case "last" ->
          Values.list(value).isEmpty()
              ? new Values.Undefined("the list is empty")
              : Values.list(value).getLast();
      case "reverse" -> reversed(value);
      case "sort" ->
          Values.list(value).stream()
              .sorted(Values::compare)
              .collect(Collectors.toCollection(ArrayList<@Nullable Object>::new));
      case "unique" ->
          Values.list(value).stream()
              .distinct()
              .collect(Collectors.toCollection(ArrayList<@Nullable Object>::new));
      case "abs" ->
          value instanceof Long l ? (Object) Math.abs(l) : (Object) Math.abs(Values.number(value));
      case "round" -> round(Values.number(value), a);
      case "sum" -> Values.list(value).stream().mapToDouble(Values::number).sum();
      case "min" -> Collections.min(filled(value), Values::compare);
      case "max" -> Collections.max(filled(value), Values::compare);
      case "tojson" -> Json.MAPPER.writeValueAsString(value);
      case "safe", "e", "escape" -> value;
      default -> throw new TemplateException(unknown("filter", name, FILTERS));
    };
  }

  /// `value is name`.
  static boolean test(@Nullable Object value, String name) {
    return switch (name) {
      case "defined" -> !(value instanceof Values.Undefined);
      case "undefined" -> value instanceof Values.Undefined;
      case "none" -> Values.defined(value) == null;
      case "string" -> Values.defined(value) instanceof String;
      case "number" -> Values.defined(value) instanceof Long || value instanceof Double;
      case "boolean" -> Values.defined(value) instanceof Boolean;
      case "mapping" -> Values.defined(value) instanceof Map;
      case "sequence", "iterable" ->
          Values.defined(value) instanceof List || value instanceof String;
      case "even" -> Values.number(value) % 2 == 0;
      case "odd" -> Values.number(value) % 2 != 0;
      default -> throw new TemplateException(unknown("test", name, TESTS));
    };
  }

  /// `name(arguments)`.
  static Object call(String name, List<? extends @Nullable Object> a) {
    return switch (name) {
      case "range" -> {
        long from = a.size() > 1 ? Values.index(a.get(0)) : 0;
        long to = Values.index(argument(a, a.size() > 1 ? 1 : 0, name));
        if (to - from > Expression.LONGEST_TEXT) {
          throw new TemplateException("range(" + to + ") is too long");
        }
        yield LongStream.range(from, to)
            .boxed()
            .collect(Collectors.toCollection(ArrayList<@Nullable Object>::new));
      }
      case "len" -> (long) Values.list(argument(a, 0, name)).size();
      case "str" -> Values.text(argument(a, 0, name));
      case "int" -> toInt(argument(a, 0, name), List.of());
      case "zip" -> zip(Values.list(argument(a, 0, name)), Values.list(argument(a, 1, name)));
      case "enumerate" -> {
        List<?> list = Values.list(argument(a, 0, name));
        yield zip(LongStream.range(0, list.size()).boxed().toList(), list);
      }
      default -> throw new TemplateException(unknown("function", name, FUNCTIONS));
    };
  }

  private static List<?> zip(List<?> x, List<?> y) {
    List<@Nullable Object> pairs = new ArrayList<>();
    for (int i = 0; i < Math.min(x.size(), y.size()); i++) {
      pairs.add(Arrays.asList(x.get(i), y.get(i)));
    }
    return pairs;
  }

  private static TemplateException noMethod(@Nullable Object object, String name) {
    return new TemplateException(Values.kind(object) + " has no method '" + name + "'");
  }

  private static @Nullable Object argument(
      List<? extends @Nullable Object> arguments, int index, String name) {
    if (index >= arguments.size()) {
      throw new TemplateException(name + " needs " + (index + 1) + " arguments");
    }
    return Values.defined(arguments.get(index));
  }

  private static String text(List<? extends @Nullable Object> arguments, int index, String name) {
    return Values.text(argument(arguments, index, name));
  }

  private static long position(int index, String s, List<? extends @Nullable Object> a) {
    if (index < 0) {
      throw new TemplateException(Values.kind(a.getFirst()) + " is not in " + Values.kind(s));
    }
    return index;
  }

  private static long count(String s, String part) {
    return part.isEmpty()
        ? s.length() + 1
        : (s.length() - s.replace(part, "").length()) / part.length();
  }

  private static String strip(
      String s, List<? extends @Nullable Object> a, boolean left, boolean right) {
    if (a.isEmpty()) {
      return left && right ? s.strip() : left ? s.stripLeading() : s.stripTrailing();
    }
    String characters = Values.text(a.getFirst());
    int from = 0;
    int to = s.length();
    while (left && from < to && characters.indexOf(s.charAt(from)) >= 0) {
      from++;
    }
    while (right && to > from && characters.indexOf(s.charAt(to - 1)) >= 0) {
      to--;
    }
    return s.substring(from, to);
  }

  static String capitalize(String s) {
    return s.isEmpty()
        ? s
        : s.substring(0, 1).toUpperCase(Locale.ROOT) + s.substring(1).toLowerCase(Locale.ROOT);
  }

  private static String title(String s) {
    StringBuilder out = new StringBuilder();
    boolean inside = false;
    for (int i = 0; i < s.length(); i++) {
      char c = s.charAt(i);
      out.append(inside ? Character.toLowerCase(c) : Character.toUpperCase(c));
      inside = Character.isLetter(c);
    }
    return out.toString();
  }

  private static List<String> split(String s, List<? extends @Nullable Object> a) {
    int limit = a.size() > 1 ? Values.index(a.get(1)) + 1 : -1;
    if (a.isEmpty() || a.getFirst() == null) {
      String stripped = s.strip();
      return stripped.isEmpty() ? List.of() : List.of(stripped.split("\\s+", limit));
    }
    return List.of(s.split(Pattern.quote(Values.text(a.getFirst())), limit));
  }

  private static List<String> rsplit(String s, List<? extends @Nullable Object> a) {
    List<String> parts = split(s, a.isEmpty() ? a : a.subList(0, 1));
    int cuts = a.size() > 1 ? Values.index(a.get(1)) : parts.size();
    if (parts.size() - 1 <= cuts) {
      return parts;
    }
    String head = String.join(Values.text(a.getFirst()), parts.subList(0, parts.size() - cuts));
    return Stream.concat(Stream.of(head), parts.subList(parts.size() - cuts, parts.size()).stream())
        .toList();
  }

  private static String join(List<?> list, String separator) {
    return list.stream().map(Values::text).collect(Collectors.joining(separator));
  }

  private static Object reversed(@Nullable Object value) {
    return value instanceof String s
        ? new StringBuilder(s).reverse().toString()
        : Values.list(value).reversed();
  }

  private static Object round(double value, List<? extends @Nullable Object> a) {
    double scale = Math.pow(10, a.isEmpty() ? 0 : Values.index(a.getFirst()));
    return Math.rint(value * scale) / scale;
  }

  private static Object toInt(@Nullable Object value, List<? extends @Nullable Object> a) {
    if (value instanceof String s) {
      try {
        return (long) Double.parseDouble(s.strip());
      } catch (NumberFormatException e) {
        return a.isEmpty() ? 0L : Values.list(a).getFirst();
      }
    }
    return (long) Values.number(value);
  }

  private static Object toFloat(@Nullable Object value, List<? extends @Nullable Object> a) {
    if (value instanceof String s) {
      try {
        return Double.parseDouble(s.strip());
      } catch (NumberFormatException e) {
        return a.isEmpty() ? 0.0 : Values.list(a).getFirst();
      }
    }
    return Values.number(value);
  }
}
