package org.modegpt.runs;

import java.time.Duration;
import java.util.Locale;
import org.modegpt.io.ByteSize;

/// Numbers for people.
public final class Figures {
  private Figures() {}

  /// A metric's value in the unit its name says.
  public static String metric(String key, double value) {
    String name = RunRecord.Metric.ofKey(key, value).name();
    if (name.contains("bytes")) {
      return ByteSize.format((long) value);
    }
    return name.equals(Metrics.SECONDS) ? seconds(value) : number(value);
  }

  /// A stretch of time.
  public static String seconds(double seconds) {
    if (seconds < 60) {
      return number(seconds) + " s";
    }
    Duration d = Duration.ofSeconds(Math.round(seconds));
    return d.toHours() > 0
        ? "%d:%02d:%02d h".formatted(d.toHours(), d.toMinutesPart(), d.toSecondsPart())
        : "%d:%02d min".formatted(d.toMinutes(), d.toSecondsPart());
  }

  /// Four significant digits, whole numbers in full.
  public static String number(double value) {
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
}
