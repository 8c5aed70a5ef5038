package org.modegpt.tasks;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.modegpt.jinja.None;
import tools.jackson.databind.JsonNode;

/// The fields of an item, as templates see them.
final class Fields {
  private Fields() {}

  static Map<String, Object> of(JsonNode object) {
    Map<String, Object> fields = new LinkedHashMap<>();
    object.properties().forEach(e -> fields.put(e.getKey(), value(e.getValue())));
    return fields;
  }

  /// A String, Long, Double, Boolean, List, Map or None.
  static Object value(JsonNode node) {
    if (node.isObject()) {
      return of(node);
    }
    if (node.isArray()) {
      List<Object> list = new ArrayList<>();
      node.values().forEach(v -> list.add(value(v)));
      return list;
    }
    if (node.isString()) {
      return node.stringValue();
    }
    if (node.isBoolean()) {
      return node.booleanValue();
    }
    if (node.isIntegralNumber()) {
      return node.longValue();
    }
    return node.isNumber() ? (Object) node.doubleValue() : None.NONE;
  }
}
