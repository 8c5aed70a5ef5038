package org.modegpt.tasks;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.modegpt.io.Json;
import org.modegpt.jinja.TemplateException;

/// Templates against what Jinja makes of them.
class TemplateTest {
  private static final Map<String, Object> DOC =
      Fields.of(
          Json.object(
              """
              {"text": "the quick brown Fox", "label": "2", "n": 3, "x": 0.5, "ok": true, "none": null,
               "choices": {"text": ["red", "it's"], "label": ["A", "B"]}, "answerKey": " B",
               "list": [1, 2, 3, 4], "sentence": "The _ ran away ."}
              """
                  .getBytes(java.nio.charset.StandardCharsets.UTF_8),
              "test"));

  @ParameterizedTest
  @CsvSource(
      delimiter = '§',
      quoteCharacter = '~',
      value = {
        "{{text}} § the quick brown Fox",
        "text § the quick brown Fox",
        "Q: {{ text }}! § Q: the quick brown Fox!",
        "{{ text.split(' ')[:-1] | join(' ') }} § the quick brown",
        "{{ text.split(' ')[-1] }} § Fox",
        "{{ text.capitalize() }} § The quick brown fox",
        "{{ text[4:9] }} § quick",
        "{{ text[::-1] }} § xoF nworb kciuq eht",
        "{{ choices.text }} § ['red', \"it's\"]",
        "{{ choices.label.index(answerKey.lstrip()) }} § 1",
        "{{ choices['text'][0] }} § red",
        "{{ (label | int) - 1 }} § 1",
        "{{ label | int - 1 }} § 1",
        "{{ n / 2 }} § 1.5",
        "{{ n // 2 }} § 1",
        "{{ -7 // 2 }} § -4",
        "{{ -7 % 3 }} § 2",
        "{{ 'a' ~ n ~ x }} § a30.5",
        "{{ ok }} {{ none }} § True None",
        "{{ 'yes' if n > 2 and not none else 'no' }} § yes",
        "{{ missing if missing is defined else 'gone' }} § gone",
        "{{ missing | default('gone') }} § gone",
        "{{ n in list }} {{ 9 not in list }} § True True",
        "{{ list[1:3] }} § [2, 3]",
        "{{ list[-1] }} § 4",
        "{{ sentence.index('_') }} § 4",
        "{{ sentence[sentence.index('_') + 1:].strip() }} § ran away .",
        "{{ text | replace('quick', 'slow') | upper }} § THE SLOW BROWN FOX",
        "{{ text | regex_replace('[aeiou]', '') }} § th qck brwn Fx",
        "{{ ['a', 'b', 'c'].index('c') }} § 2",
        "{% if n == 3 %}three{% elif n == 4 %}four{% else %}many{% endif %} § three",
        "{% for i in list %}{{ loop.index }}={{ i }}{% if not loop.last %},{% endif %}{% endfor %} § 1=1,2=2,3=3,4=4",
        "{% set y = n + 1 %}{{ y }}{# not this #} § 4",
        "a {%- if ok %} b {%- endif %} § a b",
        "{{ {'cause': 'because', 'effect': 'so'}['effect'] }} § so",
        "{{ list | length }} § 4",
        "{{ range(2) | list }} § [0, 1]",
        "{{ choices.text | map('upper') | join('/') }} § RED/IT'S",
        "{{ choices.items() | list | length }}{{ choices.get('none', 'no') }} § 2no",
        "{{ list.0 }}{{ choices.label.1 }} § 1B",
        "{{ [1, 2] | tojson }}{{ 2 ** -1 }} {{ 1e-5 }} {{ 0.1 + 0.2 }} § [1, 2]0.5 1e-05 0.30000000000000004",
        "{% set größe = 2 %}{{ größe }}{{ list | int(default=7) }} § 27",
        "{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(1) }}{{ zip(list, choices.label) | first }} § <1>[1, 'A']"
      })
  void renders(String template, String expected) {
    assertThat(Template.of(template).render(DOC)).isEqualTo(expected);
  }

  @Test
  void oneExpressionKeepsItsValue() {
    assertThat(Template.of("{{ choices.text }}").value(DOC)).isEqualTo(List.of("red", "it's"));
    assertThat(Template.of("n").value(DOC)).isEqualTo(3L);
    assertThat(Template.of("{{ n }}").value(DOC)).isEqualTo(3L);
    assertThat(Template.of(" {{ n }}").value(DOC)).isEqualTo(" 3");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{{ a b }}",
        "{{ 'open }}",
        "{{ (1 }}",
        "{{",
        "{% if x %}",
        "{% endif %}",
        "{% while x %}",
        "{{ a..b }}",
        "{{ a[ }}",
        "{% for x %}{% endfor %}",
        "{{ }}",
        "{{ a | }}",
        "{{ a | frobnicate }}",
        "{{ a is frobnicated }}",
        "{{ frobnicate(a) }}",
        "{{ § }}"
      })
  void wrongTemplatesAreRefused(String template) {
    assertThatThrownBy(() -> Template.of(template)).isInstanceOf(TemplateException.class);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '§',
      quoteCharacter = '~',
      value = {
        "{{ 'ab' * 1000000000 }} § too long",
        "{{ range(1000000000) | length }} § too long",
        "{{ [] | min }} § empty",
        "{{ text | regex_replace('(', '') }} § regular expression",
        "{{ text | regex_replace('o', '\\2') }} § replacement",
        "{% for a, b in [[1, 2], [3]] %}{% endfor %} § 1 values for 2 names",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %} § too long",
        "{% for i in range(40) %}{% set list = list + list %}{% endfor %}{{ missing }} § no field",
        "{% set n = namespace(t='ab') %}{% for i in range(40) %}{% set n.t = n.t ~ n.t %}{% endfor %} § too long",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }} § too deeply",
        "{{ 'a' if false }} § no else",
        "{{ choices.values }}{{ text.upper }} § a function",
        "{{ 10 ** 18 * 10 }} § too large"
      })
  void whatCannotBeWorkedOut(String template, String reason) {
    assertThatThrownBy(() -> Template.of(template).render(DOC))
        .isInstanceOf(TemplateException.class)
        .hasMessageContaining(reason);
  }

  @Test
  void deepNestingIsRefused() {
    assertThatThrownBy(() -> Template.of("{{" + "(".repeat(9999) + "1" + ")".repeat(9999) + "}}"))
        .isInstanceOf(TemplateException.class);
    assertThatThrownBy(() -> Template.of("{{" + "not ".repeat(9999) + "1}}"))
        .isInstanceOf(TemplateException.class);
  }

  @Test
  void whatIsMissingIsNamed() {
    assertThatThrownBy(() -> Template.of("{{ qestion }}").render(DOC))
        .isInstanceOf(TemplateException.class)
        .hasMessageContaining("qestion")
        .hasMessageContaining("sentence");
    assertThatThrownBy(() -> Template.of("{{ list[9] }}").render(DOC)).hasMessageContaining("9");
    assertThatThrownBy(() -> Template.of("{{ n.strip() }}").render(DOC))
        .hasMessageContaining("strip");
  }
}
