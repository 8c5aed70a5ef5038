package org.modegpt.alerts;

import java.io.PrintStream;
import java.nio.file.Path;
import java.util.List;
import org.modegpt.runs.AfterRun;
import org.modegpt.runs.AlertLog;
import org.modegpt.runs.RunRecord;
import org.modegpt.runs.RunStore;

/// Judges every run when it has ended, prints what fires and tells the webhook.
public final class AlertsAfterRun implements AfterRun {
  private final Path file;
  private final PrintStream log;

  /// @param file the rules; need not exist
  public AlertsAfterRun(Path file, PrintStream log) {
    this.file = file;
    this.log = log;
  }

  @Override
  public void after(RunRecord run, RunStore store) throws Exception {
    AlertRules rules = AlertRules.load(file);
    AlertEvaluator evaluator = new AlertEvaluator(store, rules.rules());
    List<AlertLog.Alert> open =
        evaluator.store(evaluator.judge(run)).stream()
            .filter(a -> a.state().equals("open"))
            .toList();
    open.forEach(a -> log.println("alert " + a.id() + ", " + a.rule() + ": " + a.message()));
    Webhook webhook = rules.webhook();
    if (webhook != null && !open.isEmpty()) {
      webhook.send(open);
    }
  }
}
