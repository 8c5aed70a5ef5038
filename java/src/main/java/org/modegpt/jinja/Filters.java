package org.modegpt.jinja;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.BiPredicate;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/// Jinja's filters.
final class Filters {
  private static final Object EMPTY = new Undefined("the list is empty");

  private final Map<String, Filter> all = new LinkedHashMap<>();

  /// @param more filters that `map` can name besides
  Filters(Map<String, Filter> more) {
    texts();
    numbers();
    lists();
    all.put("default", Filters::fallback);
    all.put("d", Filters::fallback);
    all.put("tojson", (v, a) -> JsonText.of(v, a.get(0, "indent")));
    all.put("string", (v, _) -> Values.text(v));
    all.put("safe", (v, _) -> v);
    all.putAll(more);
  }

  Map<String, Filter> all() {
    return all;
  }

  private void texts() {
    all.put(
        "trim", (v, a) -> Methods.strip(Values.text(v), a.optionalText(0, "chars"), true, true));
    all.put("upper", (v, _) -> Values.text(v).toUpperCase(Locale.ROOT));
    all.put("lower", (v, _) -> Values.text(v).toLowerCase(Locale.ROOT));
    all.put("title", (v, _) -> title(Values.text(v)));
    all.put("capitalize", (v, _) -> capitalize(Values.text(v)));
    all.put("escape", (v, _) -> escape(Values.text(v)));
    all.put("e", (v, _) -> escape(Values.text(v)));
    all.put("replace", (v, a) -> replace(Values.text(v), a));
    all.put("indent", (v, a) -> indent(Values.text(v), a));
  }

  private void numbers() {
    all.put("int", (v, a) -> toInteger(v, a.or(0, "default", 0L)));
    all.put("float", (v, a) -> toFloat(v, a.or(0, "default", 0.0)));
    all.put("abs", (v, _) -> Values.number(v) < 0 ? Operators.arithmetic("-", 0L, v) : v);
    all.put("round", (v, a) -> round(v, a.or(0, "precision", 0L)));
  }

  private void lists() {
    all.put("length", (v, _) -> Values.length(v));
    all.put("count", (v, _) -> Values.length(v));
    all.put("list", (v, _) -> Values.list(v));
    all.put("first", (v, _) -> Operators.item(Values.list(v), 0L));
    all.put("last", (v, _) -> Operators.item(Values.list(v), -1L));
    all.put("reverse", (v, _) -> reversed(v));
    all.put("unique", (v, _) -> new ArrayList<>(new LinkedHashSet<>(Values.list(v))));
    all.put("join", (v, a) -> join(v, Values.text(a.or(0, "d", ""))));
    all.put("sum", (v, _) -> Values.list(v).stream().reduce(0L, Operators::add));
    all.put("min", (v, _) -> Values.list(v).stream().min(Values::compare).orElse(EMPTY));
    all.put("max", (v, _) -> Values.list(v).stream().max(Values::compare).orElse(EMPTY));
    all.put("items", (v, _) -> v instanceof Map<?, ?> map ? Methods.items(map) : List.of());
    all.put("dictsort", (v, _) -> sorted(all.get("items").apply(v, Arguments.NONE), 0L, false));
    all.put(
        "sort",
        (v, a) ->
            sorted(v, a.or(2, "attribute", None.NONE), Values.truth(a.or(0, "reverse", false))));
    all.put("map", this::map);
    all.put("select", (v, a) -> keep(v, test(a, 0)));
    all.put("reject", (v, a) -> keep(v, test(a, 0).negate()));
    all.put("selectattr", (v, a) -> keep(v, item -> test(a, 1).test(attribute(item, a))));
    all.put("rejectattr", (v, a) -> keep(v, item -> !test(a, 1).test(attribute(item, a))));
  }

  private static Object fallback(Object value, Arguments a) {
    boolean missing =
        value instanceof Undefined
            || (Values.truth(a.or(1, "boolean", false)) && !Values.truth(value));
    return missing ? a.or(0, "default_value", "") : value;
  }

  static String join(Object value, String separator) {
    return Values.list(value).stream().map(Values::text).collect(Collectors.joining(separator));
  }

