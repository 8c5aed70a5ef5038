package org.modegpt.jinja;

/// The value of a name or member that does not exist: empty as a text, a list and a condition
/// unless it is strict, an error in all else.
///
/// @param what what is missing, as a message
/// @param strict whether it may only be asked for (`is defined`, `default`)
record Undefined(String what, boolean strict) {
  Undefined(String what) {
    this(what, false);
  }

  /// What stands for it where something empty does.
  <T> T instead(T empty) {
    if (strict) {
      throw new TemplateException(what);
    }
    return empty;
  }

  /// A value as templates of a strict environment see it.
  static Object strict(Object value) {
    return value instanceof Undefined missing ? new Undefined(missing.what, true) : value;
  }
}
