package org.modegpt.hub;

import java.util.List;
import java.util.Locale;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.modegpt.UserException;

/// Which files of a repository are wanted.
///
/// Patterns are those of other tools: `*` is any text, slashes included, `?` one character, `[...]`
/// one of several, and a folder with a slash at its end is all that is in it.
///
/// @param include patterns of wanted files; without any, what this program can use
/// @param exclude patterns of files that are not wanted
public record FileSelection(List<String> include, List<String> exclude) {
  /// What this program can use.
  public static final FileSelection DEFAULT = new FileSelection(List.of(), List.of());

  private static final Pattern WEIGHTS =
      Pattern.compile("(?!consolidated)[^/]+\\.safetensors(\\.index\\.json)?");

  private static final Pattern BESIDE =
      Pattern.compile(
          "[^/]+\\.(json|txt|model|jinja|md)|additional_chat_templates/[^/]+\\.jinja"
              + "|(LICEN[SC]E|NOTICE|USE_POLICY)[^/]*");

  private static final Pattern PART = Pattern.compile("(.*)-\\d{5}-of-\\d{5}\\.gguf");

  /// The wanted ones of `files`.
  ///
  /// @throws UserException if that is nothing, or not clear
  List<String> of(ModelRef ref, List<String> files) {
    List<String> allowed =
        files.stream().filter(f -> exclude.stream().noneMatch(p -> matches(p, f))).toList();
    List<String> chosen;
    if (ref.file() != null) {
      chosen = named(ref, ref.file(), allowed);
    } else if (!include.isEmpty()) {
      chosen = allowed.stream().filter(f -> include.stream().anyMatch(p -> matches(p, f))).toList();
    } else {
      chosen = usable(ref, allowed);
    }
    if (chosen.isEmpty()) {
      throw new UserException(
          "no file of '%s' fits the patterns; it has %s".formatted(ref, shortList(files)));
    }
    return chosen;
  }

  private static List<String> usable(ModelRef ref, List<String> files) {
    if (files.stream().anyMatch(f -> WEIGHTS.matcher(f).matches())) {
      return files.stream()
          .filter(f -> WEIGHTS.matcher(f).matches() || BESIDE.matcher(f).matches())
          .filter(f -> !f.startsWith("consolidated"))
          .toList();
    }
    List<String> ggufs = files.stream().filter(FileSelection::isGguf).toList();
    if (ggufs.size() == 1) {
      return ggufs;
    }
    throw new UserException(
        ggufs.isEmpty()
            ? "'%s' has no safetensors and no .gguf file, the formats this program reads; --include '*' downloads all the same"
                .formatted(ref)
            : "'%s' has %d .gguf files, name one as %s:FILE: %s"
                .formatted(ref, ggufs.size(), ref.id(), shortList(ggufs)));
  }

  /// A file by its name, or the one GGUF file (with all its parts) whose name contains the text.
  static List<String> named(ModelRef ref, String name, List<String> files) {
    List<String> found = matching(name, files);
    long different = found.stream().map(f -> PART.matcher(f).replaceFirst("$1")).distinct().count();
    if (different == 1) {
      return found;
    }
    throw new UserException(
        "'%s' has %s: %s"
            .formatted(
                ref.id(),
                different == 0
                    ? "no file '%s', it has".formatted(name)
                    : "several files '%s', name one of".formatted(name),
                shortList(different == 0 ? files : found)));
  }

  /// The file of that name, else all GGUF files whose names contain it.
  static List<String> matching(String name, List<String> files) {
    String part = name.toLowerCase(Locale.ROOT);
    return files.contains(name)
        ? List.of(name)
        : files.stream()
            .filter(f -> isGguf(f) && f.toLowerCase(Locale.ROOT).contains(part))
            .toList();
  }

  static boolean isGguf(String file) {
    return file.endsWith(".gguf");
  }

  private static String shortList(List<String> files) {
    return files.stream().limit(12).collect(Collectors.joining(", "))
        + (files.size() > 12 ? ", and %d more".formatted(files.size() - 12) : "");
  }

  static boolean matches(String pattern, String file) {
    String whole = pattern.endsWith("/") ? pattern + "*" : pattern;
    StringBuilder regex = new StringBuilder();
    for (int i = 0; i < whole.length(); i++) {
      char c = whole.charAt(i);
      int end = c == '[' ? whole.indexOf(']', i + 2) : -1;
      if (c == '*') {
        regex.append(".*");
      } else if (c == '?') {
        regex.append('.');
      } else if (end > 0) {
        String set = whole.substring(i + 1, end).replace("\\", "\\\\").replace("[", "\\[");
        regex.append('[').append(set.startsWith("!") ? "^" + set.substring(1) : set).append(']');
        i = end;
      } else {
        regex.append(Pattern.quote(String.valueOf(c)));
      }
    }
    return Pattern.compile(regex.toString(), Pattern.DOTALL).matcher(file).matches();
  }
}
