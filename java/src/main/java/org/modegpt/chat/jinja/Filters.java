package org.modegpt.chat.jinja;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/// What can stand after `|`.
final class Filters {
  private Filters() {}

  static Object apply(
      String name, Object value, List<Object> arguments, Map<String, Object> named) {
    return switch (name) {
      case "trim" ->
          Methods.strip(
              Values.text(value),
              arguments.isEmpty() ? null : Values.string(arguments.getFirst()),
              true,
              true);
      case "length", "count" -> Values.length(value);
      case "tojson" -> JsonText.of(value, argument(arguments, 0, named, "indent"));
      case "upper" -> Values.text(value).toUpperCase(Locale.ROOT);
      case "lower" -> Values.text(value).toLowerCase(Locale.ROOT);
      case "title" -> title(Values.text(value));
      case "capitalize" -> capitalize(Values.text(value));
      case "string" -> Values.text(value);
      case "safe" -> value;
      case "escape", "e" -> escape(Values.text(value));
      case "list" -> Values.list(value);
      case "first" -> Values.item(Values.list(value), 0L);
      case "last" -> Values.item(Values.list(value), -1L);
      case "reverse" -> reversed(value);
      case "unique" -> new ArrayList<>(new LinkedHashSet<>(Values.list(value)));
      case "int" -> toInteger(value, argument(arguments, 0, named, "default"));
      case "float" -> toFloat(value);
      case "abs" -> Values.asDouble(value) < 0 ? Values.arithmetic('-', 0L, value) : value;
      case "round" -> round(value, argument(arguments, 0, named, "precision"));
      case "sum" -> Values.list(value).stream().reduce(0L, Values::add);
      case "min" -> Values.list(value).stream().min(Values::compare).orElse(new Undefined("min"));
      case "max" -> Values.list(value).stream().max(Values::compare).orElse(new Undefined("max"));
      case "default", "d" -> fallback(value, arguments, named);
      case "join" -> join(value, join(arguments, named));
      case "replace" -> replace(Values.text(value), arguments);
      case "indent" -> indent(Values.text(value), arguments, named);
      case "items" -> value instanceof Map<?, ?> map ? Methods.items(map) : List.of();
      case "dictsort" -> sorted(Methods.items((Map<?, ?>) value), 0L, false);
      case "sort" ->
          sorted(
              Values.list(value),
              named.getOrDefault("attribute", None.NONE),
              Values.truth(named.getOrDefault("reverse", false)));
      case "map" -> map(value, arguments, named);
      case "select" -> keep(value, item -> tested(item, arguments, 0));
      case "reject" -> keep(value, item -> !tested(item, arguments, 0));
      case "selectattr" -> keep(value, item -> tested(attribute(item, arguments), arguments, 1));
      case "rejectattr" -> keep(value, item -> !tested(attribute(item, arguments), arguments, 1));
      default ->
          throw new TemplateException("the chat template's filter '" + name + "' is not supported");
    };
  }

  private static @Nullable Object argument(
      List<Object> arguments, int at, Map<String, Object> named, String name) {
    return at < arguments.size() ? arguments.get(at) : named.get(name);
  }

  private static Object fallback(Object value, List<Object> arguments, Map<String, Object> named) {
    Object other = argument(arguments, 0, named, "default_value");
    Object empty = argument(arguments, 1, named, "boolean");
    boolean missing =
        value instanceof Undefined
            || (empty != null && Values.truth(empty) && !Values.truth(value));
    return !missing ? value : other == null ? "" : other;
  }

  private static String join(List<Object> arguments, Map<String, Object> named) {
    Object separator = argument(arguments, 0, named, "d");
    return separator == null ? "" : Values.text(separator);
  }

  static String join(Object value, String separator) {
    return Values.list(value).stream().map(Values::text).collect(Collectors.joining(separator));
  }

  static String replace(String text, List<Object> arguments) {
    if (arguments.size() < 2) {
      throw new TemplateException("the chat template's 'replace' needs two texts");
    }
    String from = Values.string(arguments.get(0));
    String to = Values.string(arguments.get(1));
    if (arguments.size() < 3) {
      return text.replace(from, to);
    }
    String result = text;
    int at = 0;
    for (long n = Values.integer(arguments.get(2)); n > 0; n--) {
      int found = result.indexOf(from, at);
      if (found < 0) {
        break;
      }
      result = result.substring(0, found) + to + result.substring(found + from.length());
      at = found + to.length();
    }
    return result;
  }

