package org.modegpt.chat.jinja;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// Parses expressions, from the loosest operators to the tightest.
final class ExpressionParser {
  private final Tokens tokens;

  ExpressionParser(Tokens tokens) {
    this.tokens = tokens;
  }

  /// Arguments of a call.
  private record Arguments(List<Expression> values, Map<String, Expression> named) {
    List<Object> values(Scope scope) {
      List<Object> all = new ArrayList<>();
      values.forEach(e -> all.add(e.value(scope)));
      return all;
    }

    Map<String, Object> named(Scope scope) {
      Map<String, Object> all = new LinkedHashMap<>();
      named.forEach((name, e) -> all.put(name, e.value(scope)));
      return all;
    }
  }

  /// An expression, or several with commas between, which make a list.
  Expression tuple() {
    Expression first = expression();
    if (!tokens.peek().is(",")) {
      return first;
    }
    List<Expression> items = new ArrayList<>(List.of(first));
    while (tokens.take(",") && startsExpression()) {
      items.add(expression());
    }
    return list(items);
  }

  private boolean startsExpression() {
    Token t = tokens.peek();
    return t.kind() != Token.Kind.END && !t.is(")") && !t.is("=");
  }

  /// `a if condition else b`.
  Expression expression() {
    Expression value = or();
    while (tokens.take("if")) {
      Expression yes = value;
      Expression condition = or();
      Expression no = tokens.take("else") ? expression() : _ -> new Undefined("else");
      value = s -> Values.truth(condition.value(s)) ? yes.value(s) : no.value(s);
    }
    return value;
  }

  Expression or() {
    Expression left = and();
    while (tokens.take("or")) {
      Expression a = left;
      Expression b = and();
      left =
          s -> {
            Object first = a.value(s);
            return Values.truth(first) ? first : b.value(s);
          };
    }
    return left;
  }

  private Expression and() {
    Expression left = not();
    while (tokens.take("and")) {
      Expression a = left;
      Expression b = not();
      left =
          s -> {
            Object first = a.value(s);
            return Values.truth(first) ? b.value(s) : first;
          };
    }
    return left;
  }

  private Expression not() {
    if (tokens.take("not")) {
      Expression e = not();
      return s -> !Values.truth(e.value(s));
    }
    return comparison();
  }

  /// Comparisons, which may be chained: `a < b < c`.
  private Expression comparison() {
    Expression first = sum();
    Expression left = first;
    Expression all = null;
    while (true) {
      String operator = comparator();
      if (operator == null) {
        return all == null ? first : all;
      }
      Expression a = left;
      Expression b = sum();
      Expression one = s -> compare(operator, a.value(s), b.value(s));
      Expression before = all;
      all = before == null ? one : s -> Values.truth(before.value(s)) ? one.value(s) : false;
      left = b;
    }
  }

  private @Nullable String comparator() {
    for (String operator : List.of("==", "!=", "<=", ">=", "<", ">")) {
      if (tokens.take(operator)) {
        return operator;
      }
    }
    if (tokens.take("in")) {
      return "in";
    }
    if (tokens.peek().isName("not") && tokens.second().isName("in")) {
      tokens.next();
      tokens.next();
      return "not in";
    }
    return null;
  }

  private static boolean compare(String operator, Object a, Object b) {
    return switch (operator) {
      case "==" -> Values.equal(a, b);
      case "!=" -> !Values.equal(a, b);
      case "<" -> Values.compare(a, b) < 0;
      case ">" -> Values.compare(a, b) > 0;
      case "<=" -> Values.compare(a, b) <= 0;
      case ">=" -> Values.compare(a, b) >= 0;
      case "in" -> Values.contains(b, a);
      default -> !Values.contains(b, a);
    };
  }

  private Expression sum() {
    Expression left = concatenation();
    while (tokens.peek().is("+") || tokens.peek().is("-")) {
      boolean plus = tokens.next().is("+");
      Expression a = left;
      Expression b = concatenation();
      left =
          plus
              ? s -> Values.add(a.value(s), b.value(s))
              : s -> Values.arithmetic('-', a.value(s), b.value(s));
    }
    return left;
  }

  private Expression concatenation() {
    Expression left = product();
    while (tokens.take("~")) {
      Expression a = left;
      Expression b = product();
      left = s -> Values.text(a.value(s)) + Values.text(b.value(s));
    }
    return left;
  }

  private Expression product() {
    Expression left = power();
    while (tokens.peek().is("*")
        || tokens.peek().is("/")
        || tokens.peek().is("//")
        || tokens.peek().is("%")) {
      String operator = tokens.next().value();
      char c = operator.equals("//") ? 'd' : operator.charAt(0);
      Expression a = left;
      Expression b = power();
      left = s -> Values.arithmetic(c, a.value(s), b.value(s));
    }
    return left;
  }

  private Expression power() {
    Expression left = unary(true);
    while (tokens.take("**")) {
      Expression a = left;
      Expression b = unary(true);
      left = s -> Values.arithmetic('p', a.value(s), b.value(s));
    }
    return left;
  }

  private Expression unary(boolean filters) {
    Expression value;
    if (tokens.take("-")) {
      Expression e = unary(false);
      value = s -> Values.arithmetic('-', 0L, e.value(s));
    } else if (tokens.take("+")) {
      value = unary(false);
    } else {
      value = postfix(primary());
    }
    return filters ? filtered(value) : value;
  }

  private Expression primary() {
    Token token = tokens.next();
    return switch (token.kind()) {
      case STRING -> string(token);
      case NUMBER -> number(token.value());
      case NAME -> name(token.value());
      default -> bracketed(token);
    };
  }

