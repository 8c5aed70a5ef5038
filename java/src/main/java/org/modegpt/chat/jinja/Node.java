package org.modegpt.chat.jinja;

import java.util.List;

/// A parsed part of a template.
@FunctionalInterface
interface Node {
  /// Appends what the part gives.
  void render(Scope scope, StringBuilder out);

  static Node all(List<Node> nodes) {
    return (scope, out) -> {
      for (Node node : nodes) {
        node.render(scope, out);
      }
    };
  }
}
