package org.modegpt.jinja;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.BinaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/// What operators, subscripts and slices do, as in Python.
final class Operators {
  /// Characters of a text and elements of a list that a template makes, against those that fill the
  /// memory.
  static final long LONGEST_TEXT = 10_000_000;

  static final long LONGEST_LIST = 1_000_000;

  private static final Pattern FORMAT = Pattern.compile("%(-?\\d*)([sdi%])");

  private Operators() {}

  /// The operator with two sides that is written so; not `and` and `or`, which may leave out one.
  static BinaryOperator<Object> of(String operator) {
    return switch (operator) {
      case "==" -> Values::equal;
      case "!=" -> (a, b) -> !Values.equal(a, b);
      case "<" -> (a, b) -> Values.compare(a, b) < 0;
      case ">" -> (a, b) -> Values.compare(a, b) > 0;
      case "<=" -> (a, b) -> Values.compare(a, b) <= 0;
      case ">=" -> (a, b) -> Values.compare(a, b) >= 0;
      case "in" -> (a, b) -> contains(b, a);
      case "not in" -> (a, b) -> !contains(b, a);
      case "~" -> (a, b) -> joined(Values.text(a), Values.text(b));
      case "+" -> Operators::add;
      case "*" ->
          (a, b) ->
              a instanceof String || a instanceof List
                  ? repeated(a, Values.integer(b))
                  : arithmetic("*", a, b);
      case "%" ->
          (a, b) ->
              a instanceof String format
                  ? format(format, b instanceof List<?> l ? l : List.of(b))
                  : arithmetic("%", a, b);
      default -> (a, b) -> arithmetic(operator, a, b);
    };
  }

  static boolean contains(Object container, Object value) {
    return switch (container) {
      case String s -> s.contains(Values.string(value));
      case Map<?, ?> map -> map.containsKey(Values.defined(value));
      default -> Values.list(container).stream().anyMatch(item -> Values.equal(item, value));
    };
  }

  private static String joined(String a, String b) {
    requireLength((long) a.length() + b.length(), LONGEST_TEXT);
    return a + b;
  }

  private static void requireLength(long length, long most) {
    if (length > most) {
      throw new TemplateException("a text or list of " + length + " elements is too long");
    }
  }

  static Object add(Object a, Object b) {
    if (a instanceof String x && b instanceof String y) {
      return joined(x, y);
    }
    if (a instanceof List<?> x && b instanceof List<?> y) {
      requireLength((long) x.size() + y.size(), LONGEST_LIST);
      List<Object> both = new ArrayList<>(x);
      both.addAll(y);
      return both;
    }
    return arithmetic("+", a, b);
  }

  static Object arithmetic(String operator, Object a, Object b) {
    if (!Values.isNumber(Values.defined(a)) || !Values.isNumber(Values.defined(b))) {
      throw new TemplateException(
          "cannot work out " + Values.kind(a) + " " + operator + " " + Values.kind(b));
    }
    double x = Values.number(a);
    double y = Values.number(b);
    if (y == 0 && List.of("/", "//", "%").contains(operator)) {
      throw new TemplateException("division by zero");
    }
    boolean whole = !(a instanceof Double) && !(b instanceof Double);
    try {
      return whole && !operator.equals("/") && !(operator.equals("**") && y < 0)
          ? (Object) whole(operator, Values.integer(a), Values.integer(b))
          : (Object) decimal(operator, x, y);
    } catch (ArithmeticException e) {
      throw new TemplateException(
          "the number " + x + " " + operator + " " + y + " is too large", e);
    }
  }

  private static long whole(String operator, long m, long n) {
    return switch (operator) {
      case "+" -> Math.addExact(m, n);
      case "-" -> Math.subtractExact(m, n);
      case "*" -> Math.multiplyExact(m, n);
      case "%" -> Math.floorMod(m, n);
      case "//" -> Math.floorDivExact(m, n);
      default -> Math.powExact(m, Math.toIntExact(n));
    };
  }

  private static double decimal(String operator, double x, double y) {
    return switch (operator) {
      case "+" -> x + y;
      case "-" -> x - y;
      case "*" -> x * y;
      case "/" -> x / y;
      case "%" -> x - y * Math.floor(x / y);
      case "//" -> Math.floor(x / y);
      default -> Math.pow(x, y);
    };
  }

  private static Object repeated(Object value, long times) {
    long wanted = Math.clamp(times, 0, LONGEST_TEXT + 1);
    if (value instanceof String s) {
      requireLength(wanted * s.length(), LONGEST_TEXT);
      return s.repeat((int) wanted);
    }
    List<Object> once = Values.list(value);
    requireLength(wanted * Math.max(1, once.size()), LONGEST_LIST);
    List<Object> all = new ArrayList<>();
    for (long i = 0; i < wanted; i++) {
      all.addAll(once);
    }
    return all;
  }

  /// Python's `format % values`, for texts and whole numbers.
  private static String format(String format, List<?> values) {
    Matcher m = FORMAT.matcher(format);
    StringBuilder out = new StringBuilder();
    int at = 0;
    while (m.find()) {
      String text = "%";
      if (!m.group(2).equals("%")) {
        if (at >= values.size()) {
          throw new TemplateException("'" + format + "' wants more values than it has");
        }
        text = Values.text(values.get(at++));
      }
      String width = m.group(1);
      m.appendReplacement(
          out,
          Matcher.quoteReplacement(
              width.isEmpty() || width.equals("-") ? text : ("%" + width + "s").formatted(text)));
    }
    return m.appendTail(out).toString();
  }

  /// `value[index]`.
  static Object item(Object value, Object index) {
    Values.defined(index);
    if (value instanceof Map<?, ?> map) {
      Object found = map.get(index);
      return found == null ? missing(value, index) : found;
    }
    Values.defined(value);
    if (!(index instanceof Long i) || !(value instanceof List || value instanceof String)) {
      return missing(value, index);
    }
    List<Object> items = Values.list(value);
    long at = i < 0 ? i + items.size() : i;
    return at >= 0 && at < items.size()
        ? items.get((int) at)
        : new Undefined(Values.kind(value) + " has no element " + i);
  }

  static Undefined missing(Object value, Object member) {
    return new Undefined(Values.kind(value) + " has no '" + Values.text(member) + "'");
  }

  /// `value[from:to:step]`; null where a part is left out.
  static Object slice(Object value, @Nullable Object from, @Nullable Object to, long step) {
    if (value instanceof Map) {
      throw Values.unsuited("a text or list to slice", value);
    }
    List<Object> items = Values.list(value);
    int size = items.size();
    if (step == 0) {
      throw new TemplateException("a slice cannot have the step 0");
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
    long i = Values.integer(index);
    long at = i < 0 ? i + size : i;
    return step > 0 ? Math.clamp(at, 0, size) : Math.clamp(at, -1, size - 1);
  }
}
