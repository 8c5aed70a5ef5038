package org.modegpt.chat;

import java.time.LocalDateTime;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.Locale;
import java.util.Map;
import org.modegpt.UserException;
import org.modegpt.jinja.Arguments;
import org.modegpt.jinja.Function;
import org.modegpt.jinja.Values;

/// What chat templates can call beyond Jinja.
final class ChatFunctions {
  static final Map<String, Function> ALL =
      Map.of(
          "raise_exception", ChatFunctions::raise, "strftime_now", a -> now(a.text(0, "format")));

  private static final Map<Character, String> DATE_PATTERNS =
      Map.ofEntries(
          Map.entry('Y', "yyyy"),
          Map.entry('y', "yy"),
          Map.entry('m', "MM"),
          Map.entry('d', "dd"),
          Map.entry('H', "HH"),
          Map.entry('I', "hh"),
          Map.entry('M', "mm"),
          Map.entry('S', "ss"),
          Map.entry('p', "a"),
          Map.entry('b', "MMM"),
          Map.entry('B', "MMMM"),
          Map.entry('a', "EEE"),
          Map.entry('A', "EEEE"),
          Map.entry('j', "DDD"));

  private ChatFunctions() {}

  private static Object raise(Arguments a) {
    Object reason = a.get(0, "message");
    throw new UserException(
        "the chat template refuses the conversation: "
            + (reason == null ? "no reason given" : Values.text(reason)));
  }

  /// The local time, in the format of C's strftime.
  private static String now(String format) {
    LocalDateTime now = LocalDateTime.now(ZoneId.systemDefault());
    StringBuilder out = new StringBuilder();
    for (int i = 0; i < format.length(); i++) {
      char c = format.charAt(i);
      if (c != '%' || i + 1 == format.length()) {
        out.append(c);
        continue;
      }
      boolean unpadded = format.charAt(i + 1) == '-' && i + 2 < format.length();
      i += unpadded ? 2 : 1;
      String pattern = DATE_PATTERNS.get(format.charAt(i));
      if (pattern == null) {
        out.append(format.charAt(i));
      } else {
        String text = now.format(DateTimeFormatter.ofPattern(pattern, Locale.ENGLISH));
        out.append(unpadded ? text.replaceFirst("^0", "") : text);
      }
    }
    return out.toString();
  }
}
