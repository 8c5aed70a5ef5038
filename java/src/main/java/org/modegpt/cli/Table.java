package org.modegpt.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Pattern;

/// A Markdown table with aligned columns: text left, numbers right. Control characters in cells are
/// made visible, for names come from elsewhere.
final class Table {
  private static final Pattern NUMBER =
      Pattern.compile("[-+±≤0-9.,:%x \u2013]+(e[-+]?\\d+)?( ([KMGT]iB|B|s|min|h))?");

  private final List<String[]> rows = new ArrayList<>();
  private final boolean[] text;

  Table(String... header) {
    rows.add(header);
    text = new boolean[header.length];
  }

  Table row(Object... cells) {
    String[] row = new String[text.length];
    for (int i = 0; i < row.length; i++) {
      row[i] = Text.safe(String.valueOf(cells[i]));
      text[i] |= !(row[i].isEmpty() || NUMBER.matcher(row[i]).matches());
    }
    rows.add(row);
    return this;
  }

  /// Whether there is nothing below the header.
  boolean isEmpty() {
    return rows.size() == 1;
  }

  @Override
  public String toString() {
    int[] width = new int[text.length];
    for (String[] row : rows) {
      for (int i = 0; i < width.length; i++) {
        width[i] = Math.max(width[i], row[i].length());
      }
    }
    StringBuilder out = new StringBuilder();
    for (int r = 0; r < rows.size(); r++) {
      appendRow(out, rows.get(r), width);
      if (r == 0) {
        out.append('|');
        for (int i = 0; i < width.length; i++) {
          out.append('-').append("-".repeat(width[i])).append(text[i] ? "-|" : ":|");
        }
        out.append('\n');
      }
    }
    return out.toString();
  }

  private void appendRow(StringBuilder out, String[] row, int... width) {
    out.append('|');
    for (int i = 0; i < width.length; i++) {
      String pad = " ".repeat(width[i] - row[i].length());
      out.append(' ').append(text[i] ? row[i] + pad : pad + row[i]).append(" |");
    }
    out.append('\n');
  }

  static String mebibytes(long bytes) {
    return String.format(Locale.ROOT, "%.1f MiB", bytes / 1048576.0);
  }
}
