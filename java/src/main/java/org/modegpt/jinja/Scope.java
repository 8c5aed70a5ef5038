package org.modegpt.jinja;

import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// Variables. What a loop or macro sets is gone after it; what is around it can be read.
final class Scope {
  /// Turns of all loops of a template together.
  private static final long MOST_TURNS = 10_000_000;

  private final @Nullable Scope outer;
  private final Scope outermost;
  private final Environment environment;
  private final Map<String, Object> variables = new LinkedHashMap<>();
  private long turns;

  Scope(Environment environment, Map<String, ?> variables) {
    this.outer = null;
    this.outermost = this;
    this.environment = environment;
    variables.forEach((name, value) -> set(name, Values.of(value)));
  }

  Scope(Scope outer) {
    this.outer = outer;
    this.outermost = outer.outermost;
    this.environment = outer.environment;
  }

  void set(String name, Object value) {
    variables.put(name, value);
  }

  Object get(String name) {
    for (Scope scope = this; scope != null; scope = scope.outer) {
      Object value = scope.variables.get(name);
      if (value != null) {
        return value;
      }
    }
    Function function = environment.functions().get(name);
    return function != null
        ? function
        : new Undefined(
            "there is no %s '%s'; there are: %s"
                .formatted(
                    environment.variable(), name, String.join(", ", outermost.variables.keySet())));
  }

  /// Counts a turn of a loop.
  void turn() {
    if (++outermost.turns > MOST_TURNS) {
      throw new TemplateException("the loops of the template are too long");
    }
  }
}
