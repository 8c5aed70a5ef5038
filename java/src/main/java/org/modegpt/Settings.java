package org.modegpt;

import java.util.Locale;
import org.jspecify.annotations.Nullable;

/// Settings that are not options of a command. One rule: the setting `x.y` is the system property
/// `modegpt.x.y` or, where that is unset, the environment variable `MODEGPT_X_Y`. An empty value
/// counts as unset.
public final class Settings {

  private Settings() {}

  /// The value of a setting, or null when it is unset.
  public static @Nullable String get(String name) {
    String property = System.getProperty("modegpt." + name);
    String value = property != null ? property : System.getenv(variable(name));
    return value == null || value.isBlank() ? null : value.strip();
  }

  /// A whole number of at least `minimum`, or `fallback` when it is unset.
  public static int getInt(String name, int minimum, int fallback) {
    String value = get(name);
    if (value == null) {
      return fallback;
    }
    try {
      int number = Integer.parseInt(value);
      if (number >= minimum) {
        return number;
      }
    } catch (NumberFormatException e) {
      throw new UserException(complaint(name, value, minimum), e);
    }
    throw new UserException(complaint(name, value, minimum));
  }

  private static String complaint(String name, String value, int minimum) {
    return variable(name)
        + " (-Dmodegpt."
        + name
        + ") is '"
        + value
        + "': want a whole number of at least "
        + minimum;
  }

  private static String variable(String name) {
    return "MODEGPT_" + name.toUpperCase(Locale.ROOT).replace('.', '_');
  }
}
