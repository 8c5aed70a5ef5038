package org.modegpt.jinja;

import java.util.List;
import org.modegpt.jinja.Token.Kind;

/// The tokens of a template, read one after the other.
final class Tokens {
  private static final Token NOTHING = new Token(Kind.END, "", 0);

  private final List<Token> tokens;
  private int at;

  Tokens(List<Token> tokens) {
    this.tokens = tokens;
  }

  Token peek() {
    return at < tokens.size() ? tokens.get(at) : NOTHING;
  }

  /// The token after the next.
  Token second() {
    return at + 1 < tokens.size() ? tokens.get(at + 1) : NOTHING;
  }

  boolean finished() {
    return at >= tokens.size();
  }

  Token next() {
    Token token = peek();
    at++;
    return token;
  }

  /// Takes an operator or name if it comes next.
  boolean take(String text) {
    if (peek().is(text) || peek().isName(text)) {
      at++;
      return true;
    }
    return false;
  }

  void expect(String text) {
    if (!take(text)) {
      throw error("'" + text + "' is missing before");
    }
  }

  String name() {
    if (peek().kind() != Kind.NAME) {
      throw error("a name is missing before");
    }
    return next().value();
  }

  void end() {
    if (peek().kind() != Kind.END) {
      throw error("unexpected");
    }
    at++;
  }

  TemplateException error(String what) {
    return new TemplateException(
        finished()
            ? what + " the end of the template"
            : "%s '%s' (line %d of the template)".formatted(what, peek().value(), peek().line()));
  }
}
