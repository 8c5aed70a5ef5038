package org.modegpt.chat.jinja;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/// Attributes: Python's methods of strings, lists and dictionaries, and the entries of dictionaries
/// and namespaces.
final class Methods {
  private Methods() {}

  /// `value.name`.
  static Object attribute(Object value, String name) {
    Function method =
        switch (value) {
          case String s -> ofString(s, name);
          case List<?> list -> ofList(list, name);
          case Map<?, ?> map -> ofMap(map, name);
          default -> null;
        };
    if (method != null) {
      return method;
    }
    if (value instanceof Namespace space) {
      Object found = space.values().get(name);
      return found == null ? new Undefined(name) : found;
    }
    return value instanceof Map || value instanceof Undefined
        ? Values.item(value, name)
        : new Undefined(name);
  }

  private static @Nullable Function ofString(String s, String name) {
    return switch (name) {
      case "strip" -> (a, _) -> strip(s, characters(a), true, true);
      case "lstrip" -> (a, _) -> strip(s, characters(a), true, false);
      case "rstrip" -> (a, _) -> strip(s, characters(a), false, true);
      case "split" -> (a, n) -> split(s, a, n, false);
      case "rsplit" -> (a, n) -> split(s, a, n, true);
      case "splitlines" -> (_, _) -> new ArrayList<Object>(s.lines().toList());
      case "startswith" -> (a, _) -> options(a).stream().anyMatch(s::startsWith);
      case "endswith" -> (a, _) -> options(a).stream().anyMatch(s::endsWith);
      case "upper" -> (_, _) -> s.toUpperCase(Locale.ROOT);
      case "lower" -> (_, _) -> s.toLowerCase(Locale.ROOT);
      case "title" -> (_, _) -> Filters.title(s);
      case "capitalize" -> (_, _) -> Filters.capitalize(s);
      case "replace" -> (a, _) -> Filters.replace(s, a);
      case "join" -> (a, _) -> Filters.join(a.getFirst(), s);
      case "find" -> (a, _) -> (long) s.indexOf(Values.string(a.getFirst()));
      case "count" ->
          (a, _) -> (long) s.split(Pattern.quote(Values.string(a.getFirst())), -1).length - 1;
      case "isdigit" -> (_, _) -> !s.isEmpty() && s.chars().allMatch(Character::isDigit);
      case "isspace" -> (_, _) -> !s.isEmpty() && s.isBlank();
      case "removeprefix" ->
          (a, _) ->
              s.startsWith(Values.string(a.getFirst()))
                  ? s.substring(Values.string(a.getFirst()).length())
                  : s;
      case "removesuffix" ->
          (a, _) ->
              s.endsWith(Values.string(a.getFirst()))
                  ? s.substring(0, s.length() - Values.string(a.getFirst()).length())
                  : s;
      default -> null;
    };
  }

  private static List<String> options(List<Object> arguments) {
    Object first = arguments.getFirst();
    return first instanceof List<?> list
        ? list.stream().map(Values::string).toList()
        : List.of(Values.string(first));
  }

  private static @Nullable String characters(List<Object> arguments) {
    return arguments.isEmpty() || arguments.getFirst() instanceof None
        ? null
        : Values.string(arguments.getFirst());
  }

  /// Removes characters of a set, or white space, at the ends.
  static String strip(String s, @Nullable String set, boolean left, boolean right) {
    int from = 0;
    int to = s.length();
    while (left && from < to && strips(s.charAt(from), set)) {
      from++;
    }
    while (right && to > from && strips(s.charAt(to - 1), set)) {
      to--;
    }
    return s.substring(from, to);
  }

  private static boolean strips(char c, @Nullable String set) {
    return set == null
        ? Character.isWhitespace(c) || Character.isSpaceChar(c) || c == '\u0085'
        : set.indexOf(c) >= 0;
  }

  private static Object split(
      String s, List<Object> arguments, Map<String, Object> named, boolean fromRight) {
    String separator = characters(arguments);
    Object limit = arguments.size() > 1 ? arguments.get(1) : named.getOrDefault("maxsplit", -1L);
    long most = Values.integer(limit);
    if (separator == null) {
      String stripped = strip(s, null, true, true);
      List<Object> words = new ArrayList<>();
      if (!stripped.isEmpty()) {
        words.addAll(
            Arrays.asList(
                stripped.split("\\s+", most < 0 ? 0 : (int) Math.min(most + 1, 1 << 20))));
      }
      return words;
    }
    List<Object> parts = new ArrayList<>(Arrays.asList(s.split(Pattern.quote(separator), -1)));
    while (most >= 0 && parts.size() > most + 1) {
      int at = fromRight ? 0 : parts.size() - 2;
      String joined = Values.text(parts.get(at)) + separator + Values.text(parts.get(at + 1));
      parts.set(at, joined);
      parts.remove(at + 1);
    }
    return parts;
  }

  @SuppressWarnings("unchecked") // lists of templates are ours and hold any value
  private static @Nullable Function ofList(List<?> list, String name) {
    return switch (name) {
      case "append" ->
          (a, _) -> {
            ((List<Object>) list).add(a.getFirst());
            return None.NONE;
          };
      case "pop" ->
          (a, _) -> {
            long at = a.isEmpty() ? list.size() - 1L : Values.integer(a.getFirst());
            return ((List<Object>) list).remove((int) (at < 0 ? at + list.size() : at));
          };
      case "index" -> (a, _) -> (long) list.indexOf(a.getFirst());
      case "count" -> (a, _) -> list.stream().filter(x -> Values.equal(x, a.getFirst())).count();
      default -> null;
    };
  }

  @SuppressWarnings("unchecked") // maps of templates are ours and hold any value
  private static @Nullable Function ofMap(Map<?, ?> map, String name) {
    return switch (name) {
      case "items" -> (_, _) -> items(map);
      case "keys" -> (_, _) -> new ArrayList<Object>(map.keySet());
      case "values" -> (_, _) -> new ArrayList<Object>(map.values());
      case "get" ->
          (a, _) -> {
            Object found = map.get(a.getFirst());
            return found != null ? found : a.size() > 1 ? a.get(1) : None.NONE;
          };
      case "update" ->
          (a, _) -> {
            ((Map<Object, Object>) map).putAll((Map<Object, Object>) a.getFirst());
            return None.NONE;
          };
      case "copy" -> (_, _) -> new LinkedHashMap<Object, Object>(map);
      default -> null;
    };
  }

  /// Pairs of key and value.
  static List<Object> items(Map<?, ?> map) {
    List<Object> pairs = new ArrayList<>();
    map.forEach((key, value) -> pairs.add(List.of(key, value)));
    return pairs;
  }
}
