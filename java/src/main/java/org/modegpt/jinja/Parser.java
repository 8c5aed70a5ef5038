package org.modegpt.jinja;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.modegpt.jinja.Token.Kind;

/// Parses statements.
final class Parser {
  private final Tokens tokens;
  private final ExpressionParser expressions;

  Parser(Tokens tokens, Environment environment) {
    this.tokens = tokens;
    this.expressions = new ExpressionParser(tokens, environment);
  }

  Node template() {
    Node body = body();
    if (!tokens.finished()) {
      throw tokens.error("unexpected");
    }
    return body;
  }

  /// Everything up to a statement that belongs to an enclosing one. Its `{%` is not taken.
  private Node body() {
    List<Node> nodes = new ArrayList<>();
    while (!tokens.finished()) {
      Token token = tokens.peek();
      if (token.kind() == Kind.TEXT) {
        nodes.add(new Node.Text(tokens.next().value()));
      } else if (token.value().equals("{{")) {
        tokens.next();
        Expression e = expressions.tuple();
        tokens.end();
        nodes.add(new Node.Output(e));
      } else {
        Node statement = statement();
        if (statement == null) {
          break;
        }
        nodes.add(statement);
      }
    }
    return Node.all(nodes);
  }

  private @Nullable Node statement() {
    String word = tokens.second().value();
    if (word.startsWith("end") || word.equals("else") || word.equals("elif")) {
      return null;
    }
    tokens.next();
    tokens.name();
    return switch (word) {
      case "if" -> ifStatement();
      case "for" -> new ForParser(tokens, expressions, this::body).parse();
      case "set" -> set();
      case "macro" -> macro();
      case "filter" -> filter();
      case "generation" -> enclosed("endgeneration");
      case "break" -> jump(false);
      case "continue" -> jump(true);
      default -> throw tokens.error("the statement '" + word + "' is not supported, before");
    };
  }

  private Node jump(boolean further) {
    tokens.end();
    return (_, _) -> {
      throw new ForParser.Jump(further);
    };
  }

  /// The rest of a statement's tag, its body, and the tag that ends it.
  private Node enclosed(String end) {
    tokens.end();
    Node body = body();
    end(tokens, end);
    return body;
  }

  static void end(Tokens tokens, String name) {
    tokens.next();
    tokens.expect(name);
    tokens.end();
  }

  private Node ifStatement() {
    Expression condition = expressions.expression();
    tokens.end();
    Node yes = body();
    tokens.next();
    Node no;
    if (tokens.take("elif")) {
      no = ifStatement();
    } else if (tokens.take("else")) {
      no = enclosed("endif");
    } else {
      tokens.expect("endif");
      tokens.end();
      no = (_, _) -> {};
    }
    return (scope, out) -> (Values.truth(condition.value(scope)) ? yes : no).render(scope, out);
  }

  private Node set() {
    List<String> names = new ArrayList<>(List.of(tokens.name()));
    String attribute = tokens.take(".") ? tokens.name() : null;
    while (tokens.take(",")) {
      names.add(tokens.name());
    }
    if (!tokens.take("=")) {
      Node body = enclosed("endset");
      return (scope, out) -> {
        StringBuilder text = new StringBuilder();
        body.render(scope, text);
        scope.set(names.getFirst(), text.toString());
      };
    }
    Expression value = expressions.tuple();
    tokens.end();
    if (attribute != null) {
      return (scope, _) -> {
        if (scope.get(names.getFirst()) instanceof Namespace space) {
          space.values().put(attribute, value.value(scope));
        } else {
          throw new TemplateException(
              "'%s', of which an attribute is set, is no namespace".formatted(names.getFirst()));
        }
      };
    }
    return (scope, _) -> assign(scope, names, value.value(scope));
  }

  /// Sets one name to a value, or several to its elements.
  static void assign(Scope scope, List<String> names, Object value) {
    if (names.size() == 1) {
      scope.set(names.getFirst(), value);
      return;
    }
    List<Object> items = Values.list(value);
    if (items.size() != names.size()) {
      throw new TemplateException(
          "there are %d values for %d names".formatted(items.size(), names.size()));
    }
    for (int i = 0; i < items.size(); i++) {
      scope.set(names.get(i), items.get(i));
    }
  }

  private Node macro() {
    String name = tokens.name();
    Map<String, Expression> parameters = new LinkedHashMap<>();
    tokens.expect("(");
    while (!tokens.take(")")) {
      String parameter = tokens.name();
      parameters.put(
          parameter,
          tokens.take("=")
              ? expressions.expression()
              : _ -> expressions.undefined("the argument '" + parameter + "' is missing"));
      if (!tokens.peek().is(")")) {
        tokens.expect(",");
      }
    }
    expressions.operands().declare(name);
    Node body = enclosed("endmacro");
    return (scope, _) ->
        scope.set(
            name,
            (Function)
                arguments -> {
                  Scope inner = new Scope(scope);
                  int at = 0;
                  for (Map.Entry<String, Expression> p : parameters.entrySet()) {
                    Object given = arguments.get(at++, p.getKey());
                    inner.set(p.getKey(), given == null ? p.getValue().value(inner) : given);
                  }
                  StringBuilder out = new StringBuilder();
                  body.render(inner, out);
                  return out.toString();
                });
  }

  private Node filter() {
    String body = "{% filter %}"; // no template can name a variable like that
    Expression filtered = expressions.operands().filter(scope -> scope.get(body));
    while (tokens.take("|")) {
      filtered = expressions.operands().filter(filtered);
    }
    Expression result = filtered;
    Node node = enclosed("endfilter");
    return (scope, out) -> {
      StringBuilder text = new StringBuilder();
      node.render(scope, text);
      Scope inner = new Scope(scope);
      inner.set(body, text.toString());
      out.append(Values.text(result.value(inner)));
    };
  }
}
