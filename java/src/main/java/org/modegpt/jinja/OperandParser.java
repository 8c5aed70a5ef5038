package org.modegpt.jinja;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiPredicate;
import org.jspecify.annotations.Nullable;

/// Parses operands of an expression: constants, names, lists and what is in brackets, with the
/// attributes, items, calls, filters and tests that follow them.
final class OperandParser {
  private static final Set<String> WORDS =
      Set.of("and", "or", "not", "else", "if", "is", "in", "recursive");

  private final Tokens tokens;
  private final Environment environment;
  private final ExpressionParser expressions;
  private final Set<String> macros = new HashSet<>();

  OperandParser(Tokens tokens, Environment environment, ExpressionParser expressions) {
    this.tokens = tokens;
    this.environment = environment;
    this.expressions = expressions;
  }

  /// From here on there is a macro of this name.
  void declare(String macro) {
    macros.add(macro);
  }

  static TemplateException unknown(String kind, String name, Map<String, ?> known) {
    return new TemplateException(
        "there is no %s '%s'; there are %s"
            .formatted(kind, name, String.join(", ", known.keySet())));
  }

  /// What may give something undefined, in the way of the environment.
  private Expression maybe(Expression e) {
    return environment.strict() ? s -> Undefined.strict(e.value(s)) : e;
  }

  /// Arguments of a call before they have values.
  private record Given(List<Expression> values, Map<String, Expression> named) {
    Arguments of(Scope scope) {
      List<Object> all = new ArrayList<>();
      values.forEach(e -> all.add(e.value(scope)));
      Map<String, Object> byName = new LinkedHashMap<>();
      named.forEach((name, e) -> byName.put(name, e.value(scope)));
      return new Arguments(all, byName);
    }
  }

  /// An operand without filters and tests.
  Expression operand() {
    return postfix(primary());
  }

  private Expression primary() {
    Token token = tokens.peek();
    return switch (token.kind()) {
      case STRING -> string();
      case NUMBER -> number(tokens.next().value());
      case NAME -> name(tokens.next().value());
      default -> bracketed();
    };
  }

