package org.modegpt.jinja;

import java.util.Map;
import java.util.TreeMap;

/// How templates of one kind are read, and what they can use beyond the language itself. Immutable
/// if its maps are.
///
/// @param strict whether what does not exist is an error: a variable or member where its value is
///   wanted, a filter, test or function when the template is parsed. Otherwise a missing value is
///   empty as a text, list or condition, and a filter matters where it is reached
/// @param trimBlocks whether a statement or comment on a line of its own leaves no line: Jinja's
///   `trim_blocks` and `lstrip_blocks`, without `keep_trailing_newline`
/// @param variable what a variable is called in messages
/// @param functions by name, beside `range`, `namespace` and `dict`
/// @param filters by name, beside Jinja's
public record Environment(
    boolean strict,
    boolean trimBlocks,
    String variable,
    Map<String, Function> functions,
    Map<String, Filter> filters) {
  public Environment {
    functions = merged(Functions.STANDARD, functions);
    filters = merged(new Filters(filters).all(), filters);
  }

  private static <T> Map<String, T> merged(Map<String, T> standard, Map<String, T> more) {
    Map<String, T> all = new TreeMap<>(standard);
    all.putAll(more);
    return all;
  }
}
