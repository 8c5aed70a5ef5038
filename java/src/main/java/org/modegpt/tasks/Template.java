package org.modegpt.tasks;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/// A text with places that the fields of an item fill, in the part of the Jinja language that task
/// definitions use: `{{ expression }}`, `{% if %}`, `{% for %}`, `{% set %}`, `{# comment #}`. A
/// source that is just the name of a field stands for that field, and a source that is one
/// expression keeps its value (a list, a number) instead of a text.
///
/// A loop or assignment inside a template changes nothing outside of it. Immutable.
public final class Template {
  private static final Pattern TAG =
      Pattern.compile("\\{\\{-?(.*?)-?\\}\\}|\\{%-?(.*?)-?%\\}|\\{#-?(.*?)-?#\\}", Pattern.DOTALL);

  private static final Pattern FIELD = Pattern.compile("[A-Za-z_]\\w*");

  private static final Pattern FOR =
      Pattern.compile("for\\s+(\\w+(?:\\s*,\\s*\\w+)*)\\s+in\\s+(.*)", Pattern.DOTALL);

  private interface Node {
    void render(Map<String, @Nullable Object> names, StringBuilder out);
  }

  private record Piece(boolean statement, String text, @Nullable Expression expression) {}

  private final String source;
  private final Node root;
  private final @Nullable Expression single;

  private Template(String source, Node root, @Nullable Expression single) {
    this.source = source;
    this.root = root;
    this.single = single;
  }

  /// Parses a template.
  ///
  /// @throws TemplateException for one that is not well-formed
  public static Template of(String source) {
    List<Piece> pieces = pieces(source);
    int[] at = {0};
    Node root = block(pieces, at);
    if (at[0] < pieces.size()) {
      throw new TemplateException("{% " + pieces.get(at[0]).text() + " %} without its beginning");
    }
    Expression single =
        pieces.size() == 1 && !pieces.getFirst().statement()
            ? pieces.getFirst().expression()
            : null;
    return new Template(source, root, single);
  }

  public String source() {
    return source;
  }

  /// Whether the template is nothing but text.
  public boolean constant() {
    return !TAG.matcher(source).find();
  }

  /// A template that is a field's name is only for items that have the field: else it would be
  /// asked as it stands.
  Template requireField(Map<String, ? extends @Nullable Object> fields) {
    if (!fields.containsKey(source) && FIELD.matcher(source).matches()) {
      throw new TemplateException(
          "there is no field '%s'; there are: %s (for the word itself write {{ '%s' }})"
              .formatted(source, String.join(", ", fields.keySet()), source));
    }
    return this;
  }

  /// The text for an item.
  public String render(Map<String, ? extends @Nullable Object> fields) {
    if (fields.containsKey(source)) {
      return Values.text(fields.get(source));
    }
    StringBuilder out = new StringBuilder();
    root.render(new LinkedHashMap<>(fields), out);
    return out.toString();
  }

  /// The value for an item: that of the field or of the one expression, else the text.
  public @Nullable Object value(Map<String, ? extends @Nullable Object> fields) {
    if (fields.containsKey(source)) {
      return fields.get(source);
    }
    return single == null ? render(fields) : Values.defined(single.value(fields));
  }

  private static List<Piece> pieces(String source) {
    List<Piece> pieces = new ArrayList<>();
    Matcher tag = TAG.matcher(source);
    int end = 0;
    while (tag.find()) {
      String text = source.substring(end, tag.start());
      if (end > 0 && source.charAt(end - 3) == '-') {
        text = text.stripLeading();
      }
      if (source.charAt(tag.start() + 2) == '-') {
        text = text.stripTrailing();
      }
      addText(pieces, text);
      if (tag.group(1) != null) {
        pieces.add(new Piece(false, "", ExpressionParser.parse(tag.group(1))));
      } else if (tag.group(2) != null) {
        pieces.add(new Piece(true, tag.group(2).strip(), null));
      }
      end = tag.end();
    }
    String rest = source.substring(end);
    addText(pieces, end > 0 && source.charAt(end - 3) == '-' ? rest.stripLeading() : rest);
    for (String open : List.of("{{", "{%")) {
      if (pieces.stream().anyMatch(p -> !p.statement() && p.text().contains(open))) {
        throw new TemplateException("'" + open + "' without its end in '" + source.strip() + "'");
      }
    }
    return pieces;
  }

