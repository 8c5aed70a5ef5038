package org.modegpt.jinja;

/// A parsed expression.
@FunctionalInterface
interface Expression {
  Object value(Scope scope);
}
