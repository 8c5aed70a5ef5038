package org.modegpt.jinja;

/// A piece of a template.
///
/// @param value text; name; content of a string; digits; operator
/// @param line where it is, from 1
record Token(Kind kind, String value, int line) {
  /// What a piece is. `BEGIN` and `END` enclose `{{ }}` (value `{{`) and `{% %}` (value `{%`).
  enum Kind {
    TEXT,
    BEGIN,
    END,
    NAME,
    STRING,
    NUMBER,
    OPERATOR
  }

  boolean is(String operator) {
    return kind == Kind.OPERATOR && value.equals(operator);
  }

  boolean isName(String name) {
    return kind == Kind.NAME && value.equals(name);
  }
}
