package org.modegpt.chat.jinja;

import java.util.List;
import java.util.Map;

/// Something a template can call.
@FunctionalInterface
interface Function {
  Object call(List<Object> arguments, Map<String, Object> named);
}
