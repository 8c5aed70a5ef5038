package org.modegpt.jinja;

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
  ///
  /// @param called whether arguments follow: else an entry hides a method of its name
  static Object attribute(Object value, String name, boolean called) {
    if (!called && value instanceof Map<?, ?> map && map.get(name) != null) {
      return map.get(name);
    }
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
      return found == null ? Operators.missing(value, name) : found;
    }
    return Operators.item(value, name);
  }

  private static @Nullable Function ofString(String s, String name) {
    return switch (name) {
      case "strip" -> a -> strip(s, a.optionalText(0, "chars"), true, true);
      case "lstrip" -> a -> strip(s, a.optionalText(0, "chars"), true, false);
      case "rstrip" -> a -> strip(s, a.optionalText(0, "chars"), false, true);
      case "split" -> a -> split(s, a, false);
      case "rsplit" -> a -> split(s, a, true);
      case "splitlines" -> _ -> new ArrayList<Object>(s.lines().toList());
      case "startswith" -> a -> options(a, "prefix").stream().anyMatch(s::startsWith);
      case "endswith" -> a -> options(a, "suffix").stream().anyMatch(s::endsWith);
      case "upper" -> _ -> s.toUpperCase(Locale.ROOT);
      case "lower" -> _ -> s.toLowerCase(Locale.ROOT);
      case "title" -> _ -> Filters.title(s);
      case "capitalize" -> _ -> Filters.capitalize(s);
      case "replace" -> a -> Filters.replace(s, a);
      case "join" -> a -> Filters.join(a.require(0, "iterable"), s);
      case "find" -> a -> (long) s.indexOf(a.text(0, "sub"));
      case "index" -> a -> found(s.indexOf(a.text(0, "sub")), s, a.text(0, "sub"));
      case "count" -> a -> count(s, a.text(0, "sub"));
      case "isdigit" -> _ -> !s.isEmpty() && s.chars().allMatch(Character::isDigit);
      case "isalpha" -> _ -> !s.isEmpty() && s.chars().allMatch(Character::isLetter);
      case "isspace" -> _ -> !s.isEmpty() && s.isBlank();
      case "isupper" ->
          _ -> !s.equals(s.toLowerCase(Locale.ROOT)) && s.equals(s.toUpperCase(Locale.ROOT));
      case "islower" ->
          _ -> !s.equals(s.toUpperCase(Locale.ROOT)) && s.equals(s.toLowerCase(Locale.ROOT));
      case "removeprefix" ->
          a -> s.startsWith(a.text(0, "prefix")) ? s.substring(a.text(0, "prefix").length()) : s;
      case "removesuffix" ->
          a ->
              s.endsWith(a.text(0, "suffix"))
                  ? s.substring(0, s.length() - a.text(0, "suffix").length())
                  : s;
      default -> null;
    };
  }

  private static List<String> options(Arguments a, String name) {
    Object first = a.require(0, name);
    return first instanceof List<?> list
        ? list.stream().map(Values::string).toList()
        : List.of(Values.string(first));
  }

  private static long count(String s, String part) {
    return part.isEmpty()
        ? s.length() + 1
        : (s.length() - s.replace(part, "").length()) / part.length();
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

  private static Object split(String s, Arguments a, boolean fromRight) {
    String separator = a.optionalText(0, "sep");
    long most = Values.integer(a.or(1, "maxsplit", -1L));
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
          a -> {
            ((List<Object>) list).add(a.require(0, "object"));
            return None.NONE;
          };
      case "pop" ->
          a -> {
            long at = Values.integer(a.or(0, "index", -1L));
            long place = at < 0 ? at + list.size() : at;
            if (place < 0 || place >= list.size()) {
              throw new TemplateException(Values.kind(list) + " has no element " + at);
            }
            return ((List<Object>) list).remove((int) place);
          };
      case "index" -> a -> index(list, a.require(0, "value"));
      case "count" ->
          a -> list.stream().filter(x -> Values.equal(x, a.require(0, "value"))).count();
      default -> null;
    };
  }

  private static long index(List<?> list, Object wanted) {
    int at = 0;
    while (at < list.size() && !Values.equal(list.get(at), wanted)) {
      at++;
    }
    return found(at < list.size() ? at : -1, list, wanted);
  }

  private static long found(int index, Object within, Object wanted) {
    if (index < 0) {
      throw new TemplateException(Values.kind(wanted) + " is not in " + Values.text(within));
    }
    return index;
  }

  @SuppressWarnings("unchecked") // maps of templates are ours and hold any value
  private static @Nullable Function ofMap(Map<?, ?> map, String name) {
    return switch (name) {
      case "items" -> _ -> items(map);
      case "keys" -> _ -> new ArrayList<Object>(map.keySet());
      case "values" -> _ -> new ArrayList<Object>(map.values());
      case "get" ->
          a -> {
            Object found = map.get(a.require(0, "key"));
            return found != null ? found : a.or(1, "default", None.NONE);
          };
      case "update" ->
          a -> {
            if (!(a.require(0, "other") instanceof Map<?, ?> more)) {
              throw Values.unsuited("an object", a.require(0, "other"));
            }
            ((Map<Object, Object>) map).putAll((Map<Object, Object>) more);
            return None.NONE;
          };
      case "copy" -> _ -> new LinkedHashMap<Object, Object>(map);
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
