package org.modegpt.io;

import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.modegpt.UserException;

/// Sizes in bytes as people write them: `5GB` (decimal, as Hugging Face counts), `512MiB` (binary),
/// `1000000`.
public final class ByteSize {
  private static final Pattern SYNTAX =
      Pattern.compile("(\\d{1,12}(?:\\.\\d{1,6})?) *([KMGT]?I?B?)");
  private static final Map<Character, Integer> POWER = Map.of('K', 1, 'M', 2, 'G', 3, 'T', 4);
  private static final String[] UNITS = {"B", "KiB", "MiB", "GiB", "TiB"};

  private ByteSize() {}

  /// Parses a size.
  ///
  /// @throws UserException if it is none, or less than one byte
  public static long parse(String text) {
    Matcher m = SYNTAX.matcher(text.strip().toUpperCase(Locale.ROOT));
    if (!m.matches()) {
      throw new UserException(
          "'%s' is not a size; write it like 5GB, 512MiB or 1000000".formatted(text));
    }
    String unit = m.group(2);
    int power = unit.isEmpty() ? 0 : POWER.getOrDefault(unit.charAt(0), 0);
    double bytes =
        Double.parseDouble(m.group(1)) * Math.pow(unit.contains("I") ? 1024 : 1000, power);
    if (bytes < 1 || bytes > 1L << 60) {
      throw new UserException("the size '%s' is out of range".formatted(text));
    }
    return (long) bytes;
  }

  /// `4.7 GiB`.
  public static String format(long bytes) {
    double value = bytes;
    int unit = 0;
    while (value >= 1024 && unit < UNITS.length - 1) {
      value /= 1024;
      unit++;
    }
    return unit == 0 ? bytes + " B" : String.format(Locale.ROOT, "%.1f %s", value, UNITS[unit]);
  }
}
