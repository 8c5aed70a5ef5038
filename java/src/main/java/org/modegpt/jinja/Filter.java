package org.modegpt.jinja;

/// What can stand after `|`.
@FunctionalInterface
public interface Filter {
  /// `value | name(arguments)`.
  ///
  /// @param value maybe undefined
  /// @throws TemplateException if it cannot do with them
  Object apply(Object value, Arguments arguments);
}
