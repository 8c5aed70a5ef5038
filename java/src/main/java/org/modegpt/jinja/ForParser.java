package org.modegpt.jinja;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/// Parses `for` loops: `{% for a, b in list if condition %} ... {% else %} ... {% endfor %}`.
final class ForParser {
  /// How `break` and `continue` leave a body.
  static final class Jump extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /// Whether the loop goes on.
    private final boolean further;

    Jump(boolean further) {
      super(null, null, false, false);
      this.further = further;
    }
  }

  private final Tokens tokens;
  private final ExpressionParser expressions;
  private final Supplier<Node> body;

  ForParser(Tokens tokens, ExpressionParser expressions, Supplier<Node> body) {
    this.tokens = tokens;
    this.expressions = expressions;
    this.body = body;
  }

  /// Parses what follows the word `for`.
  Node parse() {
    List<String> names = new ArrayList<>();
    boolean bracket = tokens.take("(");
    do {
      names.add(tokens.name());
    } while (tokens.take(","));
    if (bracket) {
      tokens.expect(")");
    }
    tokens.expect("in");
    Expression items = expressions.or();
    Expression condition = tokens.take("if") ? expressions.expression() : null;
    tokens.end();
    Node each = body.get();
    Node none = (_, _) -> {};
    if (tokens.second().isName("else")) {
      Parser.end(tokens, "else");
      none = body.get();
    }
    Parser.end(tokens, "endfor");
    Node otherwise = none;
    return (scope, out) -> {
      List<Object> chosen = chosen(scope, names, items, condition);
      if (chosen.isEmpty()) {
        otherwise.render(scope, out);
      }
      run(scope, out, names, chosen, each);
    };
  }

  private static List<Object> chosen(
      Scope scope, List<String> names, Expression items, @Nullable Expression condition) {
    List<Object> all = Values.list(items.value(scope));
    if (condition == null) {
      return all;
    }
    return all.stream()
        .filter(item -> {
          Scope inner = new Scope(scope);
          Parser.assign(inner, names, item);
          return Values.truth(condition.value(inner));
        })
        .toList();
  }

  private static void run(
      Scope scope, StringBuilder out, List<String> names, List<Object> items, Node each) {
    for (int i = 0; i < items.size(); i++) {
      scope.turn();
      if (out.length() > Operators.LONGEST_TEXT) {
        throw new TemplateException("what the template gives is too long");
      }
      Scope inner = new Scope(scope);
      Parser.assign(inner, names, items.get(i));
      inner.set("loop", loop(items, i));
      try {
        each.render(inner, out);
      } catch (Jump jump) {
        if (!jump.further) {
          return;
        }
      }
    }
  }

  private static Map<Object, Object> loop(List<Object> items, int i) {
    int size = items.size();
    Map<Object, Object> loop = new LinkedHashMap<>();
    loop.put("index", (long) i + 1);
    loop.put("index0", (long) i);
    loop.put("revindex", (long) size - i);
    loop.put("revindex0", (long) size - i - 1);
    loop.put("first", i == 0);
    loop.put("last", i == size - 1);
    loop.put("length", (long) size);
    loop.put("previtem", i > 0 ? items.get(i - 1) : new Undefined("there is no item before"));
    loop.put("nextitem", i < size - 1 ? items.get(i + 1) : new Undefined("there is no item after"));
    loop.put("cycle", (Function) a -> a.require(i % Math.max(1, a.values().size()), "cycle"));
    return loop;
  }
}
