package org.modegpt.jinja;

import java.util.ArrayList;
import java.util.List;
import java.util.function.BinaryOperator;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/// Parses expressions: operators from the loosest to the tightest, with operands between them.
final class ExpressionParser {
  /// More than anybody writes, less than the stack holds.
  private static final int MOST_NESTED = 200;

  private final Tokens tokens;
  private final Environment environment;
  private final OperandParser operands;
  private int nested;

  ExpressionParser(Tokens tokens, Environment environment) {
    this.tokens = tokens;
    this.environment = environment;
    this.operands = new OperandParser(tokens, environment, this);
  }

  /// Parses what operators stand between.
  OperandParser operands() {
    return operands;
  }

  Undefined undefined(String what) {
    return new Undefined(what, environment.strict());
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
    return OperandParser.list(items);
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
      value = operands.operand();
    }
    return filters ? operands.filtered(value) : value;
  }
}
