package org.modegpt.cli;

import java.util.List;
import java.util.Locale;
import org.modegpt.evaluate.Evaluation;
import org.modegpt.evaluate.Evaluation.Row;
import org.modegpt.evaluate.Evaluation.Subject;
import org.modegpt.evaluate.Footprint;
import org.modegpt.evaluate.Gates;
import org.modegpt.evaluate.Measure;
import org.modegpt.evaluate.PairedTest;
import org.modegpt.evaluate.TaskResult;
import org.modegpt.io.ByteSize;

/// An evaluation as Markdown: for the terminal, and as a report.
final class EvaluationTable {
  private EvaluationTable() {}

  static String of(Evaluation evaluation, List<Gates.Outcome> gates) {
    StringBuilder out = new StringBuilder();
    Subject baseline = evaluation.baseline();
    out.append(evaluation.model().name());
    if (baseline != null) {
      out.append(" against ").append(baseline.name());
    }
    out.append("\n\n").append(results(evaluation));
    if (evaluation.model().footprint() != null || baseline != null) {
      out.append('\n').append(footprints(evaluation));
    }
    if (!gates.isEmpty()) {
      Table table = new Table("gate", "", "found");
      gates.forEach(g -> table.row(g.name(), g.passed() ? "holds" : "FAILS", g.message()));
      out.append('\n').append(table);
    }
    for (TaskResult result : evaluation.model().results()) {
      if (result.truncated() > 0) {
        out.append("\n* ").append(result.truncation());
      }
    }
    for (String error : evaluation.errors()) {
      out.append("\n* no result: ").append(error);
    }
    for (String task : evaluation.unpaired()) {
      out.append("\n* ").append(task).append(": the baseline has no result for the same items");
    }
    if (evaluation.rows().stream().anyMatch(r -> r.test() != null)) {
      out.append(
          "\n* difference ± paired standard error; 95 % interval by paired bootstrap; p of the first metric of each task (McNemar's exact test, or from the paired error), corrected after Holm");
    }
    return out.toString().stripTrailing() + "\n";
  }

  private static Table results(Evaluation evaluation) {
    boolean compared = evaluation.baseline() != null;
    Table table =
        compared
            ? new Table(
                "task",
                "n-shot",
                "metric",
                "",
                "value",
                "baseline",
                "difference",
                "95 % interval",
                "p",
                "verdict")
            : new Table("task", "n-shot", "items", "metric", "", "value", "stderr");
    for (Row row : evaluation.rows()) {
      Measure m = row.measure();
      String task = row.primary() ? row.task().name() : "";
      String arrow = m.higherIsBetter() ? "↑" : "↓";
      if (!compared) {
        table.row(
            task,
            row.task().examples(),
            m.items(),
            m.label(),
            arrow,
            number(m.value()),
            error(m.standardError()));
        continue;
      }
      PairedTest test = row.test();
      table.row(
          task,
          row.task().examples(),
          m.label(),
          arrow,
          value(m),
          row.baseline() == null ? "" : value(row.baseline()),
          test == null ? "" : signed(test.difference()) + error(test.standardError()),
          test == null ? "" : signed(test.low()) + ", " + signed(test.high()),
          test == null || !row.primary() ? "" : probability(row.corrected()),
          row.verdict().map(PairedTest.Verdict::label).orElse(""));
    }
    return table;
  }

  private static Table footprints(Evaluation evaluation) {
    Table table =
        new Table(
            "model",
            "parameters",
            "weights",
            "load s",
            "peak memory",
            "prompt tokens/s",
            "decode tokens/s",
            "first token s");
    for (Subject subject :
        evaluation.baseline() == null
            ? List.of(evaluation.model())
            : List.of(evaluation.model(), evaluation.baseline())) {
      Footprint f = subject.footprint();
      table.row(
          subject.name(),
          String.format(Locale.ROOT, "%,d", subject.parameters()),
          ByteSize.format(subject.bytes()),
          f == null ? "" : String.format(Locale.ROOT, "%.2f", f.loadSeconds()),
          f == null || f.peakMemory() < 0 ? "" : ByteSize.format(f.peakMemory()),
          f == null ? "" : spread("%.1f", f.prefill()),
          f == null ? "" : spread("%.1f", f.decode()),
          f == null ? "" : spread("%.3f", f.firstToken()));
    }
    return table;
  }

  private static String spread(String format, Footprint.Spread spread) {
    return String.format(Locale.ROOT, format + " ± " + format, spread.mean(), spread.deviation());
  }

  private static String value(Measure measure) {
    return number(measure.value()) + error(measure.standardError());
  }

  private static String number(double value) {
    return String.format(Locale.ROOT, Math.abs(value) >= 1000 ? "%.1f" : "%.4f", value);
  }

  private static String error(double error) {
    return Double.isNaN(error) ? "" : " ± " + number(error);
  }

  private static String signed(double value) {
    return (value > 0 ? "+" : "") + number(value);
  }

  private static String probability(double p) {
    return Double.isNaN(p) ? "" : p < 0.0001 ? "<0.0001" : String.format(Locale.ROOT, "%.4f", p);
  }
}
