package org.modegpt.tasks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.modegpt.UserException;
import org.modegpt.io.Json;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;

/// The items of a task as a file has them: JSON lines, a JSON array, or a table with a header
/// (`.csv`, `.tsv`). A `.txt` file is one item with the field `text`.
final class DataFile {
  /// An item with its place, `FILE:LINE`.
  record Row(String place, Map<String, Object> fields) {}

  private DataFile() {}

  static List<Row> read(Path file) {
    return read(file, content(file));
  }

  static List<Row> read(Path file, String content) {
    String name = file.getFileName().toString();
    if (content.indexOf('\0') >= 0 || content.startsWith("PAR1")) {
      throw notText(file);
    }
    List<Row> rows =
        name.endsWith(".csv") || name.endsWith(".tsv")
            ? table(file, content, name.endsWith(".csv") ? ',' : '\t')
            : name.endsWith(".txt")
                ? List.of(new Row(name, Map.of("text", content)))
                : content.stripLeading().startsWith("[")
                    ? array(file, content)
                    : lines(file, content);
    if (rows.isEmpty()) {
      throw new UserException(file + " has no items");
    }
    return rows;
  }

  private static UserException notText(Path file) {
    return new UserException(
        file
            + " is not a text file; data are JSON lines, a JSON array, .csv, .tsv or .txt in UTF-8");
  }

  private static String content(Path file) {
    try {
      String content = Files.readString(file);
      return content.startsWith("\uFEFF") ? content.substring(1) : content;
    } catch (IOException e) {
      throw file.toString().matches(".*\\.(parquet|arrow|gz|bz2|zst|xz|zip|xlsx?|pkl|pt)")
          ? notText(file)
          : new UserException("cannot read " + file + ": " + LocatedYaml.reason(e), e);
    }
  }

  private static List<Row> lines(Path file, String content) {
    List<Row> rows = new ArrayList<>();
    int line = 0;
    for (String json : content.split("\n", -1)) {
      line++;
      if (!json.isBlank()) {
        rows.add(new Row(file.getFileName() + ":" + line, Fields.of(object(file, line, json))));
      }
    }
    return rows;
  }

  private static JsonNode object(Path file, int line, String json) {
    JsonNode value;
    try {
      value = Json.MAPPER.readTree(json);
    } catch (JacksonException e) {
      throw invalid(file, line, e);
    }
    if (!value.isObject()) {
      throw new UserException(
          "%s:%d: want an object with the fields of an item, not %s"
              .formatted(file, line, LocatedYaml.kind(value)));
    }
    return value;
  }

  private static UserException invalid(Path file, int line, JacksonException e) {
    // Jackson adds where the value began, in words that say nothing to users.
    String reason = e.getOriginalMessage().lines().findFirst().orElse("");
    return new UserException(
        "%s:%d: not valid JSON: %s; want one object a line, or one list of objects"
            .formatted(file, line, reason.replaceFirst(" \\(start marker at.*", "")),
        e);
  }

  private static List<Row> array(Path file, String content) {
    JsonNode array;
    try {
      array = Json.MAPPER.readTree(content);
    } catch (JacksonException e) {
      throw invalid(file, e.getLocation().getLineNr(), e);
    }
    List<Row> rows = new ArrayList<>();
    for (JsonNode item : array.values()) {
      if (!item.isObject()) {
        throw new UserException(file + ": element " + rows.size() + " is no object");
      }
      rows.add(new Row(file.getFileName() + "[" + rows.size() + "]", Fields.of(item)));
    }
    return rows;
  }

  private static List<Row> table(Path file, String content, char separator) {
    List<List<String>> cells = cells(content, separator);
    List<Row> rows = new ArrayList<>();
    for (int r = 1; r < cells.size(); r++) {
      if (cells.get(r).size() != cells.getFirst().size()) {
        throw new UserException(
            "%s: row %d has %d columns, the header has %d"
                .formatted(file, r + 1, cells.get(r).size(), cells.getFirst().size()));
      }
      Map<String, Object> fields = new LinkedHashMap<>();
      for (int c = 0; c < cells.getFirst().size(); c++) {
        fields.put(cells.getFirst().get(c), cells.get(r).get(c));
      }
      rows.add(new Row(file.getFileName() + " row " + (r + 1), fields));
    }
    return rows;
  }

  /// Cells by the rules of RFC 4180.
  private static List<List<String>> cells(String content, char separator) {
    List<List<String>> rows = new ArrayList<>();
    List<String> row = new ArrayList<>();
    StringBuilder cell = new StringBuilder();
    boolean quoted = false;
    for (int i = 0; i < content.length(); i++) {
      char c = content.charAt(i);
      if (quoted) {
        if (c != '"') {
          cell.append(c);
        } else if (i + 1 < content.length() && content.charAt(i + 1) == '"') {
          cell.append(c);
          i++;
        } else {
          quoted = false;
        }
      } else if (c == '"' && cell.isEmpty()) {
        quoted = true;
      } else if (c == separator || c == '\n') {
        row.add(cell.toString());
        cell.setLength(0);
        if (c == '\n') {
          rows.add(row);
          row = new ArrayList<>();
        }
      } else if (c != '\r') {
        cell.append(c);
      }
    }
    if (!cell.isEmpty() || !row.isEmpty()) {
      row.add(cell.toString());
      rows.add(row);
    }
    rows.removeIf(r -> r.size() == 1 && r.getFirst().isBlank());
    return rows;
  }
}
