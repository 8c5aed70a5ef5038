package org.modegpt.jinja;

import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.BiPredicate;
import java.util.function.Predicate;

/// What can stand after `is`.
final class Tests {
  /// By name: a value and the test's arguments.
  static final Map<String, BiPredicate<Object, Arguments>> ALL = all();

  private Tests() {}

  private static Map<String, BiPredicate<Object, Arguments>> all() {
    Map<String, Predicate<Object>> alone =
        Map.ofEntries(
            Map.entry("none", v -> v instanceof None),
            Map.entry("string", v -> v instanceof String),
            Map.entry("boolean", v -> v instanceof Boolean),
            Map.entry("integer", v -> v instanceof Long),
            Map.entry("float", v -> v instanceof Double),
            Map.entry("number", Values::isNumber),
            Map.entry("mapping", v -> v instanceof Map),
            Map.entry("sequence", Tests::iterable),
            Map.entry("iterable", Tests::iterable),
            Map.entry("callable", v -> v instanceof Function),
            Map.entry("true", v -> v.equals(true)),
            Map.entry("false", v -> v.equals(false)),
            Map.entry("odd", v -> Math.floorMod(Values.integer(v), 2) == 1),
            Map.entry("even", v -> Math.floorMod(Values.integer(v), 2) == 0),
            Map.entry("lower", v -> Values.string(v).equals(lower(v))),
            Map.entry("upper", v -> Values.string(v).equals(upper(v))));
    Map<String, BiPredicate<Object, Object>> against =
        Map.ofEntries(
            Map.entry("divisibleby", (v, o) -> Values.integer(v) % Values.integer(o) == 0),
            Map.entry("sameas", Object::equals),
            Map.entry("in", (v, o) -> Operators.contains(o, v)));
    Map<String, BiPredicate<Object, Arguments>> all = new TreeMap<>();
    all.put("defined", (v, _) -> !(v instanceof Undefined));
    all.put("undefined", (v, _) -> v instanceof Undefined);
    alone.forEach((name, test) ->
        all.put(name, (v, _) -> test.test(v instanceof Undefined u ? u.instead(v) : v)));
    against.forEach((name, test) -> all.put(name, (v, a) -> test.test(v, a.require(0, "other"))));
    Map.of(
            "==", List.of("eq", "equalto", "=="),
            "!=", List.of("ne"),
            "<", List.of("lt", "lessthan"),
            ">", List.of("gt", "greaterthan"),
            "<=", List.of("le"),
            ">=", List.of("ge"))
        .forEach((operator, names) ->
            names.forEach(name ->
                all.put(
                    name,
                    (v, a) ->
                        Values.truth(Operators.of(operator).apply(v, a.require(0, "other"))))));
    return all;
  }

  private static boolean iterable(Object value) {
    return value instanceof List || value instanceof Map || value instanceof String;
  }

  private static String lower(Object value) {
    return Values.string(value).toLowerCase(Locale.ROOT);
  }

  private static String upper(Object value) {
    return Values.string(value).toUpperCase(Locale.ROOT);
  }
}
