package org.modegpt.evaluate;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.io.Json;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/// What a model has said before, in a file of JSON lines that is only appended to: a run that was
/// killed goes on where it was, and tasks that ask the same share the answer. A line cut off by a
/// kill is left out. Keys are content hashes, see {@link AnswerKey}.
final class ResultCache implements AutoCloseable {
  private final Map<String, JsonNode> known = new HashMap<>();
  private final StringBuilder pending = new StringBuilder();
  private final @Nullable Path file;

  private ResultCache(@Nullable Path file) {
    this.file = file;
  }

  /// @param file null for a cache that keeps nothing
  static ResultCache open(@Nullable Path file) {
    ResultCache cache = new ResultCache(file);
    if (file == null || !Files.exists(file)) {
      return cache;
    }
    try (BufferedReader lines = Files.newBufferedReader(file)) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        cache.read(line);
      }
    } catch (IOException e) {
      throw new UserException(
          "cannot read the results kept in "
              + file
              + ": "
              + e.getMessage()
              + "; remove the file or add --no-cache",
          e);
    }
    return cache;
  }

  private void read(String line) {
    try {
      JsonNode node = Json.MAPPER.readTree(line);
      if (node.path("k").isString()) {
        known.put(node.get("k").stringValue(), node);
      }
    } catch (JacksonException e) {
      // A kill in the middle of a write leaves part of a line; that item is computed again.
      return;
    }
  }

  @Nullable JsonNode get(String key) {
    return known.get(key);
  }

  void put(String key, ObjectNode value) {
    value.put("k", key);
    known.put(key, value);
    pending.append(Json.MAPPER.writeValueAsString(value)).append('\n');
  }

  /// Writes what was put since.
  void flush() {
    if (file == null || pending.isEmpty()) {
      pending.setLength(0);
      return;
    }
    try {
      Files.createDirectories(file.toAbsolutePath().getParent());
      try (RandomAccessFile out = new RandomAccessFile(file.toFile(), "rw")) {
        long end = out.length();
        out.seek(end);
        // A line that a kill cut off must not run into the next.
        String text = end > 0 && !endsWithNewline(out, end) ? "\n" + pending : pending.toString();
        out.seek(end);
        out.write(text.getBytes(StandardCharsets.UTF_8));
      }
      pending.setLength(0);
    } catch (IOException e) {
      throw new UserException(
          "cannot keep results in "
              + file
              + ": "
              + e.getMessage()
              + "; choose another folder with --cache or add --no-cache",
          e);
    }
  }

  private static boolean endsWithNewline(RandomAccessFile file, long end) throws IOException {
    file.seek(end - 1);
    return file.read() == '\n';
  }

  @Override
  public void close() {
    flush();
  }
}
