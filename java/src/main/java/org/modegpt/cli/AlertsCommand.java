package org.modegpt.cli;

import java.io.IOException;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.alerts.AlertEvaluator;
import org.modegpt.alerts.AlertEvaluator.Finding;
import org.modegpt.alerts.AlertRule;
import org.modegpt.alerts.AlertRules;
import org.modegpt.alerts.Webhook;
import org.modegpt.runs.AlertLog;
import org.modegpt.runs.Figures;
import org.modegpt.runs.RunJson;
import org.modegpt.runs.RunStore;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// `modegpt alerts`: rules about runs, and what they said.
@Command(
    name = "alerts",
    description = "Check runs against rules; list, acknowledge and mute alerts.",
    mixinStandardHelpOptions = true,
    subcommands = {
      AlertsCommand.Check.class,
      AlertsCommand.Ls.class,
      AlertsCommand.Acknowledge.class,
      AlertsCommand.Mute.class,
      AlertsCommand.Unmute.class,
      AlertsCommand.Rules.class
    },
    footer = {
      "",
      "Rules are read from alerts.yaml in MODEGPT_HOME; without it those hold that 'modegpt alerts rules' prints.",
      "They are also checked after each run.",
      "",
      "Examples:",
      "  modegpt alerts check                        exit code 3 when a rule fires",
      "  modegpt alerts mute generation-speed --for 7d",
      "  modegpt alerts rules > ~/.local/share/modegpt/alerts.yaml"
    })
public final class AlertsCommand {
  /// A rule fired.
  public static final int FIRED = 3;

  private static final int RUNS = 500;

  @Command(
      name = "check",
      description =
          "Judge the newest of each series of comparable runs; exit code 3 when a rule fires that is not muted and the alert not acknowledged.")
  static final class Check implements Callable<Integer> {
    @Mixin private final StoreOption store = new StoreOption();

    @Option(names = "--run", paramLabel = "ID", description = "Judge this run alone.")
    private @Nullable String run;

    @Option(names = "--all", description = "Also show what does not fire.")
    private boolean all;

    /// A line of the answer.
    private record Line(
        String rule,
        String run,
        String model,
        String metric,
        double value,
        double baseline,
        double change,
        double sigmas,
        String state) {}

    @Override
    public Integer call() throws IOException, InterruptedException {
      AlertRules rules = AlertRules.load(store.settings().alertRules());
      try (RunStore runs = store.open()) {
        AlertEvaluator evaluator = new AlertEvaluator(runs, rules.rules());
        List<Finding> findings =
            run == null
                ? evaluator.judgeNewest(RUNS)
                : evaluator.judge(runs.read(runs.resolve(run)));
        List<AlertLog.Alert> fresh =
            evaluator.store(findings).stream().filter(a -> a.state().equals("open")).toList();
        Map<String, String> states =
            new AlertLog(runs)
                .list(10_000).stream()
                    .collect(
                        Collectors.toMap(
                            a -> key(a.rule(), a.run(), a.metric()),
                            AlertLog.Alert::state,
                            (a, b) -> a));
        List<Line> lines =
            findings.stream()
                .filter(f -> all || f.verdict().fires())
                .map(f -> line(f, states))
                .toList();
        boolean open = lines.stream().anyMatch(l -> l.state().equals("open"));
        if (store.json) {
          store.out().println(RunJson.pretty(lines));
        } else {
          print(lines, findings);
        }
        store.out().flush();
        Webhook webhook = rules.webhook();
        if (webhook != null && !fresh.isEmpty()) {
          webhook.send(fresh);
        }
        return open ? FIRED : 0;
      }
    }

    private static String key(String rule, String run, String metric) {
      return rule + "\n" + run + "\n" + metric;
    }

    private static Line line(Finding f, Map<String, String> states) {
      AlertRule.Verdict v = f.verdict();
      String state =
          v.fires()
              ? states.getOrDefault(key(f.rule().name(), f.run().id(), f.metric().key()), "open")
              : Double.isNaN(v.baseline()) ? "no baseline" : "fine";
      return new Line(
          f.rule().name(),
          f.run().id(),
          f.run().model(),
          f.metric().key(),
          v.value(),
          v.baseline(),
          v.change(),
          v.sigmas(),
          state);
    }

