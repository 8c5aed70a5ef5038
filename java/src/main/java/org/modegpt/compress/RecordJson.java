package org.modegpt.compress;

import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.DatabindException;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.MapperFeature;
import tools.jackson.databind.PropertyNamingStrategies;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.exc.InvalidFormatException;
import tools.jackson.databind.exc.UnrecognizedPropertyException;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/// Records such as recipes and plans as JSON: snake_case keys, strict reading, errors in one line.
final class RecordJson {
  private static final JsonMapper MAPPER =
      JsonMapper.builder()
          .propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE)
          .disable(MapperFeature.SORT_PROPERTIES_ALPHABETICALLY)
          .enable(SerializationFeature.INDENT_OUTPUT)
          .enable(
              DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES,
              DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES,
              DeserializationFeature.FAIL_ON_MISSING_CREATOR_PROPERTIES,
              DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .disable(DeserializationFeature.ACCEPT_FLOAT_AS_INT)
          .build();

  private RecordJson() {}

  static String write(Object value) {
    return MAPPER.writeValueAsString(value) + "\n";
  }

  static <T> T read(String json, String source, Class<T> type) {
    return guarded(source, () -> MAPPER.readValue(json, type));
  }

  /// Reads `json` with the keys it lacks taken from `defaults`, one level of nesting deep.
  static <T> T readOver(T defaults, String json, String source, Class<T> type) {
    return guarded(
        source,
        () -> {
          JsonNode given = MAPPER.readTree(json);
          if (!(given instanceof ObjectNode)) {
            throw new UserException(source + ": a JSON object is wanted");
          }
          ObjectNode merged = MAPPER.valueToTree(defaults);
          given
              .properties()
              .forEach(entry -> {
                if (merged.get(entry.getKey()) instanceof ObjectNode inner
                    && entry.getValue() instanceof ObjectNode givenInner) {
                  inner.setAll(givenInner);
                } else {
                  merged.set(entry.getKey(), entry.getValue());
                }
              });
          return MAPPER.treeToValue(merged, type);
        });
  }

  /// A copy of `original` with another value of one key.
  static <T> T edited(T original, String key, @Nullable Object value, Class<T> type) {
    ObjectNode tree = MAPPER.valueToTree(original);
    tree.set(key, MAPPER.valueToTree(value));
    return guarded(key, () -> MAPPER.treeToValue(tree, type));
  }

  /// The text of `key` at the top level, or `fallback`.
  static String text(String json, String source, String key, String fallback) {
    return guarded(source, () -> MAPPER.readTree(json).path(key).asString(fallback));
  }

  private static <T> T guarded(String source, java.util.function.Supplier<T> read) {
    try {
      return read.get();
    } catch (UnrecognizedPropertyException e) {
      String known =
          e.getKnownPropertyIds().stream().map(Object::toString).collect(Collectors.joining(", "));
      throw new UserException(
          source + ": unknown key '" + e.getPropertyName() + "'; known: " + known, e);
    } catch (DatabindException e) {
      if (e.getCause() instanceof UserException user) {
        throw new UserException(source + ": " + user.getMessage(), e);
      }
      throw new UserException(source + ": " + path(e) + reason(e), e);
    } catch (JacksonException e) {
      throw new UserException(source + " is not JSON: " + e.getOriginalMessage(), e);
    }
  }

  /// `layers[3].mlp_width: `, or nothing at the top.
  private static String path(DatabindException e) {
    StringBuilder path = new StringBuilder();
    for (JacksonException.Reference step : e.getPath()) {
      if (step.getPropertyName() == null) {
        path.append('[').append(step.getIndex()).append(']');
      } else {
        path.append(path.isEmpty() ? "" : ".").append(step.getPropertyName());
      }
    }
    return path.isEmpty() ? "" : path + ": ";
  }

  private static String reason(DatabindException e) {
    if (e instanceof InvalidFormatException invalid && invalid.getTargetType().isEnum()) {
      String accepted =
          Stream.of(invalid.getTargetType().getEnumConstants())
              .map(constant -> MAPPER.convertValue(constant, String.class))
              .collect(Collectors.joining(", "));
      return "'" + invalid.getValue() + "' is not one of " + accepted;
    }
    String message = e.getOriginalMessage();
    return message.startsWith("Missing creator property") ? "this key is missing" : message;
  }
}
