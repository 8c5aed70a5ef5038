package org.modegpt.chat.jinja;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/// Python's values and operations. A value is a String, Long, Double, Boolean, List, Map, {@link
/// Function}, {@link Undefined}, or {@link None}.
final class Values {
  private Values() {}

  /// The value for a Java object.
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

  static boolean truth(Object value) {
    return switch (value) {
      case Boolean b -> b;
      case Long n -> n != 0;
      case Double d -> d != 0;
      case String s -> !s.isEmpty();
      case List<?> list -> !list.isEmpty();
      case Map<?, ?> map -> !map.isEmpty();
      default -> !(value instanceof None) && !(value instanceof Undefined);
    };
  }

  /// As `{{ }}` prints it.
  static String text(Object value) {
    return switch (value) {
      case String s -> s;
      case Undefined _ -> "";
      default -> representation(value);
    };
  }

  private static String representation(Object value) {
    return switch (value) {
      case String s -> quoted(s);
      case Boolean b -> b ? "True" : "False";
      case List<?> list ->
          "[" + String.join(", ", list.stream().map(Values::representation).toList()) + "]";
      case Map<?, ?> map ->
          "{"
              + String.join(
                  ", ",
                  map.entrySet().stream()
                      .map(e -> representation(e.getKey()) + ": " + representation(e.getValue()))
                      .toList())
              + "}";
      default -> value.toString();
    };
  }

  private static String quoted(String s) {
    char quote = s.contains("'") && !s.contains("\"") ? '"' : '\'';
    String escaped = s.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t");
    return quote + (quote == '\'' ? escaped.replace("'", "\\'") : escaped) + quote;
  }

  /// The elements of a list, the keys of a map, the characters of a text.
  static List<Object> list(Object value) {
    return switch (value) {
      case List<?> list -> new ArrayList<>(list);
      case Map<?, ?> map -> new ArrayList<>(map.keySet());
      case String s -> new ArrayList<>(s.codePoints().mapToObj(Character::toString).toList());
      case Undefined _ -> new ArrayList<>();
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

  static TemplateException unsuited(String wanted, Object value) {
    return new TemplateException(
        value instanceof Undefined u
            ? "the chat template needs '%s', which is not defined".formatted(u.name())
            : "the chat template needs %s, not %s".formatted(wanted, text(value)));
  }

  static boolean equal(Object a, Object b) {
    if (number(a) && number(b)) {
      return asDouble(a) == asDouble(b);
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
    return (a instanceof Undefined && b instanceof Undefined) || Objects.equals(a, b);
  }

  static boolean number(Object value) {
    return value instanceof Long || value instanceof Double || value instanceof Boolean;
  }

  static double asDouble(Object value) {
    return switch (value) {
      case Double d -> d;
      default -> (double) integer(value);
    };
  }

  static int compare(Object a, Object b) {
    if (a instanceof String x && b instanceof String y) {
      return x.compareTo(y);
    }
    return Double.compare(asDouble(a), asDouble(b));
  }

  static boolean contains(Object container, Object value) {
    return switch (container) {
      case String s -> s.contains(string(value));
      case Map<?, ?> map -> map.containsKey(value);
      default -> list(container).stream().anyMatch(item -> equal(item, value));
    };
  }

  static Object add(Object a, Object b) {
    if (a instanceof String x && b instanceof String y) {
      return x + y;
    }
    if (a instanceof List<?> x && b instanceof List<?> y) {
      List<Object> both = new ArrayList<>(x);
      both.addAll(y);
      return both;
    }
    if (!number(a) || !number(b)) {
      throw unsuited(
          "two texts, lists or numbers to add",
          a instanceof String && !(b instanceof String) ? b : a);
    }
    return arithmetic('+', a, b);
  }

  /// `+ - * / % //` (as `d`) and `**` (as `p`).
  static Object arithmetic(char operator, Object a, Object b) {
    if (operator == '*' && (a instanceof String || a instanceof List)) {
      return repeated(a, integer(b));
    }
    if (operator == '%' && a instanceof String format) {
      return Functions.format(format, b instanceof List<?> l ? l : List.of(b));
    }
    double x = asDouble(a);
    double y = asDouble(b);
    if (y == 0 && "/%d".indexOf(operator) >= 0) {
      throw new TemplateException("the chat template divides by 0");
    }
    if (operator == '/' || a instanceof Double || b instanceof Double) {
      return switch (operator) {
        case '+' -> x + y;
        case '-' -> x - y;
        case '*' -> x * y;
        case '/' -> x / y;
        case '%' -> x - y * Math.floor(x / y);
        case 'd' -> Math.floor(x / y);
        default -> Math.pow(x, y);
      };
    }
    long m = integer(a);
    long n = integer(b);
    return switch (operator) {
      case '+' -> m + n;
      case '-' -> m - n;
      case '*' -> m * n;
      case '%' -> Math.floorMod(m, n);
      case 'd' -> Math.floorDiv(m, n);
      default -> (long) Math.pow(x, y);
    };
  }

  private static Object repeated(Object value, long times) {
    long wanted = Math.max(0, times);
    if (wanted * Math.max(1, length(value)) > Functions.LARGEST) {
      throw new TemplateException("the chat template makes a value that is too large");
    }
    if (value instanceof String s) {
      return s.repeat((int) wanted);
    }
    List<Object> all = new ArrayList<>();
    for (long i = 0; i < wanted; i++) {
      all.addAll(list(value));
    }
    return all;
  }

  /// `value[index]`.
  static Object item(Object value, Object index) {
    if (value instanceof Map<?, ?> map) {
      Object found = map.get(index);
      return found == null ? new Undefined(text(index)) : found;
    }
    if (value instanceof Undefined) {
      throw unsuited("", value);
    }
    if (!(index instanceof Long i)) {
      return new Undefined(text(index));
    }
    List<Object> items = list(value);
    long at = i < 0 ? i + items.size() : i;
    return at >= 0 && at < items.size() ? items.get((int) at) : new Undefined("[" + i + "]");
  }

  /// `value[from:to:step]` with Python's rules; null where a part is left out.
  static Object slice(Object value, @Nullable Object from, @Nullable Object to, long step) {
    List<Object> items = list(value);
    int size = items.size();
    if (step == 0) {
      throw new TemplateException("the chat template has a slice with step 0");
    }
    long start = from == null ? (step > 0 ? 0 : size - 1) : bound(from, size, step);
    long end = to == null ? (step > 0 ? size : -1) : bound(to, size, step);
    List<Object> out = new ArrayList<>();
    for (long i = start; step > 0 ? i < end : i > end; i += step) {
      out.add(items.get((int) i));
    }
    return value instanceof String ? String.join("", out.stream().map(Values::text).toList()) : out;
  }

  private static long bound(Object index, int size, long step) {
    long i = integer(index);
    long at = i < 0 ? i + size : i;
    return step > 0 ? Math.clamp(at, 0, size) : Math.clamp(at, -1, size - 1);
  }
}
