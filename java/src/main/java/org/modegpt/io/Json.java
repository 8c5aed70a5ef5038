package org.modegpt.io;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.modegpt.UserException;
import tools.jackson.core.JacksonException;
import tools.jackson.core.PrettyPrinter;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.json.JsonReadFeature;
import tools.jackson.core.util.DefaultIndenter;
import tools.jackson.core.util.DefaultPrettyPrinter;
import tools.jackson.core.util.Separators;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/// The one JSON mapper. Strict where a file can be wrong (duplicate keys, text after the value),
/// and tolerant of the `NaN` and `Infinity` that Python writes into configurations.
public final class Json {

  public static final JsonMapper MAPPER =
      JsonMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private static final PrettyPrinter PRETTY =
      new DefaultPrettyPrinter(
              Separators.createDefaultInstance()
                  .withObjectNameValueSpacing(Separators.Spacing.AFTER))
          .withObjectIndenter(new DefaultIndenter("  ", "\n"));

  private Json() {}

  /// Parses a JSON object; `what` names its origin in the error.
  ///
  /// @throws UserException if it is not valid JSON or not an object
  public static ObjectNode object(byte[] json, String what) {
    try {
      JsonNode node = MAPPER.readTree(json);
      if (node instanceof ObjectNode object) {
        return object;
      }
      throw new UserException(
          what + " is not a JSON object: the file is damaged or not what its name says");
    } catch (JacksonException e) {
      throw new UserException(
          what
              + " is not valid JSON"
              + place(e)
              + ": "
              + e.getOriginalMessage().lines().findFirst().orElse(""),
          e);
    } catch (StackOverflowError e) {
      throw new UserException(what + " is not valid JSON: nested too deeply", e);
    }
  }

  /// Reads a file that holds a JSON object.
  public static ObjectNode object(Path file) {
    try {
      return object(Files.readAllBytes(file), file.toString());
    } catch (IOException e) {
      throw IoErrors.reading(file, e);
    }
  }

  /// Indented by two spaces, with a line feed at the end, as Hugging Face tools write it.
  public static String pretty(JsonNode node) {
    return MAPPER.writer().with(PRETTY).writeValueAsString(node) + "\n";
  }

  private static String place(JacksonException e) {
    return e.getLocation() == null || e.getLocation().getLineNr() < 1
        ? ""
        : " (line "
            + e.getLocation().getLineNr()
            + ", column "
            + e.getLocation().getColumnNr()
            + ")";
  }
}
