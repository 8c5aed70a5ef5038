package org.modegpt.jinja;

/// Something a template can call: `name(arguments)`.
@FunctionalInterface
public interface Function {
  /// @throws TemplateException if it cannot do with the arguments
  Object call(Arguments arguments);
}
