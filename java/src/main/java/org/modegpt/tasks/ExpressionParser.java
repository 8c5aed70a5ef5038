package org.modegpt.tasks;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/// Recursive descent over a Jinja expression, with Jinja's precedences.
final class ExpressionParser {
  private static final Pattern TOKEN =
      Pattern.compile(
          "\\s*(?:(?<text>'(?:[^'\\\\]|\\\\.)*'|\"(?:[^\"\\\\]|\\\\.)*\")"
              + "|(?<number>\\d+(?:\\.\\d+)?(?:[eE][-+]?\\d+)?)"
              + "|(?<name>[A-Za-z_]\\w*)"
              + "|(?<sign>\\*\\*|//|==|!=|<=|>=|[-+*/%~<>()\\[\\]{}.,:|=]))",
          Pattern.DOTALL);

  private static final Set<String> WORDS = Set.of("and", "or", "not", "in", "is", "if", "else");

  private enum Kind {
    TEXT,
    NUMBER,
    NAME,
    SIGN,
    END
  }

  private record Token(Kind kind, String text) {}

  /// More than anybody writes, less than the stack holds.
  private static final int MOST_NESTED = 100;

  private final String source;
  private int nested;
  private final List<Token> tokens = new ArrayList<>();
  private int at;

  private ExpressionParser(String source) {
    this.source = source;
    Matcher matcher = TOKEN.matcher(source);
    int end = 0;
    while (matcher.find(end) && matcher.start() == end) {
      end = matcher.end();
      for (Kind kind : List.of(Kind.TEXT, Kind.NUMBER, Kind.NAME, Kind.SIGN)) {
        String text = matcher.group(kind.name().toLowerCase(java.util.Locale.ROOT));
        if (text != null) {
          tokens.add(new Token(kind, text));
        }
      }
    }
    if (!source.substring(end).isBlank()) {
      throw new TemplateException(
          "cannot read '" + source.substring(end).strip() + "' in '" + source.strip() + "'");
    }
    tokens.add(new Token(Kind.END, ""));
  }

  static Expression parse(String source) {
    ExpressionParser parser = new ExpressionParser(source);
    Expression expression = parser.ternary();
    if (parser.peek().kind() != Kind.END) {
      throw parser.unexpected();
    }
    return expression;
  }

  private Token peek() {
    return tokens.get(at);
  }

  private boolean accept(String text) {
    boolean matches =
        peek().text().equals(text) && (peek().kind() == Kind.SIGN || WORDS.contains(text));
    at += matches ? 1 : 0;
    return matches;
  }

  private void expect(String text) {
    if (!accept(text)) {
      throw new TemplateException(
          "'%s' is missing before %s in '%s'".formatted(text, place(), source.strip()));
    }
  }

  private String place() {
    return peek().kind() == Kind.END ? "the end" : "'" + peek().text() + "'";
  }

  private TemplateException unexpected() {
    return new TemplateException("unexpected %s in '%s'".formatted(place(), source.strip()));
  }

  private Expression ternary() {
    nest();
    Expression value = or();
    nested--;
    if (!accept("if")) {
      return value;
    }
    Expression condition = or();
    Expression otherwise = accept("else") ? ternary() : Expression.constant("");
    return names ->
        Values.truth(condition.value(names)) ? value.value(names) : otherwise.value(names);
  }

  private void nest() {
    if (++nested > MOST_NESTED) {
      throw new TemplateException("an expression is nested too deeply");
    }
  }

  private Expression or() {
    Expression left = and();
    while (accept("or")) {
      left = Expression.binary("or", left, and());
    }
    return left;
  }

  private Expression and() {
    Expression left = not();
    while (accept("and")) {
      left = Expression.binary("and", left, not());
    }
    return left;
  }

  private Expression not() {
    if (accept("not")) {
      nest();
      Expression operand = not();
      nested--;
      return names -> !Values.truth(operand.value(names));
    }
    return comparison();
  }

  private Expression comparison() {
    Expression left = sum();
    while (true) {
      String operator = null;
      for (String candidate : List.of("==", "!=", "<=", ">=", "<", ">", "in")) {
        if (accept(candidate)) {
          operator = candidate;
          break;
        }
      }
      if (operator == null
          && peek().text().equals("not")
          && tokens.get(at + 1).text().equals("in")) {
        at += 2;
        operator = "not in";
      }
      if (operator == null) {
        return left;
      }
      left = Expression.binary(operator, left, sum());
    }
  }

  private Expression sum() {
    return chain(this::concatenation, "+", "-");
  }

  private Expression concatenation() {
    return chain(this::product, "~");
  }

  private Expression product() {
    return chain(this::unary, "*", "//", "/", "%");
  }

  private interface Level {
    Expression parse();
  }

  private Expression chain(Level next, String... operators) {
    Expression left = next.parse();
    while (true) {
      String operator = null;
      for (String candidate : operators) {
        if (accept(candidate)) {
          operator = candidate;
          break;
        }
      }
      if (operator == null) {
        return left;
      }
      left = Expression.binary(operator, left, next.parse());
    }
  }

  private Expression unary() {
    if (accept("-")) {
      return filters(Expression.binary("-", Expression.constant(0L), power()));
    }
    return filters(power());
  }

  private Expression power() {
    Expression base = postfix(primary());
    return accept("**") ? Expression.binary("**", base, unary()) : base;
  }

