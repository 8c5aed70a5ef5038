package org.modegpt.report;

import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;

/// The parameters after the `?` of a request.
record Query(Map<String, String> values) {
  private static final int LONGEST = 2000;

  static Query of(@Nullable String raw) {
    Map<String, String> values = new HashMap<>();
    if (raw != null) {
      if (raw.length() > LONGEST) {
        throw new UserException("The query is longer than " + LONGEST + " characters.");
      }
      for (String pair : raw.split("&", -1)) {
        int equals = pair.indexOf('=');
        if (equals > 0) {
          values.put(decode(pair.substring(0, equals)), decode(pair.substring(equals + 1)));
        }
      }
    }
    return new Query(values);
  }

  private static String decode(String text) {
    try {
      return URLDecoder.decode(text, StandardCharsets.UTF_8);
    } catch (IllegalArgumentException e) {
      throw new UserException("The query is not well encoded.", e);
    }
  }

  /// The value, empty when absent.
  String text(String name) {
    return values.getOrDefault(name, "");
  }

  /// A whole number between `least` and `most`, or `absent`.
  int number(String name, int least, int most, int absent) {
    String text = text(name);
    if (text.isEmpty()) {
      return absent;
    }
    if (text.matches("[0-9]{1,9}")) {
      int value = Integer.parseInt(text);
      if (value >= least && value <= most) {
        return value;
      }
    }
    throw new UserException(
        "The parameter " + name + " is a whole number from " + least + " to " + most + ".");
  }
}
