package org.modegpt.report;

import java.util.Base64;
import java.util.List;
import java.util.stream.Collectors;
import org.modegpt.io.Digests;
import org.modegpt.runs.RunAnalysis;
import org.modegpt.runs.RunJson;
import org.modegpt.runs.RunRecord;

/// One HTML file with everything in it: styles, scripts and data. It opens from disk, asks no
/// server for anything, and its own policy allows no script but these, named by their hashes.
public final class HtmlReport {
  private static final List<String> SCRIPTS =
      List.of("chartjs/chart.umd.min.js", "dom.js", "charts.js", "views.js", "report.js");

  private HtmlReport() {}

  /// What the scripts draw.
  private record Data(List<RunRecord> runs, List<RunAnalysis.ModelPoint> points) {}

  /// The page about `runs` (two of them are also compared) and the trade-offs of `points`.
  public static String of(List<RunRecord> runs, List<RunAnalysis.ModelPoint> points) {
    List<String> scripts = SCRIPTS.stream().map(Assets::text).map(HtmlReport::inline).toList();
    String hashes = scripts.stream().map(HtmlReport::hash).collect(Collectors.joining(" "));
    String title =
        runs.size() == 1 ? runs.getFirst().kind() + " " + runs.getFirst().model() : "Runs";
    StringBuilder page = new StringBuilder();
    page.append("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
        .append(
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src ")
        .append(hashes)
        .append("\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")
        .append(
            "<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n<title>")
        .append(escape(title))
        .append(" - MoDeGPT</title>\n<style>\n")
        .append(Assets.text("style.css"))
        .append(
            "</style>\n</head>\n<body>\n<header><h1>MoDeGPT report</h1></header>\n<main id=\"main\"></main>\n")
        .append(
            "<noscript><p>This report needs JavaScript to be drawn; its data is in the source of this page.</p></noscript>\n")
        .append("<script type=\"application/json\" id=\"data\">")
        // Inside a script element only "<" could end it or open a comment.
        .append(RunJson.write(new Data(runs, points)).replace("<", "\\u003c"))
        .append("</script>\n");
    scripts.forEach(script -> page.append("<script>").append(script).append("</script>\n"));
    return page.append("</body>\n</html>\n").toString();
  }

  private static String inline(String script) {
    if (script.contains("</script") || script.contains("<!--")) {
      throw new IllegalStateException("a script of the report cannot be put into a page as it is");
    }
    return "\n" + script;
  }

  private static String hash(String script) {
    return "'sha256-" + Base64.getEncoder().encodeToString(Digests.sha256(script)) + "'";
  }

  static String escape(String text) {
    return text.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("\"", "&quot;")
        .replace("'", "&#39;");
  }
}
