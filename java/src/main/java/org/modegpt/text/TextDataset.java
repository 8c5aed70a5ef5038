package org.modegpt.text;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import org.modegpt.UserException;
import org.modegpt.io.Digests;
import org.modegpt.io.Json;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/// A text for calibration or evaluation: documents joined by an empty line ({@link #SEPARATOR}). A
/// `.txt` file is one document; a `.jsonl` file has one per line, in the field `text` unless
/// `FILE:FIELD` names another. Bytes are taken as they are: no newline translation, no stripping;
/// empty documents count.
///
/// @param name the files, for reports and errors
/// @param text the joined documents
/// @param documents how many were joined
public record TextDataset(String name, String text, int documents) {
  /// What stands between two documents, as WikiText perplexities of the literature are computed.
  public static final String SEPARATOR = "\n\n";

  private static final String DEFAULT_FIELD = "text";

  public TextDataset {
    if (text.isBlank()) {
      throw new UserException("%s holds no text: give a file with text".formatted(name));
    }
  }

  /// Reads one or more files, each `PATH` or `PATH:FIELD`.
  ///
  /// @throws UserException if a file is missing, empty, not UTF-8 or not what its ending says
  public static TextDataset read(List<String> files) {
    if (files.isEmpty()) {
      throw new UserException("no text was given: name a .txt or .jsonl file");
    }
    List<String> documents = new ArrayList<>();
    for (String file : files) {
      documents.addAll(Spec.parse(file).documents());
    }
    return new TextDataset(
        String.join(", ", files), String.join(SEPARATOR, documents), documents.size());
  }

  /// One document from memory, such as an embedded text.
  public static TextDataset of(String name, byte[] utf8) {
    return new TextDataset(name, decode(utf8, name), 1);
  }

  /// Size of the text in UTF-8, for bits per byte.
  public long utf8Bytes() {
    return text.codePoints()
        .mapToLong(c -> c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4)
        .sum();
  }

  /// SHA-256 of the text in UTF-8, lower-case hexadecimal: equal to `sha256sum` of a single `.txt`
  /// file.
  public String sha256() {
    return Digests.sha256Hex(text);
  }

  private record Spec(Path path, String field, boolean fieldGiven) {
    static Spec parse(String text) {
      int colon = text.lastIndexOf(':');
      try {
        if (colon <= 0 || colon == text.length() - 1 || Files.exists(Path.of(text))) {
          return new Spec(Path.of(text), DEFAULT_FIELD, false);
        }
        return new Spec(Path.of(text.substring(0, colon)), text.substring(colon + 1), true);
      } catch (InvalidPathException e) {
        throw new UserException("'%s' is no file name".formatted(text), e);
      }
    }

    List<String> documents() {
      if (!Files.isRegularFile(path)) {
        throw new UserException(
            Files.exists(path)
                ? "cannot read %s: it is a folder or a special file, not a text".formatted(path)
                : "there is no text file %s: name a .txt or .jsonl file".formatted(path));
      }
      String content = decode(bytes(), path.toString());
      if (content.isEmpty()) {
        throw new UserException("%s is empty: give a file with text".formatted(path));
      }
      boolean jsonLines = path.toString().endsWith(".jsonl") || path.toString().endsWith(".ndjson");
      if (fieldGiven && !jsonLines) {
        throw new UserException(
            "%s is no .jsonl file, so it has no field '%s'".formatted(path, field));
      }
      return jsonLines ? jsonDocuments(content) : List.of(content);
    }

    private byte[] bytes() {
      try {
        return Files.readAllBytes(path);
      } catch (IOException e) {
        throw new UserException("cannot read %s: %s".formatted(path, e.getMessage()), e);
      } catch (OutOfMemoryError e) {
        throw new UserException(
            "%s is too large to read at once: split it into files of at most 1 GB".formatted(path),
            e);
      }
    }

    private List<String> jsonDocuments(String content) {
      List<String> documents = new ArrayList<>();
      int line = 0;
      for (String json : content.split("\n", -1)) {
        line++;
        if (!json.isBlank()) {
          documents.add(
              field(
                  Json.object(json.getBytes(StandardCharsets.UTF_8), path + " line " + line),
                  line));
        }
      }
      return documents;
    }

    private String field(ObjectNode object, int line) {
      JsonNode value = object.path(field);
      if (value.isString()) {
        return value.stringValue();
      }
      String present = object.propertyNames().stream().collect(Collectors.joining(", "));
      throw new UserException(
          "%s line %d has no text in the field '%s'; name one of its fields (%s) as %s:FIELD"
              .formatted(path, line, field, present, path));
    }
  }

  private static String decode(byte[] utf8, String name) {
    CharsetDecoder decoder = StandardCharsets.UTF_8.newDecoder();
    ByteBuffer bytes = ByteBuffer.wrap(utf8);
    CharBuffer chars = CharBuffer.allocate(utf8.length);
    CoderResult result = decoder.decode(bytes, chars, true);
    if (result.isError()) {
      throw new UserException(
          "%s is not UTF-8 at byte %d: convert it to UTF-8, for example with iconv"
              .formatted(name, bytes.position()));
    }
    return chars.flip().toString();
  }
}
