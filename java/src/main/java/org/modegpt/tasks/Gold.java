package org.modegpt.tasks;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.modegpt.jinja.None;
import org.modegpt.jinja.TemplateException;
import org.modegpt.jinja.Values;

/// Which choices are right: an index from 0, the text of a choice, a letter, or a list of these.
final class Gold {
  private Gold() {}

  static List<Integer> of(Template template, Map<String, Object> fields, List<String> choices) {
    Object value = template.value(fields);
    List<Integer> gold = new ArrayList<>();
    for (Object one : value instanceof List<?> several ? several : List.of(value)) {
      gold.add(index(one, template, fields, choices));
    }
    if (gold.isEmpty()) {
      throw new TemplateException("no choice is right");
    }
    return gold;
  }

  private static int index(
      Object value, Template template, Map<String, Object> fields, List<String> choices) {
    // A text that a template made is an index when it is a number; one that a field holds is
    // first compared with the choices.
    boolean field = fields.containsKey(template.source());
    if (value == None.NONE) {
      throw new TemplateException("the right choice is null");
    }
    if (value instanceof Boolean right) {
      return inRange(right ? 1 : 0, choices);
    }
    if (value instanceof Long || value instanceof Double) {
      double number = Values.number(value);
      if (number != Math.rint(number)) {
        throw new TemplateException("the right choice is " + number + ", not an index");
      }
      return inRange((long) number, choices);
    }
    String text = Values.text(value);
    boolean digits = text.strip().matches("-?\\d{1,9}");
    if (digits && !field) {
      return inRange(Long.parseLong(text.strip()), choices);
    }
    int exact = choices.indexOf(text);
    if (exact >= 0) {
      return exact;
    }
    for (int i = 0; i < choices.size(); i++) {
      if (choices.get(i).strip().equals(text.strip())) {
        return i;
      }
    }
    if (text.strip().matches("\\(?[A-Za-z][).]?")) {
      int letter = Character.toUpperCase(text.strip().replace("(", "").charAt(0)) - 'A';
      if (letter < choices.size()) {
        return letter;
      }
    }
    if (digits) {
      return inRange(Long.parseLong(text.strip()), choices);
    }
    template.requireField(fields);
    throw new TemplateException(
        "the right choice is "
            + Values.kind(text)
            + ", which is none of the "
            + choices.size()
            + " choices");
  }

  private static int inRange(long index, List<String> choices) {
    if (index < 0 || index >= choices.size()) {
      throw new TemplateException(
          "the right choice is "
              + index
              + ", but there are "
              + choices.size()
              + " choices, counted from 0");
    }
    return (int) index;
  }
}