  private static String indent(String text, List<Object> arguments, Map<String, Object> named) {
    Object width = argument(arguments, 0, named, "width");
    Object first = argument(arguments, 1, named, "first");
    Object blank = argument(arguments, 2, named, "blank");
    String pad =
        width instanceof String s
            ? s
            : " ".repeat(Math.clamp(width == null ? 4 : Values.integer(width), 0, 1000));
    String[] lines = text.split("\n", -1);
    for (int i = 0; i < lines.length; i++) {
      boolean padded =
          i == 0
              ? first != null && Values.truth(first)
              : !lines[i].isBlank() || (blank != null && Values.truth(blank));
      lines[i] = padded ? pad + lines[i] : lines[i];
    }
    return String.join("\n", lines);
  }

  private static List<Object> sorted(List<Object> items, Object attribute, boolean reverse) {
    Comparator<Object> order =
        Comparator.comparing(
            item -> attribute instanceof None ? item : Values.item(item, attribute),
            Filters::ignoringCase);
    List<Object> copy = new ArrayList<>(items);
    copy.sort(reverse ? order.reversed() : order);
    return copy;
  }

  private static int ignoringCase(Object a, Object b) {
    return a instanceof String x && b instanceof String y
        ? x.toLowerCase(Locale.ROOT).compareTo(y.toLowerCase(Locale.ROOT))
        : Values.compare(a, b);
  }

  private static List<Object> map(Object value, List<Object> arguments, Map<String, Object> named) {
    List<Object> out = new ArrayList<>();
    Object attribute = named.get("attribute");
    for (Object item : sequence(value)) {
      if (attribute == null) {
        out.add(
            apply(
                Values.string(arguments.getFirst()),
                item,
                arguments.subList(1, arguments.size()),
                named));
      } else {
        Object found = Methods.attribute(item, Values.string(attribute));
        out.add(
            found instanceof Undefined && named.containsKey("default")
                ? named.get("default")
                : found);
      }
    }
    return out;
  }

  /// As these filters have it, nothing is an empty list.
  private static List<Object> sequence(Object value) {
    return Values.truth(value) ? Values.list(value) : List.of();
  }

  private static List<Object> keep(Object value, Predicate<Object> wanted) {
    return sequence(value).stream().filter(wanted).collect(Collectors.toCollection(ArrayList::new));
  }

  private static Object attribute(Object item, List<Object> arguments) {
    return Methods.attribute(item, Values.string(arguments.getFirst()));
  }

  private static boolean tested(Object value, List<Object> arguments, int at) {
    return arguments.size() <= at
        ? Values.truth(value)
        : Tests.test(
            Values.string(arguments.get(at)), value, arguments.subList(at + 1, arguments.size()));
  }

  private static Object reversed(Object value) {
    return value instanceof String s
        ? new StringBuilder(s).reverse().toString()
        : Values.list(value).reversed();
  }

  private static Object toInteger(Object value, @Nullable Object fallback) {
    try {
      return switch (value) {
        case String s -> (long) Double.parseDouble(s.strip());
        case Double d -> d.longValue();
        default -> Values.integer(value);
      };
    } catch (NumberFormatException e) {
      return fallback == null ? 0L : fallback; // as Jinja has it
    }
  }

  private static Object toFloat(Object value) {
    try {
      return value instanceof String s ? Double.parseDouble(s.strip()) : Values.asDouble(value);
    } catch (NumberFormatException e) {
      return 0.0; // as Jinja has it
    }
  }

  private static Object round(Object value, @Nullable Object precision) {
    double scale = Math.pow(10, precision == null ? 0 : Values.asDouble(precision));
    return Math.rint(Values.asDouble(value) * scale) / scale;
  }

  private static String escape(String text) {
    Map<String, String> entities = new LinkedHashMap<>();
    entities.put("&", "&amp;");
    entities.put("<", "&lt;");
    entities.put(">", "&gt;");
    entities.put("'", "&#39;");
    entities.put("\"", "&#34;");
    String escaped = text;
    for (Map.Entry<String, String> entity : entities.entrySet()) {
      escaped = escaped.replace(entity.getKey(), entity.getValue());
    }
    return escaped;
  }

  static String capitalize(String s) {
    return s.isEmpty()
        ? s
        : s.substring(0, 1).toUpperCase(Locale.ROOT) + s.substring(1).toLowerCase(Locale.ROOT);
  }

  static String title(String s) {
    StringBuilder out = new StringBuilder();
    boolean start = true;
    for (int i = 0; i < s.length(); i++) {
      char c = s.charAt(i);
      out.append(start ? Character.toUpperCase(c) : Character.toLowerCase(c));
      start = !Character.isLetter(c);
    }
    return out.toString();
  }
}