    private void print(List<Line> lines, List<Finding> findings) {
      if (!lines.isEmpty()) {
        Table table =
            new Table(
                "state",
                "rule",
                "model",
                "metric",
                "value",
                "usual",
                "worse by",
                "standard errors",
                "run");
        for (Line l : lines) {
          boolean known = !Double.isNaN(l.baseline);
          table.row(
              l.state,
              l.rule,
              l.model,
              l.metric,
              Figures.metric(l.metric, l.value),
              known ? Figures.metric(l.metric, l.baseline) : "",
              known ? String.format(Locale.ROOT, "%+.1f %%", 100 * l.change) : "",
              known && Double.isFinite(l.sigmas) ? Figures.number(l.sigmas) : "",
              l.run);
        }
        store.out().print(table);
      }
      long judged = findings.stream().filter(f -> !Double.isNaN(f.verdict().baseline())).count();
      store.say(
          "%d metrics judged, %d more have too few runs before them to compare with."
              .formatted(judged, findings.size() - judged));
    }
  }

  @Command(name = "ls", description = "List alerts that fired, newest first.")
  static final class Ls implements Callable<Integer> {
    @Mixin private final StoreOption store = new StoreOption();

    @Option(
        names = {"-n", "--limit"},
        defaultValue = "20",
        description = "How many (default: ${DEFAULT-VALUE}).")
    private int limit;

    @Override
    public Integer call() {
      try (RunStore runs = store.open()) {
        List<AlertLog.Alert> alerts = new AlertLog(runs).list(Math.max(1, limit));
        if (store.json) {
          store.out().println(RunJson.pretty(alerts));
          return 0;
        }
        Table table = new Table("id", "fired", "state", "rule", "run", "what");
        for (AlertLog.Alert a : alerts) {
          table.row(a.id(), Text.time(a.fired()), a.state(), a.rule(), a.run(), a.message());
        }
        store.out().print(table);
      }
      return 0;
    }
  }

  @Command(name = "ack", description = "Mark an alert as seen.")
  static final class Acknowledge implements Callable<Integer> {
    @Mixin private final StoreOption store = new StoreOption();

    @Parameters(paramLabel = "ID", description = "The alert's id, from 'modegpt alerts ls'.")
    private String id = "";

    @Option(names = "--note", defaultValue = "", description = "Why.")
    private String note = "";

    @Override
    public Integer call() {
      try (RunStore runs = store.open()) {
        new AlertLog(runs).acknowledge(id, note);
      }
      return 0;
    }
  }

  @Command(name = "mute", description = "Keep a rule from alerting for a while.")
  static final class Mute implements Callable<Integer> {
    @Mixin private final StoreOption store = new StoreOption();

    @Parameters(paramLabel = "RULE", description = "The rule's name.")
    private String rule = "";

    @Option(
        names = "--for",
        paramLabel = "TIME",
        defaultValue = "7d",
        description = "As in 12h or 7d (default: ${DEFAULT-VALUE}).")
    private String time = "";

    @Option(names = "--note", defaultValue = "", description = "Why.")
    private String note = "";

    @Override
    public Integer call() {
      requireRule(store, rule);
      try (RunStore runs = store.open()) {
        new AlertLog(runs).mute(rule, Text.duration(time), note);
      }
      return 0;
    }
  }

  @Command(name = "unmute", description = "Let a rule alert again.")
  static final class Unmute implements Callable<Integer> {
    @Mixin private final StoreOption store = new StoreOption();

    @Parameters(paramLabel = "RULE", description = "The rule's name.")
    private String rule = "";

    @Override
    public Integer call() {
      try (RunStore runs = store.open()) {
        new AlertLog(runs).mute(rule, java.time.Duration.ZERO, "");
      }
      return 0;
    }
  }

  private static void requireRule(StoreOption store, String rule) {
    List<String> names =
        AlertRules.load(store.settings().alertRules()).rules().stream()
            .map(AlertRule::name)
            .toList();
    if (!names.contains(rule)) {
      throw new UserException(
          "There is no rule " + rule + "; the rules are " + String.join(", ", names) + ".");
    }
  }

  @Command(
      name = "rules",
      description =
          "Print the rules in force, to be changed and saved as alerts.yaml in MODEGPT_HOME.")
  static final class Rules implements Callable<Integer> {
    @Mixin private final StoreOption store = new StoreOption();

    @Override
    public Integer call() throws IOException {
      java.nio.file.Path file = store.settings().alertRules();
      AlertRules rules = AlertRules.load(file);
      if (store.json) {
        store.out().println(RunJson.pretty(rules.rules()));
      } else {
        boolean own = java.nio.file.Files.exists(file);
        store.say(own ? "Rules of " + file : "The standard rules; there is no " + file);
        store.out().print(own ? java.nio.file.Files.readString(file) : AlertRules.standard());
      }
      return 0;
    }
  }
}
