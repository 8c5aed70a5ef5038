package org.modegpt.alerts;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.modegpt.UserException;

class AlertRulesTest {
  private static AlertRule rule(String fields) {
    return AlertRules.parse("rules:\n  - {name: r, metric: perplexity, " + fields + "}", "test")
        .rules()
        .getFirst();
  }

  @Test
  void readsEveryField() {
    AlertRules rules =
        AlertRules.parse(
            """
            rules:
              - name: memory
                metric: peak_rss_bytes
                kinds: [compress, eval]
                model: wiki
                recipe: paper
                above: 2GiB
                below: 3
                worse_by: 12.5 %
                worse: lower
                recent: 2
                longest: 8
                window: 30
                minimum: 9
                deviations: 3.5
            webhook:
              url: https://example.org/x
              secret_environment: SECRET
              timeout_seconds: 7
              attempts: 2
            """,
            "test");
    assertThat(rules.rules())
        .containsExactly(
            new AlertRule(
                "memory",
                "peak_rss_bytes",
                List.of("compress", "eval"),
                "wiki",
                "paper",
                2147483648.0,
                3.0,
                0.125,
                false,
                2,
                8,
                30,
                9,
                3.5));
    assertThat(rules.webhook().timeout()).isEqualTo(Duration.ofSeconds(7));
  }

  @Test
  void theStandardRulesAreRulesAndAMissingFileMeansThem() {
    assertThat(AlertRules.load(java.nio.file.Path.of("/nowhere/alerts.yaml")).rules())
        .extracting(AlertRule::name)
        .contains("perplexity", "accuracy", "generation-speed", "memory");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          rules: 3                                                              | list "rules"
          rules: [{name: a, metric: m}]                                         | above, below or worse_by
          rules: [{name: a b, metric: m, above: 1}]                             | name of letters
          rules: [{name: a, metric: m, abov: 1}]                                | there is no "abov"
          rules: [{name: a, metric: m, above: much}]                            | above is a number
          rules: [{name: a, metric: m, above: 1, window: 0}]                    | window is a whole number
          rules: [{name: a, metric: m, above: 1}, {name: a, metric: n, above: 1}] | two rules are named a
          rules: [                                                              | test:
          {rules: [], webhook: {url: "ftp://x"}}                                | url must begin
          {rules: [], webhook: {url: "http:/x y"}}                              | url is not one
          """)
  void saysWhatIsWrong(String yaml, String expected) {
    assertThatThrownBy(() -> AlertRules.parse(yaml, "test"))
        .isInstanceOf(UserException.class)
        .hasMessageContaining(expected);
  }

  @Test
  void aChangeMustBeLargeInItselfAndAgainstTheSpread() {
    AlertRule rule = rule("worse_by: 5%, minimum: 3, deviations: 4");
    assertThat(rule.judge(20, 20, 20, 21.2).fires()).isTrue();
    assertThat(rule.judge(20, 20, 20, 20.9).fires()).isFalse();
    assertThat(rule.judge(20, 20, 20, 18).fires()).as("better").isFalse();
    assertThat(rule.judge(20, 20, 21.2).fires()).as("too few before").isFalse();
    assertThat(rule.judge(18, 22, 19, 21, 20, 21.9).fires()).as("within the spread").isFalse();
    AlertRule.Verdict verdict = rule.judge(20, 20.1, 19.9, 20, 22);
    assertThat(verdict.fires()).isTrue();
    assertThat(verdict.change()).isCloseTo(0.1, org.assertj.core.api.Assertions.within(1e-9));
  }

  @Test
  void oneOutlierAmongRecentValuesOrInTheWindowDoesNotMatter() {
    AlertRule rule =
        AlertRules.parse(
                "rules: [{name: r, metric: tokens_per_second, worse_by: 10%, recent: 3, minimum: 5}]",
                "test")
            .rules()
            .getFirst();
    assertThat(rule.judge(100, 101, 99, 100, 100, 101, 99, 20).fires()).isFalse();
    assertThat(rule.judge(100, 101, 99, 20, 100, 85, 84, 86).fires()).isTrue();
    assertThat(rule.judge(100, 101, 99, 500, 100, 100, 99, 101).fires()).isFalse();
  }

  @Test
  void fixedBoundsNeedNoHistory() {
    assertThat(rule("above: 30").judge(31).fires()).isTrue();
    assertThat(rule("above: 30").judge(29).fires()).isFalse();
    assertThat(rule("below: 10").judge(9).fires()).isTrue();
  }
}
