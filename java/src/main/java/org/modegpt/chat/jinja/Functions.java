package org.modegpt.chat.jinja;

import java.time.LocalDateTime;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// Functions every template can call.
final class Functions {
  /// Longest list or text that a function makes.
  static final long LARGEST = 1_000_000;

  static final Map<String, Function> GLOBAL =
      Map.of(
          "range", (arguments, _) -> range(arguments),
          "namespace", (_, named) -> new Namespace(new LinkedHashMap<>(named)),
          "dict", (_, named) -> new LinkedHashMap<Object, Object>(named),
          "raise_exception", (arguments, _) -> raise(arguments),
          "strftime_now", (arguments, _) -> now(Values.string(arguments.getFirst())));

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

  private static final Pattern FORMAT = Pattern.compile("%(-?\\d*)([sdi%])");

  private Functions() {}

  private static Object raise(List<Object> arguments) {
    throw new TemplateException(
        "the chat template refuses the conversation: "
            + (arguments.isEmpty() ? "no reason given" : Values.text(arguments.getFirst())));
  }

  private static List<Object> range(List<Object> arguments) {
    long from = arguments.size() > 1 ? Values.integer(arguments.getFirst()) : 0;
    long to = Values.integer(arguments.get(arguments.size() > 1 ? 1 : 0));
    long step = arguments.size() > 2 ? Values.integer(arguments.get(2)) : 1;
    if (step == 0 || Math.abs((to - from) / step) > LARGEST) {
      throw new TemplateException("the chat template's range is too long");
    }
    List<Object> numbers = new ArrayList<>();
    for (long i = from; step > 0 ? i < to : i > to; i += step) {
      numbers.add(i);
    }
    return numbers;
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

  /// Python's `format % values`, for texts and whole numbers.
  static String format(String format, List<?> values) {
    Matcher m = FORMAT.matcher(format);
    StringBuilder out = new StringBuilder();
    int at = 0;
    while (m.find()) {
      String text = "%";
      if (!m.group(2).equals("%")) {
        if (at >= values.size()) {
          throw new TemplateException("the chat template formats more values than it has");
        }
        text = Values.text(values.get(at++));
      }
      String width = m.group(1);
      m.appendReplacement(
          out,
          Matcher.quoteReplacement(
              width.isEmpty() || width.equals("-") ? text : ("%" + width + "s").formatted(text)));
    }
    return m.appendTail(out).toString();
  }
}
