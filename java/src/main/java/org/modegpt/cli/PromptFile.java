package org.modegpt.cli;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.modegpt.UserException;
import org.modegpt.io.Json;
import tools.jackson.databind.node.ObjectNode;

/// Prompts to continue: the lines of a text file, or the objects of a `.jsonl` file with their
/// field `prompt`. Blank lines do not count.
record PromptFile(List<Entry> entries) {
  /// @param place where it stands, for errors
  /// @param fields of its line; `prompt` is among them
  record Entry(String place, ObjectNode fields) {
    String prompt() {
      return fields.path("prompt").stringValue();
    }
  }

  static PromptFile read(Path path) {
    List<Entry> entries = new ArrayList<>();
    boolean json = path.toString().endsWith(".jsonl") || path.toString().endsWith(".ndjson");
    int number = 0;
    for (String line : lines(path)) {
      String place = path + " line " + ++number;
      if (!line.isBlank()) {
        entries.add(json ? object(place, line) : text(place, line));
      }
    }
    if (entries.isEmpty()) {
      throw new UserException(path + " holds no prompt: give one a line");
    }
    return new PromptFile(entries);
  }

  private static List<String> lines(Path path) {
    try {
      return Files.readAllLines(path, StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UserException(
          "cannot read the prompts of %s: %s"
              .formatted(path, Files.exists(path) ? e.getMessage() : "there is no such file"),
          e);
    }
  }

  private static Entry text(String place, String line) {
    return new Entry(place, Json.MAPPER.createObjectNode().put("prompt", line));
  }

  private static Entry object(String place, String line) {
    ObjectNode fields = Json.object(line.getBytes(StandardCharsets.UTF_8), place);
    if (!fields.path("prompt").isString()) {
      throw new UserException(place + " has no text in the field 'prompt'");
    }
    return new Entry(place, fields);
  }
}