  /// A string; several in a row are one.
  private Expression string(Token first) {
    StringBuilder joined = new StringBuilder(first.value());
    while (tokens.peek().kind() == Token.Kind.STRING) {
      joined.append(tokens.next().value());
    }
    String text = joined.toString();
    return _ -> text;
  }

  private static Expression number(String digits) {
    Object number =
        digits.matches("\\d{1,18}") ? (Object) Long.valueOf(digits) : Double.valueOf(digits);
    return _ -> number;
  }

  private Expression bracketed(Token open) {
    if (open.is("(")) {
      if (tokens.take(")")) {
        return _ -> List.of();
      }
      Expression inner = tuple();
      tokens.expect(")");
      return inner;
    }
    if (open.is("[")) {
      List<Expression> items = new ArrayList<>();
      while (!tokens.take("]")) {
        items.add(expression());
        if (!tokens.peek().is("]")) {
          tokens.expect(",");
        }
      }
      return list(items);
    }
    if (open.is("{")) {
      return map();
    }
    throw new TemplateException(
        "the chat template is not understood: unexpected '%s' (line %d)"
            .formatted(open.value(), open.line()));
  }

  private static Expression name(String name) {
    return switch (name) {
      case "true", "True" -> _ -> true;
      case "false", "False" -> _ -> false;
      case "none", "None" -> _ -> None.NONE;
      default -> s -> s.get(name);
    };
  }

  private static Expression list(List<Expression> items) {
    return s -> {
      List<Object> values = new ArrayList<>();
      items.forEach(item -> values.add(item.value(s)));
      return values;
    };
  }

  private Expression map() {
    Map<Expression, Expression> entries = new LinkedHashMap<>();
    while (!tokens.take("}")) {
      Expression key = expression();
      tokens.expect(":");
      entries.put(key, expression());
      if (!tokens.peek().is("}")) {
        tokens.expect(",");
      }
    }
    return s -> {
      Map<Object, Object> values = new LinkedHashMap<>();
      entries.forEach((key, value) -> values.put(key.value(s), value.value(s)));
      return values;
    };
  }

  /// Attributes, items, slices and calls.
  private Expression postfix(Expression start) {
    Expression value = start;
    while (true) {
      Expression before = value;
      if (tokens.take(".")) {
        Token attribute = tokens.next();
        String name = attribute.value();
        value = s -> Methods.attribute(before.value(s), name);
      } else if (tokens.take("[")) {
        value = subscript(before);
      } else if (tokens.peek().is("(")) {
        Arguments arguments = arguments();
        value = s -> call(before.value(s), arguments, s);
      } else {
        return value;
      }
    }
  }

  private static Object call(Object value, Arguments arguments, Scope scope) {
    if (value instanceof Function function) {
      return function.call(arguments.values(scope), arguments.named(scope));
    }
    throw Values.unsuited("a function", value);
  }

  private Expression subscript(Expression value) {
    Expression from = tokens.peek().is(":") ? null : expression();
    if (tokens.take("]")) {
      return s -> Values.item(value.value(s), from == null ? 0L : from.value(s));
    }
    tokens.expect(":");
    Expression to = tokens.peek().is(":") || tokens.peek().is("]") ? null : expression();
    Expression step = tokens.take(":") && !tokens.peek().is("]") ? expression() : null;
    tokens.expect("]");
    return s ->
        Values.slice(
            value.value(s),
            bound(from, s),
            bound(to, s),
            step == null ? 1 : Values.integer(step.value(s)));
  }

  private static @Nullable Object bound(@Nullable Expression e, Scope scope) {
    Object value = e == null ? None.NONE : e.value(scope);
    return value instanceof None ? null : value;
  }

  private Arguments arguments() {
    tokens.expect("(");
    List<Expression> values = new ArrayList<>();
    Map<String, Expression> named = new LinkedHashMap<>();
    while (!tokens.take(")")) {
      if (tokens.peek().kind() == Token.Kind.NAME && tokens.second().is("=")) {
        String name = tokens.name();
        tokens.expect("=");
        named.put(name, expression());
      } else {
        values.add(expression());
      }
      if (!tokens.peek().is(")")) {
        tokens.expect(",");
      }
    }
    return new Arguments(values, named);
  }

  /// Filters and tests: `value | name(arguments)`, `value is name argument`.
  private Expression filtered(Expression start) {
    Expression value = start;
    while (true) {
      Expression before = value;
      if (tokens.take("|")) {
        value = filter(before);
      } else if (tokens.take("is")) {
        boolean not = tokens.take("not");
        String name = tokens.peek().is("==") ? tokens.next().value() : tokens.name();
        Arguments arguments = testArguments();
        value = s -> Tests.test(name, before.value(s), arguments.values(s)) != not;
      } else if (tokens.peek().is("(")) {
        Arguments arguments = arguments();
        value = s -> call(before.value(s), arguments, s);
      } else {
        return value;
      }
    }
  }

  /// The filter that comes next, on a value.
  Expression filter(Expression value) {
    String name = tokens.name();
    Arguments arguments = tokens.peek().is("(") ? arguments() : new Arguments(List.of(), Map.of());
    return s -> Filters.apply(name, value.value(s), arguments.values(s), arguments.named(s));
  }

  private Arguments testArguments() {
    if (tokens.peek().is("(")) {
      return arguments();
    }
    Token next = tokens.peek();
    boolean argument =
        next.kind() == Token.Kind.STRING
            || next.kind() == Token.Kind.NUMBER
            || next.is("[")
            || (next.kind() == Token.Kind.NAME
                && !List.of("and", "or", "not", "else", "if", "is", "in", "recursive")
                    .contains(next.value()));
    return new Arguments(argument ? List.of(postfix(primary())) : List.of(), Map.of());
  }
}
