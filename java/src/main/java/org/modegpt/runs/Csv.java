package org.modegpt.runs;

import java.io.BufferedReader;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;

/// Lines of comma-separated values as in RFC 4180.
final class Csv {
  private static final int LONGEST_RECORD = 64 << 20;

  private Csv() {}

  /// A line without its end. A text that a spreadsheet would run as a formula gets an apostrophe in
  /// front; numbers stay as they are.
  static String line(List<String> cells) {
    return cells.stream().map(Csv::cell).collect(Collectors.joining(","));
  }

  private static String cell(String text) {
    String safe = text;
    if (!text.isEmpty()
        && "=+-@\t".indexOf(text.charAt(0)) >= 0
        && !text.matches("[-+]?[0-9.eE+-]+|-Infinity")) {
      safe = "'" + text;
    }
    boolean plain = safe.chars().noneMatch(c -> c == ',' || c == '"' || c == '\n' || c == '\r');
    return plain ? safe : '"' + safe.replace("\"", "\"\"") + '"';
  }

  /// The next record, or null at the end.
  static @Nullable List<String> read(BufferedReader in) throws IOException {
    int c = in.read();
    if (c < 0) {
      return null;
    }
    List<String> cells = new ArrayList<>();
    StringBuilder cell = new StringBuilder();
    boolean quoted = false;
    int length = 0;
    while (c >= 0) {
      if (++length > LONGEST_RECORD) {
        throw new UserException("A CSV record is longer than 64 MiB; is a quote missing?");
      }
      if (c == '"') {
        if (quoted) {
          in.mark(1);
          if (in.read() == '"') {
            cell.append('"');
          } else {
            in.reset();
            quoted = false;
          }
        } else {
          quoted = true;
        }
      } else if (c == ',' && !quoted) {
        cells.add(cell.toString());
        cell.setLength(0);
      } else if (c == '\n' && !quoted) {
        break;
      } else if (c != '\r' || quoted) {
        cell.append((char) c);
      }
      c = in.read();
    }
    cells.add(cell.toString());
    return cells;
  }
}
