package org.modegpt.tasks;

import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/// The fields of an item, as templates see them.
final class Fields {
  private Fields() {}

  static Map<String, @Nullable Object> of(JsonNode object) {
    Map<String, @Nullable Object> fields = new LinkedHashMap<>();
    object.properties().forEach(e -> fields.put(e.getKey(), Values.of(e.getValue())));
    return fields;
  }
}
