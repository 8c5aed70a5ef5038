package org.modegpt.jinja;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiPredicate;
import java.util.function.BinaryOperator;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/// Parses expressions, from the loosest operators to the tightest.
final class ExpressionParser {
  /// More than anybody writes, less than the stack holds.
  private static final int MOST_NESTED = 200;

  private static final Set<String> WORDS =
      Set.of("and", "or", "not", "else", "if", "is", "in", "recursive");

  private final Tokens tokens;
  private final Environment environment;
  private final Set<String> macros = new HashSet<>();
  private int nested;

  ExpressionParser(Tokens tokens, Environment environment) {
    this.tokens = tokens;
    this.environment = environment;
  }

  /// From here on there is a macro of this name.
  void declare(String macro) {
    macros.add(macro);
  }

  Undefined undefined(String what) {
    return new Undefined(what, environment.strict());
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

  private <T> T nest(Supplier<T> parse) {
    if (++nested > MOST_NESTED) {
      throw new TemplateException("an expression is nested too deeply");
    }
    T parsed = parse.get();
    nested--;
    return parsed;
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
    return nest(() -> {
      Expression value = or();
      while (tokens.take("if")) {
        Expression yes = value;
        Expression condition = or();
        Expression no =
            tokens.take("else")
                ? expression()
                : _ -> undefined("the condition is false, and there is no else");
        value = s -> Values.truth(condition.value(s)) ? yes.value(s) : no.value(s);
      }
      return value;
    });
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
      Expression e = nest(this::not);
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
      Expression b = sum();
      Expression one = binary(operator, left, b);
      Expression before = all;
      all = before == null ? one : s -> Values.truth(before.value(s)) ? one.value(s) : false;
      left = b;
    }
  }

  private @Nullable String comparator() {
    if (tokens.peek().isName("not") && tokens.second().isName("in")) {
      tokens.next();
      tokens.next();
      return "not in";
    }
    return taken("==", "!=", "<=", ">=", "<", ">", "in");
  }

  private @Nullable String taken(String... operators) {
    for (String operator : operators) {
      if (tokens.take(operator)) {
        return operator;
      }
    }
    return null;
  }

  private static Expression binary(String operator, Expression a, Expression b) {
    BinaryOperator<Object> operation = Operators.of(operator);
    return s -> operation.apply(a.value(s), b.value(s));
  }

  private Expression sum() {
    return chain(this::concatenation, "+", "-");
  }

  private Expression concatenation() {
    return chain(this::product, "~");
  }

  private Expression product() {
    return chain(this::power, "*", "//", "/", "%");
  }

  private Expression power() {
    return chain(() -> unary(true), "**");
  }

  /// Operators of one rank, from the left.
  private Expression chain(Supplier<Expression> tighter, String... operators) {
    Expression left = tighter.get();
    for (String operator = taken(operators); operator != null; operator = taken(operators)) {
      left = binary(operator, left, tighter.get());
    }
    return left;
  }

  private Expression unary(boolean filters) {
    Expression value;
    if (tokens.take("-")) {
      value = binary("-", _ -> 0L, nest(() -> unary(false)));
    } else if (tokens.take("+")) {
      value = nest(() -> unary(false));
    } else {
      value = postfix(primary());
    }
    return filters ? filtered(value) : value;
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
      Expression inner = tuple();
      tokens.expect(")");
      return inner;
    }
    if (tokens.take("[")) {
      List<Expression> items = new ArrayList<>();
      while (!tokens.take("]")) {
        items.add(expression());
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
    Expression from = tokens.peek().is(":") ? null : expression();
    if (from != null && tokens.take("]")) {
      return maybe(s -> Operators.item(value.value(s), from.value(s)));
    }
    tokens.expect(":");
    Expression to = tokens.peek().is(":") || tokens.peek().is("]") ? null : expression();
    Expression step = tokens.take(":") && !tokens.peek().is("]") ? expression() : null;
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
        named.put(name, expression());
      } else {
        values.add(expression());
      }
      separator(")");
    }
    return new Given(values, named);
  }

  /// Filters and tests: `value | name(arguments)`, `value is name argument`.
  private Expression filtered(Expression start) {
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
    return new Given(argument ? List.of(postfix(primary())) : List.of(), Map.of());
  }
}