  private static void addText(List<Piece> pieces, String text) {
    if (!text.isEmpty()) {
      pieces.add(new Piece(false, text, null));
    }
  }

  /// Nodes up to a statement that is not its own: `else`, `endif`, ...
  private static Node block(List<Piece> pieces, int[] at) {
    List<Node> nodes = new ArrayList<>();
    while (at[0] < pieces.size()) {
      Piece piece = pieces.get(at[0]);
      Expression expression = piece.expression();
      if (expression != null) {
        nodes.add((names, out) -> out.append(Values.text(expression.value(names))));
      } else if (!piece.statement()) {
        nodes.add((_, out) -> out.append(piece.text()));
      } else if (piece.text().startsWith("if ")) {
        nodes.add(conditional(pieces, at));
        continue;
      } else if (piece.text().startsWith("for ")) {
        nodes.add(loop(pieces, at));
        continue;
      } else if (piece.text().startsWith("set ")) {
        nodes.add(assignment(piece.text().substring(4)));
      } else if (piece.text().matches("(elif .*|else|endif|endfor)")) {
        break;
      } else {
        throw new TemplateException("{% " + piece.text() + " %} is not supported");
      }
      at[0]++;
    }
    return (names, out) -> nodes.forEach(node -> node.render(names, out));
  }

  private static Node conditional(List<Piece> pieces, int[] at) {
    String head = pieces.get(at[0]++).text();
    Expression condition = ExpressionParser.parse(head.replaceFirst("^(el)?if\\s", ""));
    Node yes = block(pieces, at);
    String next = at[0] < pieces.size() ? pieces.get(at[0]).text() : "";
    Node no;
    if (next.startsWith("elif ")) {
      no = conditional(pieces, at);
    } else if (next.equals("else")) {
      at[0]++;
      no = block(pieces, at);
      expect(pieces, at, "endif");
    } else {
      no = (_, _) -> {};
      expect(pieces, at, "endif");
    }
    return (names, out) -> (Values.truth(condition.value(names)) ? yes : no).render(names, out);
  }

  private static Node loop(List<Piece> pieces, int[] at) {
    String head = pieces.get(at[0]++).text();
    Matcher parts = FOR.matcher(head);
    if (!parts.matches()) {
      throw new TemplateException("{% " + head + " %}: want for NAME in LIST");
    }
    List<String> variables = List.of(parts.group(1).split("\\s*,\\s*"));
    Expression list = ExpressionParser.parse(parts.group(2));
    Node body = block(pieces, at);
    expect(pieces, at, "endfor");
    return (names, out) -> {
      List<?> values = Values.list(list.value(names));
      for (int i = 0; i < values.size(); i++) {
        Map<String, @Nullable Object> inner = new LinkedHashMap<>(names);
        List<?> parts1 = variables.size() == 1 ? List.of() : Values.list(values.get(i));
        if (variables.size() > 1 && parts1.size() != variables.size()) {
          throw new TemplateException(
              "{%% %s %%}: there are %d values for %d names"
                  .formatted(head, parts1.size(), variables.size()));
        }
        for (int v = 0; v < variables.size(); v++) {
          inner.put(variables.get(v), variables.size() == 1 ? values.get(i) : parts1.get(v));
        }
        inner.put(
            "loop",
            Map.of(
                "index",
                i + 1L,
                "index0",
                (long) i,
                "first",
                i == 0,
                "last",
                i == values.size() - 1,
                "length",
                (long) values.size()));
        body.render(inner, out);
      }
    };
  }

  private static Node assignment(String text) {
    String[] parts = text.split("=", 2);
    if (parts.length < 2 || !parts[0].strip().matches("\\w+")) {
      throw new TemplateException("{% set " + text + " %}: want set NAME = VALUE");
    }
    Expression value = ExpressionParser.parse(parts[1]);
    return (names, _) -> names.put(parts[0].strip(), value.value(names));
  }

  private static void expect(List<Piece> pieces, int[] at, String statement) {
    if (at[0] >= pieces.size() || !pieces.get(at[0]).text().equals(statement)) {
      throw new TemplateException("{% " + statement + " %} is missing");
    }
    at[0]++;
  }

  @Override
  public String toString() {
    return source;
  }
}
