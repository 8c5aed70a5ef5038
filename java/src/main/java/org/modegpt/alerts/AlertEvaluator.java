package org.modegpt.alerts;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.modegpt.runs.AlertLog;
import org.modegpt.runs.Figures;
import org.modegpt.runs.RunAnalysis;
import org.modegpt.runs.RunFilter;
import org.modegpt.runs.RunRecord;
import org.modegpt.runs.RunStore;
import org.modegpt.runs.RunSummary;

/// Judges runs by rules, against the history in their store.
public final class AlertEvaluator {
  private final RunStore store;
  private final RunAnalysis analysis;
  private final List<AlertRule> rules;

  public AlertEvaluator(RunStore store, List<AlertRule> rules) {
    this.store = store;
    this.analysis = new RunAnalysis(store);
    this.rules = List.copyOf(rules);
  }

  /// A rule's verdict on one metric of a run.
  public record Finding(
      AlertRule rule, RunRecord run, RunRecord.Metric metric, AlertRule.Verdict verdict) {
    /// What happened, in a line for people.
    public String message() {
      String now = Figures.metric(metric.key(), verdict.value());
      String what = run.model() + (run.recipe().isEmpty() ? "" : " " + run.recipe());
      if (Double.isNaN(verdict.baseline())) {
        return "%s: %s is %s".formatted(what, metric.key(), now);
      }
      return String.format(
          Locale.ROOT,
          "%s: %s is %s, %.1f %% %s than the usual %s (%s)",
          what,
          metric.key(),
          now,
          100 * Math.abs(verdict.change()),
          verdict.change() > 0 ? "worse" : "better",
          Figures.metric(metric.key(), verdict.baseline()),
          Double.isInfinite(verdict.sigmas())
              ? "which never varied"
              : String.format(Locale.ROOT, "%.1f standard errors", Math.abs(verdict.sigmas())));
    }
  }

  /// Verdicts of all rules that concern `run`, one for each of its metrics that they name.
  public List<Finding> judge(RunRecord run) {
    List<Finding> findings = new ArrayList<>();
    if (!run.status().equals("finished")) {
      return findings;
    }
    for (AlertRule rule : rules) {
      if (rule.concerns(run)) {
        for (RunRecord.Metric metric : run.metrics()) {
          if (rule.concerns(metric)) {
            double[] values = analysis.history(run, metric, rule.history());
            findings.add(new Finding(rule, run, metric, rule.judge(values)));
          }
        }
      }
    }
    return findings;
  }

  /// Verdicts on the newest finished run of each series of comparable runs among the newest
  /// `limit`.
  public List<Finding> judgeNewest(int limit) {
    List<Finding> findings = new ArrayList<>();
    Set<String> seen = new HashSet<>();
    RunFilter finished = new RunFilter("", "finished", "", "", "", null, limit, 0);
    for (RunSummary summary : store.list(finished)) {
      RunRecord run = store.read(summary.id());
      if (seen.add(RunAnalysis.series(run))) {
        findings.addAll(judge(run));
      }
    }
    return findings;
  }

  /// Stores the findings that fire; returns those that were not known.
  public List<AlertLog.Alert> store(List<Finding> findings) {
    AlertLog log = new AlertLog(store);
    List<AlertLog.Alert> added = new ArrayList<>();
    for (Finding f : findings) {
      if (f.verdict().fires()) {
        AlertLog.Alert alert =
            log.add(
                f.rule().name(),
                f.run().id(),
                f.metric().key(),
                f.verdict().value(),
                f.verdict().baseline(),
                f.message());
        if (alert != null) {
          added.add(alert);
        }
      }
    }
    return added;
  }
}
