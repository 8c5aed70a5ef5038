package org.modegpt.report;

import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import org.modegpt.evaluate.Evaluation;
import org.modegpt.evaluate.Evaluation.Row;
import org.modegpt.evaluate.Evaluation.Subject;
import org.modegpt.evaluate.Footprint;
import org.modegpt.evaluate.Gates;
import org.modegpt.evaluate.Measure;
import org.modegpt.evaluate.PairedTest;
import org.modegpt.evaluate.TaskResult;
import org.modegpt.io.ByteSize;

/// An evaluation as one HTML file without scripts: results, differences with their confidence
/// intervals drawn, subgroups, size and speed, gates and errors.
public final class EvaluationHtml {
  private static final String STYLE =
      """
      :root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
      table{border-collapse:collapse;margin:1rem 0}th,td{padding:.3rem .7rem;border-bottom:1px solid #8884;text-align:right;vertical-align:middle}
      th:first-child,td:first-child,td.t,th.t{text-align:left}.worse,.fail{color:#c62828;font-weight:600}.better,.pass{color:#2e7d32;font-weight:600}
      .mute{opacity:.65}details{margin:.5rem 0}svg{vertical-align:middle}
      """;

  private static final int WIDTH = 180;
  private static final int HEIGHT = 16;

  private final Evaluation evaluation;
  private final List<Gates.Outcome> gates;
  private final StringBuilder page = new StringBuilder();

  private EvaluationHtml(Evaluation evaluation, List<Gates.Outcome> gates) {
    this.evaluation = evaluation;
    this.gates = gates;
  }

  public static String of(Evaluation evaluation, List<Gates.Outcome> gates) {
    return new EvaluationHtml(evaluation, gates).page();
  }

  private String page() {
    Subject baseline = evaluation.baseline();
    String title =
        evaluation.model().name() + (baseline == null ? "" : " against " + baseline.name());
    page.append("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")
        .append(
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">")
        .append("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>")
        .append(HtmlReport.escape(title))
        .append(" - MoDeGPT</title><style>")
        .append(STYLE)
        .append("</style></head><body>\n<h1>")
        .append(HtmlReport.escape(title))
        .append("</h1>\n");
    gateTable();
    errors();
    results();
    footprints();
    groups();
    notes();
    return page.append("</body></html>\n").toString();
  }

  private void gateTable() {
    if (gates.isEmpty()) {
      return;
    }
    long failed = gates.stream().filter(g -> !g.passed()).count();
    heading(failed == 0 ? "All gates hold" : failed + " of " + gates.size() + " gates fail");
    page.append("<table><tr><th>gate<th><th class=t>found</tr>\n");
    for (Gates.Outcome gate : gates) {
      row(
          HtmlReport.escape(gate.name()),
          gate.passed() ? "<span class=pass>holds</span>" : "<span class=fail>fails</span>",
          "<span class=mute>" + HtmlReport.escape(gate.message()) + "</span>");
    }
    page.append("</table>\n");
  }

  private void errors() {
    List<String> errors = evaluation.errors();
    if (!errors.isEmpty()) {
      heading("Tasks without a result");
      page.append("<ul>");
      errors.forEach(
          e -> page.append("<li class=fail>").append(HtmlReport.escape(e)).append("</li>"));
      page.append("</ul>\n");
    }
  }

  private void results() {
    heading("Results");
    boolean compared = evaluation.baseline() != null;
    page.append("<table><tr><th>task<th class=t>metric<th>shots<th>items<th>value ± s.e.");
    page.append(
        compared
            ? "<th>baseline ± s.e.<th>difference<th>95 % interval<th>lost / gained<th>p (Holm)<th>verdict</tr>\n"
            : "</tr>\n");
    for (Row row : evaluation.rows()) {
      Measure measure = row.measure();
      page.append("<tr><td>")
          .append(row.primary() ? HtmlReport.escape(row.task().name()) : "")
          .append("<td class=t>")
          .append(HtmlReport.escape(measure.label()))
          .append(measure.higherIsBetter() ? " ↑" : " ↓")
          .append("<td>")
          .append(row.task().examples())
          .append("<td>")
          .append(measure.items())
          .append("<td>")
          .append(value(measure));
      if (compared) {
        comparison(row);
      }
      page.append("</tr>\n");
    }
    page.append("</table>\n");
  }

  private void comparison(Row row) {
    PairedTest test = row.test();
    Measure baseline = row.baseline();
    if (test == null || baseline == null) {
      page.append("<td><td><td><td><td><td>");
      return;
    }
    String verdict =
        row.verdict()
            .map(v ->
                switch (v) {
                  case WORSE -> "<span class=worse>worse</span>";
                  case BETTER -> "<span class=better>better</span>";
                  case NO_DIFFERENCE -> v.label();
                })
            .orElse("");
    page.append("<td>")
        .append(value(baseline))
        .append("<td>")
        .append(number("%+.4f", test.difference()))
        .append("<td>")
        .append(interval(row, test))
        .append("<td>")
        .append(test.lost() + test.gained() > 0 ? test.lost() + " / " + test.gained() : "")
        .append("<td>")
        .append(row.primary() ? number("%.4f", row.corrected()) : "")
        .append("<td>")
        .append(verdict);
  }

