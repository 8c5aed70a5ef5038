package org.modegpt.chat.jinja;

import java.util.List;
import java.util.Locale;
import java.util.Map;

/// What can stand after `is`.
final class Tests {
  private Tests() {}

  static boolean test(String name, Object value, List<Object> arguments) {
    return switch (name) {
      case "defined" -> !(value instanceof Undefined);
      case "undefined" -> value instanceof Undefined;
      case "none" -> value instanceof None;
      case "string" -> value instanceof String;
      case "boolean" -> value instanceof Boolean;
      case "integer" -> value instanceof Long;
      case "float" -> value instanceof Double;
      case "number" -> Values.number(value);
      case "mapping" -> value instanceof Map;
      case "sequence", "iterable" ->
          value instanceof List || value instanceof Map || value instanceof String;
      case "callable" -> value instanceof Function;
      case "true" -> value.equals(true);
      case "false" -> value.equals(false);
      case "odd" -> Math.floorMod(Values.integer(value), 2) == 1;
      case "even" -> Math.floorMod(Values.integer(value), 2) == 0;
      case "lower" -> Values.string(value).equals(Values.string(value).toLowerCase(Locale.ROOT));
      case "upper" -> Values.string(value).equals(Values.string(value).toUpperCase(Locale.ROOT));
      case "divisibleby" -> Values.integer(value) % Values.integer(argument(name, arguments)) == 0;
      case "eq", "equalto", "==" -> Values.equal(value, argument(name, arguments));
      case "sameas" -> value.equals(argument(name, arguments));
      case "ne" -> !Values.equal(value, argument(name, arguments));
      case "lt", "lessthan" -> Values.compare(value, argument(name, arguments)) < 0;
      case "gt", "greaterthan" -> Values.compare(value, argument(name, arguments)) > 0;
      case "le" -> Values.compare(value, argument(name, arguments)) <= 0;
      case "ge" -> Values.compare(value, argument(name, arguments)) >= 0;
      case "in" -> Values.contains(argument(name, arguments), value);
      default ->
          throw new TemplateException("the chat template's test '" + name + "' is not supported");
    };
  }

  private static Object argument(String name, List<Object> arguments) {
    if (arguments.isEmpty()) {
      throw new TemplateException("the chat template's test '" + name + "' needs a value");
    }
    return arguments.getFirst();
  }
}