  /// Filters and tests bind more closely than every operator.
  private Expression filters(Expression operand) {
    Expression value = operand;
    while (true) {
      if (accept("|")) {
        String name = Functions.requireFilter(identifier());
        List<Expression> arguments = accept("(") ? arguments(")") : List.of();
        Expression input = value;
        value = names -> Functions.filter(input.value(names), name, values(arguments, names));
      } else if (accept("is")) {
        boolean negated = accept("not");
        String name = Functions.requireTest(identifier());
        Expression input = value;
        value = names -> Functions.test(input.value(names), name) != negated;
      } else {
        return value;
      }
    }
  }

  private Expression postfix(Expression operand) {
    Expression value = operand;
    while (true) {
      Expression object = value;
      if (accept(".")) {
        Token member = tokens.get(at++);
        boolean index = member.kind() == Kind.NUMBER && member.text().matches("\\d{1,9}");
        if (member.kind() != Kind.NAME && !index) {
          at--;
          throw unexpected();
        }
        if (accept("(")) {
          List<Expression> arguments = arguments(")");
          value =
              names ->
                  Functions.method(
                      Values.defined(object.value(names)), member.text(), values(arguments, names));
        } else {
          value =
              Expression.member(
                  object,
                  Expression.constant(
                      member.kind() == Kind.NUMBER
                          ? (Object) Long.parseLong(member.text())
                          : member.text()));
        }
      } else if (accept("[")) {
        value = subscript(object);
      } else {
        return value;
      }
    }
  }

  private Expression subscript(Expression object) {
    Expression from = null;
    if (!accept(":")) {
      from = ternary();
      if (accept("]")) {
        return Expression.member(object, from);
      }
      expect(":");
    }
    Expression to = null;
    Expression step = null;
    if (!peek().text().equals("]") && !peek().text().equals(":")) {
      to = ternary();
    }
    if (accept(":") && !peek().text().equals("]")) {
      step = ternary();
    }
    expect("]");
    return Expression.slice(object, from, to, step);
  }

  private Expression primary() {
    Token token = tokens.get(at++);
    Expression expression =
        switch (token.kind()) {
          case TEXT -> Expression.constant(unescape(token.text()));
          case NUMBER -> Expression.constant(number(token.text()));
          case NAME -> WORDS.contains(token.text()) ? null : named(token.text());
          case SIGN ->
              switch (token.text()) {
                case "(" -> parenthesis();
                case "[" -> Expression.list(arguments("]"));
                case "{" -> map();
                default -> null;
              };
          case END -> null;
        };
    if (expression == null) {
      at--;
      throw unexpected();
    }
    return expression;
  }

  private static Object number(String text) {
    return text.matches("\\d{1,18}")
        ? (Object) Long.parseLong(text)
        : (Object) Double.parseDouble(text);
  }

  private Expression named(String name) {
    if (accept("(")) {
      Functions.requireFunction(name);
      List<Expression> arguments = arguments(")");
      return names -> Functions.call(name, values(arguments, names));
    }
    return switch (name) {
      case "true", "True" -> Expression.constant(true);
      case "false", "False" -> Expression.constant(false);
      case "none", "None" -> Expression.constant(null);
      default -> Expression.name(name);
    };
  }

  private Expression parenthesis() {
    Expression first = ternary();
    if (accept(",")) {
      List<Expression> items = new ArrayList<>(List.of(first));
      items.addAll(arguments(")"));
      return Expression.list(items);
    }
    expect(")");
    return first;
  }

  private Expression map() {
    Map<Expression, Expression> entries = new LinkedHashMap<>();
    while (!accept("}")) {
      Expression key = ternary();
      expect(":");
      entries.put(key, ternary());
      if (!accept(",") && !peek().text().equals("}")) {
        throw unexpected();
      }
    }
    return Expression.map(entries);
  }

  /// Values up to `close`; a keyword (`name=value`) counts as the next value.
  private List<Expression> arguments(String close) {
    List<Expression> arguments = new ArrayList<>();
    while (!accept(close)) {
      if (peek().kind() == Kind.NAME && tokens.get(at + 1).text().equals("=")) {
        at += 2;
      }
      arguments.add(ternary());
      if (!accept(",") && !peek().text().equals(close)) {
        throw unexpected();
      }
    }
    return arguments;
  }

  private String identifier() {
    if (peek().kind() != Kind.NAME) {
      throw unexpected();
    }
    return tokens.get(at++).text();
  }

  private static List<@Nullable Object> values(
      List<Expression> expressions, Map<String, ? extends @Nullable Object> names) {
    List<@Nullable Object> values = new ArrayList<>();
    expressions.forEach(e -> values.add(e.value(names)));
    return values;
  }

  private static String unescape(String quoted) {
    String body = quoted.substring(1, quoted.length() - 1);
    return body.indexOf('\\') < 0
        ? body
        : Pattern.compile("\\\\(.)", Pattern.DOTALL)
            .matcher(body)
            .replaceAll(m ->
                Matcher.quoteReplacement(
                    switch (m.group(1)) {
                      case "n" -> "\n";
                      case "t" -> "\t";
                      case "r" -> "\r";
                      case "\\", "'", "\"" -> m.group(1);
                      default -> m.group();
                    }));
  }
}
