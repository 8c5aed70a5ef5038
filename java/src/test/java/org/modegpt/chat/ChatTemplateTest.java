package org.modegpt.chat;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.modegpt.TestData;
import org.modegpt.UserException;
import org.modegpt.io.Json;
import org.modegpt.jinja.Template;
import tools.jackson.databind.JsonNode;

/// Templates give what transformers makes of them, byte for byte.
class ChatTemplateTest {
  private static final Path CHAT = TestData.golden("../chat");
  private static final JsonNode GOLDEN = Json.object(CHAT.resolve("golden.json"));

  private static Template parse(String source) {
    return Template.parse(source, ChatTemplate.JINJA);
  }

  private static void check(String source, JsonNode expected) {
    @SuppressWarnings("unchecked")
    Map<String, Object> variables = Json.MAPPER.convertValue(expected.path("variables"), Map.class);
    String what = source + " with " + expected.path("variables");
    if (expected.has("error")) {
      assertThatThrownBy(() -> parse(source).render(variables))
          .as(what)
          .isInstanceOf(UserException.class);
    } else {
      assertThat(parse(source).render(variables))
          .as(what)
          .isEqualTo(expected.path("text").stringValue());
    }
  }

  @Test
  void modelsTemplates() throws IOException {
    int checked = 0;
    for (JsonNode expected : GOLDEN.path("cases").values()) {
      check(Files.readString(CHAT.resolve(expected.path("template").stringValue())), expected);
      checked++;
    }
    assertThat(checked).isGreaterThan(60);
  }

  @Test
  void language() {
    for (JsonNode expected : GOLDEN.path("snippets").values()) {
      check(expected.path("source").stringValue(), expected);
    }
  }

  @Test
  void reasonsAreTold() {
    assertThatThrownBy(() -> parse("{{ raise_exception('roles!') }}").render(Map.of()))
        .hasMessageContaining("refuses the conversation: roles!");
    assertThatThrownBy(() -> parse("a\n{% if x %}")).hasMessageContaining("endif");
    assertThatThrownBy(() -> parse("a\n{% include 'x' %}"))
        .hasMessageContaining("'include' is not supported")
        .hasMessageContaining("line 2");
    assertThatThrownBy(() -> parse("{{ 'a }}")).isInstanceOf(UserException.class);
    assertThatThrownBy(() -> parse("{{ ")).hasMessageContaining("without its end");
  }

  /// Templates come from strangers: they cannot use up the machine or reach into it.
  @Test
  void limits() {
    for (String source :
        new String[] {
          "{{ range(10 ** 12) }}",
          "{{ 'a' * 10 ** 9 }}",
          "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
          "{{ " + "(".repeat(100_000) + " }}",
          "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
          "{% for i in range(99) %}{{ 'a' * 10 ** 6 }}{% endfor %}",
          "{{ ''.getClass().getName() }}",
          "{{ messages.__class__.__mro__[1] }}"
        }) {
      assertThatThrownBy(() -> parse(source).render(Map.of()))
          .as(source.substring(0, Math.min(60, source.length())))
          .isInstanceOf(UserException.class);
    }
  }

  @Test
  void contentIsNoTemplate() {
    assertThat(parse("{{ x }}").render(Map.of("x", "{{ 1 + 1 }}{% if %}")))
        .isEqualTo("{{ 1 + 1 }}{% if %}");
  }

  @Test
  void dates() {
    String year = parse("{{ strftime_now('%Y-%m-%d') }}").render(Map.of());
    assertThat(year).matches("20\\d\\d-\\d\\d-\\d\\d");
  }
}