  /// A string; several in a row are one.
  private Expression string() {
    StringBuilder joined = new StringBuilder();
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

  private Expression bracketed() {
    if (tokens.take("(")) {
      if (tokens.take(")")) {
        return _ -> new ArrayList<>();
      }
      Expression inner = expressions.tuple();
      tokens.expect(")");
      return inner;
    }
    if (tokens.take("[")) {
      List<Expression> items = new ArrayList<>();
      while (!tokens.take("]")) {
        items.add(expressions.expression());
        separator("]");
      }
      return list(items);
    }
    if (tokens.take("{")) {
      return map();
    }
    throw tokens.error("unexpected");
  }

  /// A comma, if the end does not come.
  private void separator(String end) {
    if (!tokens.peek().is(end)) {
      tokens.expect(",");
    }
  }

  private Expression name(String name) {
    boolean known = environment.functions().containsKey(name) || macros.contains(name);
    if (environment.strict() && tokens.peek().is("(") && !known) {
      throw unknown("function", name, environment.functions());
    }
    return switch (name) {
      case "true", "True" -> _ -> true;
      case "false", "False" -> _ -> false;
      case "none", "None" -> _ -> None.NONE;
      default -> maybe(s -> s.get(name));
    };
  }

  static Expression list(List<Expression> items) {
    return s -> {
      List<Object> values = new ArrayList<>();
      items.forEach(item -> values.add(item.value(s)));
      return values;
    };
  }

  private Expression map() {
    Map<Expression, Expression> entries = new LinkedHashMap<>();
    while (!tokens.take("}")) {
      Expression key = expressions.expression();
      tokens.expect(":");
      entries.put(key, expressions.expression());
      separator("}");
    }
    return s -> {
      Map<Object, Object> values = new LinkedHashMap<>();
      entries.forEach((key, value) -> values.put(Values.defined(key.value(s)), value.value(s)));
      return values;
    };
  }

  /// Attributes, items, slices and calls.
  private Expression postfix(Expression start) {
    Expression value = start;
    while (true) {
      Expression before = value;
      if (tokens.take(".")) {
        value = member(before);
      } else if (tokens.take("[")) {
        value = subscript(before);
      } else if (tokens.peek().is("(")) {
        value = call(before);
      } else {
        return value;
      }
    }
  }

  /// `value.name` or `value.0`.
  private Expression member(Expression value) {
    if (tokens.peek().kind() == Token.Kind.NUMBER) {
      Expression index = number(tokens.next().value());
      return maybe(s -> Operators.item(value.value(s), index.value(s)));
    }
    String name = tokens.name();
    boolean called = tokens.peek().is("(");
    return maybe(s -> Methods.attribute(value.value(s), name, called));
  }

  private Expression call(Expression called) {
    Given given = arguments();
    return s -> {
      Object value = called.value(s);
      if (value instanceof Function function) {
        return function.call(given.of(s));
      }
      throw Values.unsuited("a function", value);
    };
  }

  private Expression subscript(Expression value) {
    Expression from = tokens.peek().is(":") ? null : expressions.expression();
    if (from != null && tokens.take("]")) {
      return maybe(s -> Operators.item(value.value(s), from.value(s)));
    }
    tokens.expect(":");
    Expression to =
        tokens.peek().is(":") || tokens.peek().is("]") ? null : expressions.expression();
    Expression step = tokens.take(":") && !tokens.peek().is("]") ? expressions.expression() : null;
    tokens.expect("]");
    return s ->
        Operators.slice(
            value.value(s),
            bound(from, s),
            bound(to, s),
            step == null ? 1 : Values.integer(step.value(s)));
  }

  private static @Nullable Object bound(@Nullable Expression e, Scope scope) {
    Object value = e == null ? None.NONE : e.value(scope);
    return value instanceof None ? null : value;
  }

  private Given arguments() {
    tokens.expect("(");
    List<Expression> values = new ArrayList<>();
    Map<String, Expression> named = new LinkedHashMap<>();
    while (!tokens.take(")")) {
      if (tokens.peek().kind() == Token.Kind.NAME && tokens.second().is("=")) {
        String name = tokens.name();
        tokens.expect("=");
        named.put(name, expressions.expression());
      } else {
        values.add(expressions.expression());
      }
      separator(")");
    }
    return new Given(values, named);
  }

  /// Filters and tests: `value | name(arguments)`, `value is name argument`.
  Expression filtered(Expression start) {
    Expression value = start;
    while (true) {
      Expression before = value;
      if (tokens.take("|")) {
        value = filter(before);
      } else if (tokens.take("is")) {
        value = test(before);
      } else if (tokens.peek().is("(")) {
        value = call(before);
      } else {
        return value;
      }
    }
  }

  /// The filter that comes next, on a value.
  Expression filter(Expression value) {
    String name = tokens.name();
    Given given = tokens.peek().is("(") ? arguments() : new Given(List.of(), Map.of());
    Filter filter = environment.filters().get(name);
    if (filter == null) {
      return unusable(unknown("filter", name, environment.filters()));
    }
    return maybe(s -> filter.apply(value.value(s), given.of(s)));
  }

  private Expression test(Expression value) {
    boolean not = tokens.take("not");
    String name = tokens.peek().is("==") ? tokens.next().value() : tokens.name();
    Given given = testArguments();
    BiPredicate<Object, Arguments> test = Tests.ALL.get(name);
    if (test == null) {
      return unusable(unknown("test", name, Tests.ALL));
    }
    return s -> test.test(value.value(s), given.of(s)) != not;
  }

  /// An error at once, or where it is reached.
  private Expression unusable(TemplateException error) {
    if (environment.strict()) {
      throw error;
    }
    return _ -> {
      throw new TemplateException(String.valueOf(error.getMessage()), error);
    };
  }

  private Given testArguments() {
    if (tokens.peek().is("(")) {
      return arguments();
    }
    Token next = tokens.peek();
    boolean argument =
        next.kind() == Token.Kind.STRING
            || next.kind() == Token.Kind.NUMBER
            || next.is("[")
            || (next.kind() == Token.Kind.NAME && !WORDS.contains(next.value()));
    return new Given(argument ? List.of(operand()) : List.of(), Map.of());
  }
}