  /// The interval as text, and drawn around zero with the better side to the right.
  private static String interval(Row row, PairedTest test) {
    double reach = Math.max(Math.abs(test.low()), Math.abs(test.high()));
    String text = number("[%+.4f, ", test.low()) + number("%+.4f]", test.high());
    if (!(reach > 0)) {
      return text;
    }
    double sign = row.measure().higherIsBetter() ? 1 : -1;
    double scale = (WIDTH / 2.0 - 4) / reach * sign;
    double a = WIDTH / 2.0 + scale * test.low();
    double b = WIDTH / 2.0 + scale * test.high();
    return text
        + String.format(
            Locale.ROOT,
            " <svg width=\"%d\" height=\"%d\" role=\"img\" aria-label=\"%s\"><line x1=\"%d\" x2=\"%d\" y1=\"0\" y2=\"%d\" stroke=\"#888\"/><line x1=\"%.1f\" x2=\"%.1f\" y1=\"8\" y2=\"8\" stroke=\"%s\" stroke-width=\"4\"/><circle cx=\"%.1f\" cy=\"8\" r=\"4\"/></svg>",
            WIDTH,
            HEIGHT,
            "worse left of the line, better right of it",
            WIDTH / 2,
            WIDTH / 2,
            HEIGHT,
            Math.min(a, b),
            Math.max(a, b),
            test.low() > 0 == test.high() > 0
                ? (test.low() * sign > 0 ? "#2e7d32" : "#c62828")
                : "#888",
            WIDTH / 2.0 + scale * test.difference());
  }

  private void footprints() {
    heading("Size and speed");
    page.append(
        "<table><tr><th>model<th>parameters<th>weights<th>load<th>peak memory<th>prompt tokens/s<th>decode tokens/s<th>first token</tr>\n");
    footprint(evaluation.model());
    if (evaluation.baseline() != null) {
      footprint(evaluation.baseline());
    }
    page.append("</table>\n");
  }

  private void footprint(Subject subject) {
    Footprint f = subject.footprint();
    row(
        HtmlReport.escape(subject.name()),
        String.format(Locale.ROOT, "%,d", subject.parameters()),
        ByteSize.format(subject.bytes()),
        f == null ? "" : number("%.2f s", f.loadSeconds()),
        f == null || f.peakMemory() < 0 ? "" : ByteSize.format(f.peakMemory()),
        f == null ? "" : spread("%.1f", f.prefill()),
        f == null ? "" : spread("%.1f", f.decode()),
        f == null ? "" : spread("%.3f", f.firstToken()) + " s");
  }

  private static String spread(String format, Footprint.Spread spread) {
    return number(format, spread.mean()) + " ± " + number(format, spread.deviation());
  }

  private void groups() {
    for (Row row : evaluation.rows()) {
      var groups = row.measure().byGroup();
      if (!groups.isEmpty()) {
        var others = row.baseline() == null ? null : row.baseline().byGroup();
        page.append("<details><summary>")
            .append(HtmlReport.escape(row.task().name() + " " + row.measure().label()))
            .append(
                " by group</summary><table><tr><th>group<th>items<th>value ± s.e.<th>baseline ± s.e.</tr>\n");
        groups.forEach((name, part) -> group(name, part, others == null ? null : others.get(name)));
        page.append("</table></details>\n");
      }
    }
  }

  private void group(String name, Measure part, @Nullable Measure other) {
    row(
        HtmlReport.escape(name),
        Integer.toString(part.items()),
        value(part),
        other == null ? "" : value(other));
  }

  private void notes() {
    page.append("<ul class=mute>");
    for (TaskResult result : evaluation.model().results()) {
      if (result.truncated() > 0) {
        page.append("<li>").append(HtmlReport.escape(result.truncation())).append("</li>");
      }
    }
    page.append(
        "<li>s.e. is the standard error over items. Differences are paired by item; intervals are bootstrapped, p-values are McNemar's exact test for right-or-wrong items and from the paired standard error otherwise, corrected after Holm over the first metric of each task; a verdict needs p &lt; 0.05.</li></ul>\n");
  }

  private void heading(String text) {
    page.append("<h2>").append(HtmlReport.escape(text)).append("</h2>\n");
  }

  private void row(String... cells) {
    page.append("<tr>");
    for (String cell : cells) {
      page.append("<td>").append(cell);
    }
    page.append("</tr>\n");
  }

  private static String value(Measure measure) {
    double error = measure.standardError();
    return number("%.4f", measure.value()) + (Double.isNaN(error) ? "" : number(" ± %.4f", error));
  }

  private static String number(String format, double value) {
    return Double.isNaN(value) ? "" : String.format(Locale.ROOT, format, value);
  }
}
