package org.modegpt.runs.cli;

import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.modegpt.UserException;

/// Plain text for terminals.
final class Text {
  private static final DateTimeFormatter TIME =
      DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm:ss", Locale.ROOT)
          .withZone(ZoneId.systemDefault());

  private Text() {}

  /// Rows with aligned columns; the first row is the header. Cells that are numbers stand right.
  static String table(List<List<String>> rows) {
    int columns = rows.getFirst().size();
    int[] widths = new int[columns];
    for (List<String> row : rows) {
      for (int i = 0; i < columns; i++) {
        widths[i] = Math.max(widths[i], row.get(i).length());
      }
    }
    StringBuilder out = new StringBuilder();
    for (List<String> row : rows) {
      StringBuilder line = new StringBuilder();
      for (int i = 0; i < columns; i++) {
        String cell = row.get(i);
        String padding = " ".repeat(widths[i] - cell.length());
        boolean number = cell.matches("[-+]?[0-9].*");
        line.append(number ? padding + cell : cell + padding).append("  ");
      }
      out.append(line.toString().stripTrailing()).append('\n');
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

  static String seconds(double seconds) {
    if (seconds < 60) {
      return number(seconds) + " s";
    }
    Duration d = Duration.ofSeconds(Math.round(seconds));
    return d.toHours() > 0
        ? "%d:%02d:%02d h".formatted(d.toHours(), d.toMinutesPart(), d.toSecondsPart())
        : "%d:%02d min".formatted(d.toMinutes(), d.toSecondsPart());
  }

  /// Four significant digits, whole numbers in full.
  static String number(double value) {
    if (Double.isNaN(value) || Double.isInfinite(value)) {
      return Double.toString(value);
    }
    if (value == Math.rint(value) && Math.abs(value) < 1e15) {
      return Long.toString((long) value);
    }
    double size = Math.abs(value);
    if (size >= 1e6 || size < 1e-3) {
      return String.format(Locale.ROOT, "%.3e", value);
    }
    int decimals = Math.clamp(3 - (int) Math.floor(Math.log10(size)), 0, 6);
    return String.format(Locale.ROOT, "%." + decimals + "f", value);
  }

  static String bytes(double bytes) {
    List<String> units = new ArrayList<>(List.of("B", "KiB", "MiB", "GiB", "TiB"));
    double value = bytes;
    while (Math.abs(value) >= 1024 && units.size() > 1) {
      value /= 1024;
      units.removeFirst();
    }
    return number(value) + " " + units.getFirst();
  }

  /// A number of bytes such as `2GiB`, `512M` or `1000000`.
  static double parseBytes(String text) {
    java.util.regex.Matcher m =
        java.util.regex.Pattern.compile(
                "([0-9]+(?:\\.[0-9]+)?)\\s*([KMGT]?)(i?B?)",
                java.util.regex.Pattern.CASE_INSENSITIVE)
            .matcher(text.strip());
    if (!m.matches()) {
      throw new UserException(
          "A size is a number with KiB, MiB, GiB or TiB, as in 2GiB, not " + text + ".");
    }
    int power = m.group(2).isEmpty() ? 0 : "KMGT".indexOf(m.group(2).toUpperCase(Locale.ROOT)) + 1;
    boolean decimal = m.group(3).equalsIgnoreCase("B") && power > 0;
    return Double.parseDouble(m.group(1)) * Math.pow(decimal ? 1000 : 1024, power);
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
