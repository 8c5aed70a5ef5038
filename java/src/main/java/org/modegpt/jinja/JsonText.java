package org.modegpt.jinja;

import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.modegpt.io.Json;

/// JSON as Python writes it, with `", "` and `": "` between the parts: templates put it before
/// models that have learned it so.
final class JsonText {
  private final StringBuilder out = new StringBuilder();
  private final @Nullable String indent;

  private JsonText(@Nullable String indent) {
    this.indent = indent;
  }

  /// @param indent blanks of each level on lines of their own, or null for one line
  static String of(Object value, @Nullable Object indent) {
    JsonText text =
        new JsonText(
            indent == null || indent instanceof None
                ? null
                : " ".repeat(Math.clamp(Values.integer(indent), 0, 100)));
    text.write(value, 0);
    return text.out.toString();
  }

  private void write(Object value, int level) {
    switch (value) {
      case Map<?, ?> map -> {
        Iterator<? extends Map.Entry<?, ?>> entries = map.entrySet().iterator();
        enclosed(
            '{',
            '}',
            map.size(),
            level,
            () -> {
              Map.Entry<?, ?> entry = entries.next();
              string(Values.text(entry.getKey()));
              out.append(": ");
              write(entry.getValue(), level + 1);
            });
      }
      case List<?> list -> {
        Iterator<?> items = list.iterator();
        enclosed('[', ']', list.size(), level, () -> write(items.next(), level + 1));
      }
      case String s -> string(s);
      case Boolean b -> out.append(b);
      case Long n -> out.append(n);
      case Double d -> out.append(d);
      default -> {
        if (!(value instanceof None)) {
          throw Values.unsuited("what JSON can hold", value);
        }
        out.append("null");
      }
    }
  }

  private void enclosed(char open, char close, int size, int level, Runnable element) {
    out.append(open);
    for (int i = 0; i < size; i++) {
      if (i > 0) {
        out.append(indent == null ? ", " : ",");
      }
      line(level + 1);
      element.run();
    }
    if (size > 0) {
      line(level);
    }
    out.append(close);
  }

  private void line(int level) {
    if (indent != null) {
      out.append('\n').append(indent.repeat(level));
    }
  }

  private void string(String s) {
    out.append(Json.MAPPER.writeValueAsString(s));
  }
}
