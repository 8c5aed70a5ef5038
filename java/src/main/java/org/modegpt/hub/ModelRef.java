package org.modegpt.hub;

import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;

/// The name of a model on the hub: `org/name`, `org/name@revision`, `org/name:file.gguf`, or both
/// as `org/name:file.gguf@revision`. An address in front (`hf.co/`, `https://huggingface.co/`) is
/// dropped.
///
/// @param id `org/name`, or `name` for the few without an organisation
/// @param file one file of the repository, or what its name contains (`Q4_K_M`)
/// @param revision branch, tag or commit
public record ModelRef(String id, @Nullable String file, String revision) {
  /// The revision meant when none is given.
  public static final String MAIN = "main";

  private static final String WORD = "[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?";
  private static final Pattern NAME =
      Pattern.compile(
          "(?<id>(?:"
              + WORD
              + "/)?"
              + WORD
              + ")"
              + "(?::(?<file>[^@]+))?(?:@(?<revision>[^@\\s]+))?");

  private static final Pattern ADDRESS =
      Pattern.compile("(?:(?:https?://)?(?:www\\.)?(?:huggingface\\.co|hf\\.co)/|hf://)(.*?)/*");

  /// Reads a name.
  ///
  /// @throws UserException if it is none
  public static ModelRef parse(String text) {
    return maybe(text)
        .orElseThrow(() ->
            new UserException(
                "'%s' is no name of a model on the hub: want org/name, org/name@revision or org/name:file.gguf"
                    .formatted(text)));
  }

  /// The name, if `text` has the form of one.
  public static Optional<ModelRef> maybe(String text) {
    Matcher address = ADDRESS.matcher(text.strip());
    Matcher m = NAME.matcher(address.matches() ? address.group(1) : text.strip());
    if (!m.matches() || m.group("id").contains("--") || m.group("id").contains("..")) {
      return Optional.empty();
    }
    String file = m.group("file");
    String revision = m.group("revision");
    if ((file != null && !safe(file)) || (revision != null && !safe(revision))) {
      return Optional.empty();
    }
    return Optional.of(new ModelRef(m.group("id"), file, revision == null ? MAIN : revision));
  }

  /// Whether a name that becomes a path below some folder stays in that folder.
  static boolean safe(String name) {
    if (name.isEmpty() || name.startsWith("/") || name.contains("\\") || name.contains("\0")) {
      return false;
    }
    for (String part : name.split("/", -1)) {
      if (part.isEmpty() || part.equals(".") || part.equals("..")) {
        return false;
      }
    }
    return true;
  }

  public ModelRef withRevision(String other) {
    if (!safe(other)) {
      throw new UserException("'%s' is no branch, tag or commit".formatted(other));
    }
    return new ModelRef(id, file, other);
  }

  @Override
  public String toString() {
    return id + (file == null ? "" : ":" + file) + (revision.equals(MAIN) ? "" : "@" + revision);
  }
}
