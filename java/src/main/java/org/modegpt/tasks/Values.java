package org.modegpt.tasks;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/// The values templates work with, with the meaning they have in Python: texts, whole numbers
/// (Long), numbers (Double), truth values, lists, maps and None (null).
final class Values {
  private Values() {}

  /// A name or member that is not there. Only `is defined` and `default` may look at it.
  record Undefined(String what) {}

  static @Nullable Object of(JsonNode node) {
    if (node.isObject()) {
      Map<String, @Nullable Object> map = new LinkedHashMap<>();
      node.properties().forEach(e -> map.put(e.getKey(), of(e.getValue())));
      return map;
    }
    if (node.isArray()) {
      List<@Nullable Object> list = new ArrayList<>();
      node.values().forEach(v -> list.add(of(v)));
      return list;
    }
    if (node.isString()) {
      return node.stringValue();
    }
    if (node.isBoolean()) {
      return node.booleanValue();
    }
    if (node.isIntegralNumber()) {
      return node.longValue();
    }
    return node.isNumber() ? node.doubleValue() : null;
  }

  static boolean truth(@Nullable Object value) {
    return switch (defined(value)) {
      case null -> false;
      case Boolean b -> b;
      case Long l -> l != 0;
      case Double d -> d != 0;
      case String s -> !s.isEmpty();
      case List<?> l -> !l.isEmpty();
      case Map<?, ?> m -> !m.isEmpty();
      default -> true;
    };
  }

  static @Nullable Object defined(@Nullable Object value) {
    if (value instanceof Undefined missing) {
      throw new TemplateException(missing.what());
    }
    return value;
  }

  /// As `str()` writes it.
  static String text(@Nullable Object value) {
    return defined(value) instanceof String s ? s : representation(value);
  }

  private static String representation(@Nullable Object value) {
    return switch (value) {
      case null -> "None";
      case Boolean b -> b ? "True" : "False";
      case Double d -> decimal(d);
      case String s -> quoted(s);
      case List<?> l ->
          l.stream().map(Values::representation).collect(Collectors.joining(", ", "[", "]"));
      case Map<?, ?> m ->
          m.entrySet().stream()
              .map(e -> representation(e.getKey()) + ": " + representation(e.getValue()))
              .collect(Collectors.joining(", ", "{", "}"));
      default -> value.toString();
    };
  }

  private static String quoted(String s) {
    char quote = s.contains("'") && !s.contains("\"") ? '"' : '\'';
    String escaped = s.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t");
    return quote + (quote == '\'' ? escaped.replace("'", "\\'") : escaped) + quote;
  }

  private static String decimal(double d) {
    double size = Math.abs(d);
    if (d == Math.rint(d) && size < 1e16) {
      return "%d.0".formatted((long) d);
    }
    return size >= 1e-4 && size < 1e16
        ? new java.math.BigDecimal(Double.toString(d)).toPlainString()
        : Double.toString(d).replace("E-", "e-").replace("E", "e+");
  }

  static boolean equal(@Nullable Object a, @Nullable Object b) {
    defined(a);
    defined(b);
    if (isNumber(a) && isNumber(b)) {
      return number(a) == number(b);
    }
    return Objects.equals(a, b);
  }

  static int compare(@Nullable Object a, @Nullable Object b) {
    if (isNumber(defined(a)) && isNumber(defined(b))) {
      return Double.compare(number(a), number(b));
    }
    if (a instanceof String x && b instanceof String y) {
      return x.compareTo(y);
    }
    throw new TemplateException("cannot compare " + kind(a) + " with " + kind(b));
  }

  static boolean isNumber(@Nullable Object value) {
    return value instanceof Long || value instanceof Double || value instanceof Boolean;
  }

  static double number(@Nullable Object value) {
    return switch (defined(value)) {
      case Long l -> l;
      case Double d -> d;
      case Boolean b -> b ? 1 : 0;
      case null, default -> throw new TemplateException(kind(value) + " is no number");
    };
  }

  static int index(@Nullable Object value) {
    if (defined(value) instanceof Long || value instanceof Boolean) {
      return (int) number(value);
    }
    throw new TemplateException(kind(value) + " cannot be an index");
  }

  static List<?> list(@Nullable Object value) {
    return switch (defined(value)) {
      case List<?> l -> l;
      case Map<?, ?> m -> List.copyOf(m.keySet());
      case String s -> s.codePoints().mapToObj(Character::toString).toList();
      case null, default -> throw new TemplateException(kind(value) + " is no list");
    };
  }

  /// What a value is, for messages.
  static String kind(@Nullable Object value) {
    return switch (value) {
      case null -> "None";
      case String s -> "the text " + quoted(s.length() > 40 ? s.substring(0, 40) + "..." : s);
      case Long l -> "the number " + l;
      case Double d -> "the number " + decimal(d);
      case Boolean b -> representation(b);
      case List<?> l -> "a list of " + l.size();
      case Map<?, ?> m -> "an object with " + String.join(", ", keys(m));
      case Undefined u -> u.what();
      default -> value.getClass().getSimpleName();
    };
  }

  static List<String> keys(Map<?, ?> map) {
    return map.keySet().stream().map(String::valueOf).toList();
  }
}
