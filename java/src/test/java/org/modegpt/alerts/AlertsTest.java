package org.modegpt.alerts;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.UserException;
import org.modegpt.cli.AlertsCommand;
import org.modegpt.runs.AlertLog;
import org.modegpt.runs.RunRecorder;
import org.modegpt.runs.RunSettings;
import org.modegpt.runs.RunStore;
import picocli.CommandLine;

/// From a recorded run to an alert that is told, seen and muted.
class AlertsTest {
  @TempDir Path folder;
  private RunSettings settings;
  private final ByteArrayOutputStream told = new ByteArrayOutputStream();

  @BeforeEach
  void settings() {
    settings = RunSettings.of(folder, folder.resolve("runs.db").toString());
  }

  private void perplexity(double value, String ratio, String seed) {
    PrintStream log = new PrintStream(told, true, StandardCharsets.UTF_8);
    try (RunRecorder recorder =
        RunRecorder.open(settings, log).afterRun(new AlertsAfterRun(settings.alertRules(), log))) {
      recorder.record(
          "compress",
          Map.of("model", "tiny", "recipe", "paper", "ratio", ratio, "seed", seed),
          run -> {
            run.metric("perplexity", value, 0.1, "", Map.of("dataset", "x"));
            run.metric("perplexity", 10, 0.1, "", Map.of("dataset", "x", "of", "base"));
            return 0;
          });
    }
  }

  private String[] alerts(int code, String... arguments) {
    StringWriter out = new StringWriter();
    CommandLine command = new CommandLine(new AlertsCommand());
    command.setOut(new PrintWriter(out));
    command.setErr(new PrintWriter(new StringWriter()));
    String[] words = new String[arguments.length + 2];
    System.arraycopy(arguments, 0, words, 0, arguments.length);
    words[arguments.length] = "--store";
    words[arguments.length + 1] = settings.location();
    assertThat(command.execute(words)).isEqualTo(code);
    return out.toString().lines().toArray(String[]::new);
  }

  @Test
  void aWorseRunIsToldOnceThenAcknowledgedOrMuted() {
    for (int i = 0; i < 5; i++) {
      perplexity(40, "0.3", "seed" + i);
      perplexity(30, "0.2", "0");
    }
    assertThat(told.toString(StandardCharsets.UTF_8)).isEmpty();
    alerts(0, "check");

    perplexity(42.4, "0.3", "0");
    assertThat(told.toString(StandardCharsets.UTF_8))
        .contains(
            "perplexity: tiny paper: perplexity{dataset=x} is 42.40, 6.0 % worse than the usual 40")
        .doesNotContain("of=base");
    assertThat(alerts(AlertsCommand.FIRED, "check")).anyMatch(l -> l.startsWith("| open"));
    alerts(AlertsCommand.FIRED, "check", "--run", "last", "--json");

    String id = alerts(0, "ls")[2].substring(2, 14);
    alerts(0, "ack", id, "--note", "known");
    assertThat(alerts(0, "check")).anyMatch(l -> l.startsWith("| acknowledged"));

    perplexity(43, "0.3", "0");
    alerts(AlertsCommand.FIRED, "check");
    alerts(0, "mute", "perplexity", "--for", "2h");
    assertThat(alerts(0, "check")).anyMatch(l -> l.startsWith("| muted"));
    alerts(0, "unmute", "perplexity");
    alerts(AlertsCommand.FIRED, "check");

    perplexity(40, "0.3", "0");
    alerts(0, "check");
    assertThat(alerts(0, "ls")).hasSize(4);
  }

  @Test
  void unknownAlertsRulesAndTimesAreRefused() {
    try (RunStore store = RunStore.open(settings.location())) {
      AlertLog log = new AlertLog(store);
      assertThatThrownBy(() -> log.acknowledge("x", "")).isInstanceOf(UserException.class);
      assertThatThrownBy(() -> log.mute("r", Duration.ofDays(10_000), ""))
          .isInstanceOf(UserException.class);
      assertThat(log.add("r", "run", "m", 1, Double.NaN, "text").state()).isEqualTo("open");
      assertThat(log.add("r", "run", "m", 1, Double.NaN, "text")).isNull();
      assertThat(log.list(10)).extracting(AlertLog.Alert::rule).isEqualTo(List.of("r"));
    }
    alerts(1, "mute", "no-such-rule");
  }
}