  static String replace(String text, Arguments a) {
    String from = a.text(0, "old");
    String to = a.text(1, "new");
    Object count = a.get(2, "count");
    if (count == null) {
      return text.replace(from, to);
    }
    String result = text;
    int at = 0;
    for (long n = Values.integer(count); n > 0; n--) {
      int found = result.indexOf(from, at);
      if (found < 0) {
        break;
      }
      result = result.substring(0, found) + to + result.substring(found + from.length());
      at = found + to.length();
    }
    return result;
  }

  private static String indent(String text, Arguments a) {
    Object width = a.or(0, "width", 4L);
    boolean first = Values.truth(a.or(1, "first", false));
    boolean blank = Values.truth(a.or(2, "blank", false));
    String pad =
        width instanceof String s ? s : " ".repeat(Math.clamp(Values.integer(width), 0, 1000));
    String[] lines = text.split("\n", -1);
    for (int i = 0; i < lines.length; i++) {
      boolean padded = i == 0 ? first : blank || !lines[i].isBlank();
      lines[i] = padded ? pad + lines[i] : lines[i];
    }
    return String.join("\n", lines);
  }

  private static List<Object> sorted(Object items, Object attribute, boolean reverse) {
    Comparator<Object> order =
        Comparator.comparing(
            item -> attribute instanceof None ? item : Operators.item(item, attribute),
            Filters::ignoringCase);
    List<Object> copy = Values.list(items);
    copy.sort(reverse ? order.reversed() : order);
    return copy;
  }

  private static int ignoringCase(Object a, Object b) {
    return a instanceof String x && b instanceof String y
        ? x.toLowerCase(Locale.ROOT).compareTo(y.toLowerCase(Locale.ROOT))
        : Values.compare(a, b);
  }

  private List<Object> map(Object value, Arguments a) {
    Object attribute = a.named().get("attribute");
    if (attribute == null) {
      String name = a.text(0, "filter");
      Filter filter = all.get(name);
      if (filter == null) {
        throw OperandParser.unknown("filter", name, all);
      }
      return sequence(value).stream()
          .map(item -> filter.apply(item, a.after(1)))
          .collect(Collectors.toCollection(ArrayList::new));
    }
    List<Object> out = new ArrayList<>();
    for (Object item : sequence(value)) {
      Object found = Methods.attribute(item, Values.string(attribute), false);
      out.add(found instanceof Undefined ? a.named().getOrDefault("default", found) : found);
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

  private static Object attribute(Object item, Arguments a) {
    return Methods.attribute(item, a.text(0, "attribute"), false);
  }

  /// The test that is named at a place of the arguments, with those after it; else truth.
  private static Predicate<Object> test(Arguments a, int place) {
    if (a.values().size() <= place) {
      return Values::truth;
    }
    String name = a.text(place, "test");
    BiPredicate<Object, Arguments> test = Tests.ALL.get(name);
    if (test == null) {
      throw OperandParser.unknown("test", name, Tests.ALL);
    }
    return value -> test.test(value, a.after(place + 1));
  }

  private static Object reversed(Object value) {
    return value instanceof String s
        ? new StringBuilder(s).reverse().toString()
        : Values.list(value).reversed();
  }

  private static Object toInteger(Object value, Object fallback) {
    try {
      return switch (value) {
        case String s -> (long) Double.parseDouble(s.strip());
        case Double d -> d.longValue();
        case List<?> _, Map<?, ?> _ -> fallback; // as Jinja has it
        default -> Values.integer(value);
      };
    } catch (NumberFormatException e) {
      return fallback; // as Jinja has it
    }
  }

  private static Object toFloat(Object value, Object fallback) {
    try {
      return switch (value) {
        case String s -> Double.parseDouble(s.strip());
        case List<?> _, Map<?, ?> _ -> fallback;
        default -> Values.number(value);
      };
    } catch (NumberFormatException e) {
      return fallback; // as Jinja has it
    }
  }

  private static Object round(Object value, Object precision) {
    double scale = Math.pow(10, Values.number(precision));
    return Math.rint(Values.number(value) * scale) / scale;
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
