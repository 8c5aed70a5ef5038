package org.modegpt.jinja;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/// Functions every template can call.
final class Functions {
  static final Map<String, Function> STANDARD =
      Map.of(
          "range", Functions::range,
          "namespace", a -> new Namespace(new LinkedHashMap<>(a.named())),
          "dict", a -> new LinkedHashMap<Object, Object>(a.named()));

  private Functions() {}

  private static List<Object> range(Arguments a) {
    boolean several = a.values().size() > 1;
    long from = several ? Values.integer(a.require(0, "start")) : 0;
    long to = Values.integer(a.require(several ? 1 : 0, "stop"));
    long step = Values.integer(a.or(2, "step", 1L));
    if (step == 0 || Math.abs((to - from) / step) > Operators.LONGEST_LIST) {
      throw new TemplateException("the range to " + to + " is too long");
    }
    List<Object> numbers = new ArrayList<>();
    for (long i = from; step > 0 ? i < to : i > to; i += step) {
      numbers.add(i);
    }
    return numbers;
  }
}
