package org.modegpt.cli;

import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.List;
import java.util.Locale;
import org.modegpt.UserException;

/// Plain text for terminals.
final class Text {
  private static final DateTimeFormatter TIME =
      DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm:ss", Locale.ROOT)
          .withZone(ZoneId.systemDefault());

  private Text() {}

  /// Names and values below each other.
  static String facts(List<List<String>> facts) {
    int width = facts.stream().mapToInt(f -> safe(f.getFirst()).length()).max().orElse(0);
    StringBuilder out = new StringBuilder();
    for (List<String> fact : facts) {
      String name = safe(fact.getFirst());
      out.append(name).append(" ".repeat(width - name.length() + 2)).append(safe(fact.getLast()));
      out.append('\n');
    }
    return out.toString();
  }

  /// The text with control characters (terminal escapes among them) made visible, for names that
  /// came from elsewhere.
  static String safe(String text) {
    StringBuilder out = new StringBuilder();
    text.codePoints()
        .forEach(c -> {
          if (Character.isISOControl(c) || Character.getType(c) == Character.FORMAT) {
            out.append(String.format(Locale.ROOT, "\\u%04x", c));
          } else {
            out.appendCodePoint(c);
          }
        });
    return out.toString();
  }

  static String time(Instant at) {
    return TIME.format(at);
  }

  /// A stretch of time such as `90s`, `30m`, `12h` or `7d`.
  static Duration duration(String text) {
    java.util.regex.Matcher m =
        java.util.regex.Pattern.compile("([0-9]{1,6})([smhd])").matcher(text.strip());
    if (!m.matches()) {
      throw new UserException(
          "A duration is a number with s, m, h or d, as in 7d, not " + text + ".");
    }
    long n = Long.parseLong(m.group(1));
    return switch (m.group(2)) {
      case "s" -> Duration.ofSeconds(n);
      case "m" -> Duration.ofMinutes(n);
      case "h" -> Duration.ofHours(n);
      default -> Duration.ofDays(n);
    };
  }
}
