package org.modegpt.chat.jinja;

import java.util.Map;

/// A parsed template. Immutable and thread-safe.
public final class Template {
  private final Node body;

  private Template(Node body) {
    this.body = body;
  }

  /// Parses a template.
  ///
  /// @throws TemplateException if it is wrong or uses what is not supported
  public static Template parse(String source) {
    try {
      return new Template(new Parser(new Tokens(Lexer.tokens(source))).template());
    } catch (StackOverflowError e) {
      throw new TemplateException("the chat template is nested too deeply");
    }
  }

  /// What the template gives for these variables: strings, numbers, booleans, lists, maps, null.
  ///
  /// @throws TemplateException if the template refuses them (`raise_exception`) or cannot do with
  ///   them
  public String render(Map<String, ?> variables) {
    Scope globals = new Scope(null);
    Functions.GLOBAL.forEach(globals::set);
    Scope scope = new Scope(globals);
    variables.forEach((name, value) -> scope.set(name, Values.of(value)));
    StringBuilder out = new StringBuilder();
    try {
      body.render(scope, out);
    } catch (StackOverflowError e) {
      throw new TemplateException("the chat template calls itself too deeply");
    }
    return out.toString();
  }
}
