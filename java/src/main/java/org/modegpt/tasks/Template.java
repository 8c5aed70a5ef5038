package org.modegpt.tasks;

import java.util.Map;
import java.util.regex.Pattern;
import org.modegpt.jinja.Environment;
import org.modegpt.jinja.TemplateException;
import org.modegpt.jinja.Values;

/// A text with places that the fields of an item fill, in Jinja as lm-evaluation-harness has it:
/// what is not there is an error, and white space stays. A source that is just the name of a field
/// stands for that field, and a source that is one expression keeps its value (a list, a number)
/// instead of a text. Immutable.
public final class Template {
  private static final Environment JINJA =
      new Environment(true, false, "field", TaskFunctions.FUNCTIONS, TaskFunctions.FILTERS);

  private static final Pattern FIELD = Pattern.compile("[\\p{L}_][\\p{L}\\p{N}_]*");

  private final String source;
  private final org.modegpt.jinja.Template parsed;

  private Template(String source, org.modegpt.jinja.Template parsed) {
    this.source = source;
    this.parsed = parsed;
  }

  /// Parses a template.
  ///
  /// @throws TemplateException for one that is not well-formed
  public static Template of(String source) {
    return new Template(source, org.modegpt.jinja.Template.parse(source, JINJA));
  }

  public String source() {
    return source;
  }

  /// Whether the template is nothing but text.
  public boolean constant() {
    return parsed.constant();
  }

  /// A template that is a field's name is only for items that have the field: else it would be
  /// asked as it stands.
  Template requireField(Map<String, Object> fields) {
    if (!fields.containsKey(source) && FIELD.matcher(source).matches()) {
      throw new TemplateException(
          "there is no field '%s'; there are: %s (for the word itself write {{ '%s' }})"
              .formatted(source, String.join(", ", fields.keySet()), source));
    }
    return this;
  }

  /// The text for an item.
  public String render(Map<String, Object> fields) {
    return fields.containsKey(source) ? Values.text(fields.get(source)) : parsed.render(fields);
  }

  /// The value for an item: that of the field or of the one expression, else the text.
  ///
  /// @return a String, Long, Double, Boolean, List, Map or {@link org.modegpt.jinja.None}
  public Object value(Map<String, Object> fields) {
    return fields.containsKey(source) ? fields.get(source) : parsed.value(fields);
  }

  @Override
  public String toString() {
    return source;
  }
}
