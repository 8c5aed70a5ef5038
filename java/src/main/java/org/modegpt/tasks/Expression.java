package org.modegpt.tasks;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// A Jinja expression: evaluated with the fields of an item.
interface Expression {
  /// Against templates that fill the memory.
  int LONGEST_TEXT = 10_000_000;

  @Nullable Object value(Map<String, ? extends @Nullable Object> names);

  static Expression constant(@Nullable Object value) {
    return _ -> value;
  }

  static Expression name(String name) {
    return names ->
        names.containsKey(name)
            ? names.get(name)
            : new Values.Undefined(
                "there is no field '%s'; there are: %s"
                    .formatted(name, String.join(", ", names.keySet())));
  }

  static Expression list(List<Expression> items) {
    return names -> {
      List<@Nullable Object> list = new ArrayList<>();
      items.forEach(item -> list.add(Values.defined(item.value(names))));
      return list;
    };
  }

  static Expression map(Map<Expression, Expression> entries) {
    return names -> {
      Map<String, @Nullable Object> map = new LinkedHashMap<>();
      entries.forEach((k, v) -> map.put(Values.text(k.value(names)), v.value(names)));
      return map;
    };
  }

  /// `object.key` or `object[key]`.
  static Expression member(Expression object, Expression key) {
    return names -> member(Values.defined(object.value(names)), Values.defined(key.value(names)));
  }

  private static @Nullable Object member(@Nullable Object object, @Nullable Object key) {
    if (object instanceof Map<?, ?> map) {
      String name = Values.text(key);
      return map.containsKey(name)
          ? map.get(name)
          : new Values.Undefined(Values.kind(object) + " has no '" + name + "'");
    }
    if (!(key instanceof Long) && !(key instanceof Boolean)) {
      return new Values.Undefined(Values.kind(object) + " has no '" + Values.text(key) + "'");
    }
    List<?> list = Values.list(object);
    int index = Values.index(key);
    int at = index < 0 ? list.size() + index : index;
    return at >= 0 && at < list.size()
        ? list.get(at)
        : new Values.Undefined(Values.kind(object) + " has no element " + index);
  }

  /// `object[from:to:step]`; null parts are the defaults.
  static Expression slice(
      Expression object,
      @Nullable Expression from,
      @Nullable Expression to,
      @Nullable Expression step) {
    return names -> {
      Object whole = Values.defined(object.value(names));
      List<?> list = Values.list(whole);
      int size = list.size();
      int by = step == null ? 1 : Values.index(step.value(names));
      if (by == 0) {
        throw new TemplateException("a slice cannot have the step 0");
      }
      int start = bound(from, names, size, by > 0 ? 0 : size - 1, by > 0 ? 0 : -1);
      int end = bound(to, names, size, by > 0 ? size : -1, by > 0 ? 0 : -1);
      List<@Nullable Object> part = new ArrayList<>();
      for (int i = start; by > 0 ? i < end : i > end; i += by) {
        part.add(list.get(i));
      }
      if (whole instanceof String) {
        StringBuilder text = new StringBuilder();
        part.forEach(text::append);
        return text.toString();
      }
      return part;
    };
  }

  private static int bound(
      @Nullable Expression bound,
      Map<String, ? extends @Nullable Object> names,
      int size,
      int otherwise,
      int least) {
    Object given = bound == null ? null : Values.defined(bound.value(names));
    if (given == null) {
      return otherwise;
    }
    int index = Values.index(given);
    return Math.clamp(index < 0 ? size + index : index, least, least < 0 ? size - 1 : size);
  }

  static Expression binary(String operator, Expression left, Expression right) {
    return names -> {
      Object a = left.value(names);
      return switch (operator) {
        case "and" -> Values.truth(a) ? right.value(names) : a;
        case "or" -> Values.truth(a) ? a : right.value(names);
        default -> operate(operator, Values.defined(a), Values.defined(right.value(names)));
      };
    };
  }

  private static @Nullable Object operate(String operator, @Nullable Object a, @Nullable Object b) {
    return switch (operator) {
      case "==" -> Values.equal(a, b);
      case "!=" -> !Values.equal(a, b);
      case "<" -> Values.compare(a, b) < 0;
      case "<=" -> Values.compare(a, b) <= 0;
      case ">" -> Values.compare(a, b) > 0;
      case ">=" -> Values.compare(a, b) >= 0;
      case "in" -> contains(b, a);
      case "not in" -> !contains(b, a);
      case "~" -> Values.text(a) + Values.text(b);
      default -> arithmetic(operator, a, b);
    };
  }

  private static boolean contains(@Nullable Object container, @Nullable Object value) {
    return container instanceof String text
        ? text.contains(Values.text(value))
        : Values.list(container).stream().anyMatch(v -> Values.equal(v, value));
  }

  private static Object arithmetic(String operator, @Nullable Object a, @Nullable Object b) {
    if (operator.equals("+") && a instanceof String x && b instanceof String y) {
      return x + y;
    }
    if (operator.equals("+") && a instanceof List<?> x && b instanceof List<?> y) {
      List<@Nullable Object> both = new ArrayList<>(x);
      both.addAll(y);
      return both;
    }
    if (operator.equals("*") && a instanceof String x && b instanceof Long n) {
      long length = x.length() * Math.max(0, n);
      if (length > LONGEST_TEXT) {
        throw new TemplateException("a text of " + length + " characters is too long");
      }
      return x.repeat((int) Math.max(0, n));
    }
    if (!Values.isNumber(a) || !Values.isNumber(b)) {
      throw new TemplateException(
          "cannot work out " + Values.kind(a) + " " + operator + " " + Values.kind(b));
    }
    double x = Values.number(a);
    double y = Values.number(b);
    if (y == 0 && (operator.equals("/") || operator.equals("//") || operator.equals("%"))) {
      throw new TemplateException("division by zero");
    }
    double result =
        switch (operator) {
          case "+" -> x + y;
          case "-" -> x - y;
          case "*" -> x * y;
          case "/" -> x / y;
          case "//" -> Math.floor(x / y);
          case "%" -> x - y * Math.floor(x / y);
          case "**" -> Math.pow(x, y);
          default -> throw new TemplateException("unknown operator " + operator);
        };
    boolean whole = !(a instanceof Double) && !(b instanceof Double) && !operator.equals("/");
    return whole && result == Math.rint(result) ? (Object) (long) result : (Object) result;
  }
}
