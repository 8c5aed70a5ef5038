package org.modegpt.jinja;

import java.util.Map;

/// A parsed template. Immutable and thread-safe.
public final class Template {
  private final Environment environment;
  private final Node body;

  private Template(Environment environment, Node body) {
    this.environment = environment;
    this.body = body;
  }

  /// Parses a template.
  ///
  /// @throws TemplateException if it is wrong or uses what is not supported
  public static Template parse(String source, Environment environment) {
    try {
      Tokens tokens = new Tokens(Lexer.tokens(source, environment.trimBlocks()));
      return new Template(environment, new Parser(tokens, environment).template());
    } catch (StackOverflowError e) {
      throw new TemplateException("the template is nested too deeply");
    }
  }

  /// Whether the template is nothing but text.
  public boolean constant() {
    return body instanceof Node.Text;
  }

  /// What the template gives for these variables: strings, numbers, booleans, lists, maps, null.
  ///
  /// @throws TemplateException if it cannot do with them
  public String render(Map<String, ?> variables) {
    StringBuilder out = new StringBuilder();
    try {
      body.render(new Scope(environment, variables), out);
    } catch (StackOverflowError e) {
      throw new TemplateException("the template calls itself too deeply");
    }
    return out.toString();
  }

  /// The value of a template that is one expression, else the text.
  ///
  /// @return a String, Long, Double, Boolean, List, Map or {@link None}
  /// @throws TemplateException if it cannot do with the variables
  public Object value(Map<String, ?> variables) {
    return body instanceof Node.Output output
        ? Values.defined(output.expression().value(new Scope(environment, variables)))
        : render(variables);
  }
}
