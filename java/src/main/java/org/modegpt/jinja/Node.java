package org.modegpt.jinja;

import java.util.List;

/// A parsed part of a template.
@FunctionalInterface
interface Node {
  /// Appends what the part gives.
  void render(Scope scope, StringBuilder out);

  /// Text as it stands.
  record Text(String text) implements Node {
    @Override
    public void render(Scope scope, StringBuilder out) {
      out.append(text);
    }
  }

  /// `{{ expression }}`.
  record Output(Expression expression) implements Node {
    @Override
    public void render(Scope scope, StringBuilder out) {
      out.append(Values.text(expression.value(scope)));
    }
  }

  static Node all(List<Node> nodes) {
    if (nodes.size() == 1) {
      return nodes.getFirst();
    }
    return (scope, out) -> {
      for (Node node : nodes) {
        node.render(scope, out);
      }
    };
  }
}
