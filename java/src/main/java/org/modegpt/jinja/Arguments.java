package org.modegpt.jinja;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// The arguments of a call.
///
/// @param values by place
/// @param named by name
public record Arguments(List<Object> values, Map<String, Object> named) {
  static final Arguments NONE = new Arguments(List.of(), Map.of());

  /// The argument at a place, from 0, or of a name; null if it is not given.
  public @Nullable Object get(int place, String name) {
    return place < values.size() ? values.get(place) : named.get(name);
  }

  /// The same; without it the call fails.
  public Object require(int place, String name) {
    Object given = get(place, name);
    if (given == null) {
      throw new TemplateException("the argument '" + name + "' is missing");
    }
    return given;
  }

  /// The same, which has to be a text.
  public String text(int place, String name) {
    return Values.string(require(place, name));
  }

  /// The argument or, without it, another value.
  Object or(int place, String name, Object otherwise) {
    Object given = get(place, name);
    return given == null ? otherwise : given;
  }

  /// A text, or null where it is not given or None.
  @Nullable String optionalText(int place, String name) {
    return or(place, name, None.NONE) instanceof None ? null : text(place, name);
  }

  /// Those after the first `count` places.
  Arguments after(int count) {
    return new Arguments(values.subList(Math.min(count, values.size()), values.size()), named);
  }
}
