package org.modegpt.jinja;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.modegpt.jinja.Token.Kind;

/// Cuts a template into texts and tokens. `-` strips white space on its side. If blocks are
/// trimmed, a statement's or comment's line feed is dropped (`trim_blocks`), and so are the blanks
/// before one at the start of a line (`lstrip_blocks`) and one line feed at the end of the
/// template.
final class Lexer {
  private static final Pattern OPEN = Pattern.compile("\\{[{%#]");
  private static final Pattern RAW_END = Pattern.compile("\\{%-?\\s*endraw\\s*(-?)%\\}");
  private static final Pattern TOKEN =
      Pattern.compile(
          "(?<space>\\s+)"
              + "|(?<name>[\\p{L}_][\\p{L}\\p{N}_]*)"
              + "|(?<number>\\d[\\d_]*(?:\\.\\d+)?(?:[eE][+-]?\\d+)?)"
              + "|(?<string>'[^'\\\\]*+(?:\\\\.[^'\\\\]*+)*+'|\"[^\"\\\\]*+(?:\\\\.[^\"\\\\]*+)*+\")"
              + "|(?<operator>\\*\\*|//|==|!=|<=|>=|[-+*/%~<>=()\\[\\]{}.,:|])",
          Pattern.DOTALL);

  private final String source;
  private final boolean trimBlocks;
  private final List<Token> tokens = new ArrayList<>();
  private int at;
  private int counted;
  private int lineFeeds;

  /// Whether white space at `at` belongs to a `-` before it.
  private boolean strip;

  private Lexer(String source, boolean trimBlocks) {
    this.source = source;
    this.trimBlocks = trimBlocks;
  }

  /// @param trimBlocks see {@link Environment}
  static List<Token> tokens(String template, boolean trimBlocks) {
    String unix = template.replace("\r\n", "\n").replace('\r', '\n');
    boolean drop = trimBlocks && unix.endsWith("\n");
    Lexer lexer = new Lexer(drop ? unix.substring(0, unix.length() - 1) : unix, trimBlocks);
    lexer.run();
    return lexer.tokens;
  }

  private void run() {
    Matcher open = OPEN.matcher(source);
    while (open.find(at)) {
      char kind = source.charAt(open.start() + 1);
      char sign = open.end() < source.length() ? source.charAt(open.end()) : ' ';
      text(source.substring(at, open.start()), kind, sign);
      at = open.end() + (sign == '-' || sign == '+' ? 1 : 0);
      strip = false;
      if (kind == '#') {
        comment();
      } else {
        tag(kind == '{' ? "{{" : "{%");
      }
    }
    text(source.substring(at), '{', ' ');
  }

  private void text(String raw, char nextKind, char nextSign) {
    String text = strip ? raw.stripLeading() : raw;
    if (nextSign == '-') {
      text = text.stripTrailing();
    } else if (trimBlocks && nextKind != '{' && nextSign != '+') {
      int blanks = blanksBefore(at + raw.length());
      text = blanks < 0 ? text : text.substring(0, Math.max(0, text.length() - blanks));
    }
    if (!text.isEmpty()) {
      tokens.add(new Token(Kind.TEXT, text, line()));
    }
  }

  /// How many blanks stand between the start of a line and `position`, or -1 if anything else does.
  private int blanksBefore(int position) {
    int start = position;
    while (start > 0 && (source.charAt(start - 1) == ' ' || source.charAt(start - 1) == '\t')) {
      start--;
    }
    return start == 0 || source.charAt(start - 1) == '\n' ? position - start : -1;
  }

  private void comment() {
    int end = source.indexOf("#}", at);
    if (end < 0) {
      throw error("'{#' without its end");
    }
    strip = end > at && source.charAt(end - 1) == '-';
    at = end + 2;
    dropLineFeed();
  }

  private void dropLineFeed() {
    if (trimBlocks && at < source.length() && source.charAt(at) == '\n') {
      at++;
    }
  }

  private void tag(String begin) {
    String end = begin.equals("{{") ? "}}" : "%}";
    int first = tokens.size();
    tokens.add(new Token(Kind.BEGIN, begin, line()));
    int braces = 0; // within which }} ends a map of a map
    Matcher token = TOKEN.matcher(source);
    while (true) {
      boolean minus = source.startsWith("-" + end, at);
      if (braces == 0 && (minus || source.startsWith(end, at))) {
        at += minus ? 3 : 2;
        strip = minus;
        break;
      }
      token.region(at, source.length());
      if (!token.lookingAt()) {
        throw error(
            at >= source.length()
                ? "'" + begin + "' without its end"
                : "'" + Character.toString(source.codePointAt(at)) + "' fits nowhere");
      }
      if (token.group("operator") != null) {
        braces += token.group().equals("{") ? 1 : token.group().equals("}") ? -1 : 0;
      }
      add(token);
      at = token.end();
    }
    boolean raw =
        tokens.size() == first + 2 && begin.equals("{%") && tokens.getLast().isName("raw");
    tokens.add(new Token(Kind.END, end, line()));
    if (end.equals("%}")) {
      dropLineFeed();
    }
    if (raw) {
      raw(first);
    }
  }

  private void raw(int first) {
    tokens.subList(first, tokens.size()).clear();
    Matcher end = RAW_END.matcher(source);
    if (!end.find(at)) {
      throw error("'raw' without 'endraw'");
    }
    tokens.add(new Token(Kind.TEXT, source.substring(at, end.start()), line()));
    at = end.end();
    strip = !end.group(1).isEmpty();
    dropLineFeed();
  }

  private void add(Matcher token) {
    if (token.group("name") != null) {
      tokens.add(new Token(Kind.NAME, token.group(), line()));
    } else if (token.group("number") != null) {
      tokens.add(new Token(Kind.NUMBER, token.group().replace("_", ""), line()));
    } else if (token.group("string") != null) {
      String quoted = token.group();
      tokens.add(
          new Token(Kind.STRING, unescaped(quoted.substring(1, quoted.length() - 1)), line()));
    } else if (token.group("operator") != null) {
      tokens.add(new Token(Kind.OPERATOR, token.group(), line()));
    }
  }

  private static String unescaped(String text) {
    StringBuilder out = new StringBuilder();
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (c != '\\' || i + 1 == text.length()) {
        out.append(c);
        continue;
      }
      char next = text.charAt(++i);
      int digits = next == 'x' ? 2 : next == 'u' ? 4 : next == 'U' ? 8 : 0;
      String hex =
          digits > 0 && i + digits < text.length() ? text.substring(i + 1, i + 1 + digits) : "";
      switch (next) {
        case 'n' -> out.append('\n');
        case 't' -> out.append('\t');
        case 'r' -> out.append('\r');
        case '\n' -> {}
        case '\\', '\'', '"' -> out.append(next);
        default -> {
          if (digits > 0 && hex.matches("[0-9a-fA-F]+")) {
            out.appendCodePoint(Integer.parseUnsignedInt(hex, 16));
            i += digits;
          } else {
            out.append('\\').append(next);
          }
        }
      }
    }
    return out.toString();
  }

  /// The line of `at`, which only grows.
  private int line() {
    for (; counted < Math.min(at, source.length()); counted++) {
      lineFeeds += source.charAt(counted) == '\n' ? 1 : 0;
    }
    return lineFeeds + 1;
  }

  private TemplateException error(String what) {
    return new TemplateException(what + " (line " + line() + " of the template)");
  }
}
