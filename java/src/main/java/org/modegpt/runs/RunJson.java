package org.modegpt.runs;

import com.fasterxml.jackson.annotation.JsonInclude;
import org.modegpt.UserException;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.PropertyNamingStrategies;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;

/// The JSON form of runs: `snake_case` names, times in ISO 8601, infinities and NaN as texts.
/// Reading is bounded in depth and text length.
public final class RunJson {
  private static final JsonMapper MAPPER =
      JsonMapper.builder(
              JsonFactory.builder()
                  .streamReadConstraints(
                      StreamReadConstraints.builder()
                          .maxNestingDepth(20)
                          .maxStringLength(1 << 20)
                          .build())
                  .build())
          .propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE)
          .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
          .disable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
          .changeDefaultPropertyInclusion(i -> i.withValueInclusion(JsonInclude.Include.NON_NULL))
          .disable(SerializationFeature.INDENT_OUTPUT)
          .build();

  private RunJson() {}

  /// One line of JSON.
  public static String write(Object value) {
    return MAPPER.writeValueAsString(value);
  }

  /// JSON for people, over several lines.
  public static String pretty(Object value) {
    return MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(value);
  }

  /// Reads a value; `what` names it in the message of the exception for text that is not one.
  public static <T> T read(String json, Class<T> type, String what) {
    try {
      T value = MAPPER.readValue(json, type);
      if (value == null) {
        throw new UserException(what + " is empty.");
      }
      return value;
    } catch (JacksonException e) {
      Throwable cause = e.getCause();
      throw new UserException(
          what
              + ": "
              + (cause instanceof UserException ? cause.getMessage() : e.getOriginalMessage()),
          e);
    }
  }
}
