package org.modegpt.jinja;

import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/// Python's values. A value is a String, Long, Double, Boolean, List, Map, {@link None}, {@link
/// Function}, or {@link Undefined}.
public final class Values {
  private static final int SHOWN = 40;

  private Values() {}

  /// The value for a Java object; lists and maps are copied, for templates can change theirs.
  static Object of(@Nullable Object object) {
    return switch (object) {
      case null -> None.NONE;
      case Integer i -> (long) i;
      case Float f -> (double) f;
      case List<?> list -> {
        List<Object> copy = new ArrayList<>();
        list.forEach(item -> copy.add(of(item)));
        yield copy;
      }
      case Map<?, ?> map -> {
        Map<Object, Object> copy = new LinkedHashMap<>();
        map.forEach((key, value) -> copy.put(of(key), of(value)));
        yield copy;
      }
      default -> object;
    };
  }

  static Object defined(Object value) {
    if (value instanceof Undefined missing) {
      throw new TemplateException(missing.what());
    }
    return value;
  }

  static boolean truth(Object value) {
    return switch (value) {
      case Boolean b -> b;
      case Long n -> n != 0;
      case Double d -> d != 0;
      case String s -> !s.isEmpty();
      case List<?> list -> !list.isEmpty();
      case Map<?, ?> map -> !map.isEmpty();
      case Undefined missing -> missing.instead(false);
      default -> !(value instanceof None);
    };
  }

  /// As `{{ }}` prints it.
  ///
  /// @throws TemplateException for what is not there
  public static String text(Object value) {
    return switch (value) {
      case String s -> s;
      case Undefined missing -> missing.instead("");
      default -> representation(value);
    };
  }

  private static String representation(Object value) {
    return switch (value) {
      case String s -> quoted(s);
      case Boolean b -> b ? "True" : "False";
      case Double d -> decimal(d);
      case List<?> list ->
          list.stream().map(Values::representation).collect(Collectors.joining(", ", "[", "]"));
      case Map<?, ?> map ->
          map.entrySet().stream()
              .map(e -> representation(e.getKey()) + ": " + representation(e.getValue()))
              .collect(Collectors.joining(", ", "{", "}"));
      case Undefined missing -> missing.instead("Undefined");
      case Function _, Namespace _ -> throw unsuited("a value to print", value);
      default -> value.toString();
    };
  }

  private static String quoted(String s) {
    char quote = s.contains("'") && !s.contains("\"") ? '"' : '\'';
    String escaped = s.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t");
    return quote + (quote == '\'' ? escaped.replace("'", "\\'") : escaped) + quote;
  }

  /// As Python writes it: with a point up to 1e16, `1e-05` below 1e-4.
  private static String decimal(double d) {
    double size = Math.abs(d);
    if (!Double.isFinite(d)) {
      return Double.isNaN(d) ? "nan" : d > 0 ? "inf" : "-inf";
    }
    if (size == 0 || (size >= 1e-4 && size < 1e16)) {
      String plain = new BigDecimal(Double.toString(d)).toPlainString();
      return plain.contains(".") ? plain : plain + ".0";
    }
    return Double.toString(d)
        .replaceFirst("\\.0E", "E")
        .replaceFirst("E(\\d)", "e+$1")
        .replace("E-", "e-")
        .replaceFirst("e([-+])(\\d)$", "e$10$2");
  }

  /// What a value is, for messages.
  public static String kind(Object value) {
    return switch (value) {
      case String s -> "the text " + quoted(s.length() > SHOWN ? s.substring(0, SHOWN) + "..." : s);
      case Long n -> "the number " + n;
      case Double d -> "the number " + decimal(d);
      case List<?> list -> "a list of " + list.size();
      case Map<?, ?> map ->
          "an object with "
              + map.keySet().stream().map(String::valueOf).collect(Collectors.joining(", "));
      case Undefined missing -> missing.what();
      case Function _ -> "a function";
      case Namespace _ -> "a namespace";
      default -> text(value);
    };
  }

  static TemplateException unsuited(String wanted, Object value) {
    return new TemplateException(
        value instanceof Undefined missing
            ? missing.what()
            : wanted + " is wanted, not " + kind(value));
  }

  /// The elements of a list, the keys of a map, the characters of a text.
  ///
  /// @throws TemplateException for anything else
  public static List<Object> list(Object value) {
    return switch (value) {
      case List<?> list -> new ArrayList<>(list);
      case Map<?, ?> map -> new ArrayList<>(map.keySet());
      case String s -> new ArrayList<>(s.codePoints().mapToObj(Character::toString).toList());
      case Undefined missing -> missing.instead(new ArrayList<>());
      default -> throw unsuited("a list", value);
    };
  }

  static long length(Object value) {
    return value instanceof String s ? s.codePointCount(0, s.length()) : list(value).size();
  }

  static long integer(Object value) {
    return switch (value) {
      case Long n -> n;
      case Boolean b -> b ? 1 : 0;
      default -> throw unsuited("a whole number", value);
    };
  }

  static String string(Object value) {
    if (value instanceof String s) {
      return s;
    }
    throw unsuited("a text", value);
  }

  static boolean isNumber(Object value) {
    return value instanceof Long || value instanceof Double || value instanceof Boolean;
  }

  /// A number or truth value as a number.
  ///
  /// @throws TemplateException for anything else
  public static double number(Object value) {
    return switch (value) {
      case Double d -> d;
      case Long n -> n;
      case Boolean b -> b ? 1 : 0;
      default -> throw unsuited("a number", value);
    };
  }

  static boolean equal(Object a, Object b) {
    if (a instanceof Undefined || b instanceof Undefined) {
      boolean both = a instanceof Undefined && b instanceof Undefined;
      return (a instanceof Undefined missing ? missing : (Undefined) b).instead(both);
    }
    if (isNumber(a) && isNumber(b)) {
      return number(a) == number(b);
    }
    if (a instanceof List<?> x && b instanceof List<?> y) {
      if (x.size() != y.size()) {
        return false;
      }
      for (int i = 0; i < x.size(); i++) {
        if (!equal(x.get(i), y.get(i))) {
          return false;
        }
      }
      return true;
    }
    return Objects.equals(a, b);
  }

  static int compare(Object a, Object b) {
    if (a instanceof String x && b instanceof String y) {
      return x.compareTo(y);
    }
    if (isNumber(a) && isNumber(b)) {
      return Double.compare(number(a), number(b));
    }
    throw new TemplateException("cannot compare " + kind(defined(a)) + " with " + kind(defined(b)));
  }
}
