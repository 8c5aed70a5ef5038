package org.modegpt.report;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.modegpt.UserException;
import org.modegpt.runs.ModelUse;
import org.modegpt.runs.RunAnalysis;
import org.modegpt.runs.RunAnalysis.ModelPoint;
import org.modegpt.runs.RunRecord;
import org.modegpt.runs.RunSettings;
import org.modegpt.runs.RunStore;

/// A report on some runs, in the form that the file's ending says: `.html` ([HtmlReport]) or `.md`
/// ([MarkdownReport]).
public final class RunReport {
  private static final int MODELS = 2000;

  private RunReport() {}

  /// @throws UserException for a file that is neither `.html` nor `.md`
  public static void requireFormat(Path file) {
    if (!isMarkdown(file) && !file.toString().endsWith(".html")) {
      throw new UserException("A report is a .html or .md file, not " + file + ".");
    }
  }

  private static boolean isMarkdown(Path file) {
    return file.toString().endsWith(".md");
  }

  /// Writes the report on the runs with these ids, together with the sizes and qualities of all
  /// models in the store that have the same origin. The file appears complete or not at all.
  public static void write(Path file, RunSettings settings, List<String> ids) throws IOException {
    requireFormat(file);
    try (RunStore store = RunStore.open(settings.location())) {
      List<RunRecord> runs = ids.stream().map(store::read).toList();
      List<ModelPoint> points = relatives(runs, new RunAnalysis(store).models(MODELS));
      String text =
          isMarkdown(file) ? MarkdownReport.of(runs, points) : HtmlReport.of(runs, points);
      Path partial = file.resolveSibling(file.getFileName() + ".partial");
      Files.writeString(partial, text);
      Files.move(partial, file, StandardCopyOption.REPLACE_EXISTING);
    }
  }

  private static List<ModelPoint> relatives(List<RunRecord> runs, List<ModelPoint> points) {
    Set<String> family = new HashSet<>();
    runs.forEach(r -> r.models().stream().map(RunReport::identity).forEach(family::add));
    points.stream()
        .filter(p -> family.contains(p.identity()) && !p.base().isEmpty())
        .forEach(p -> family.add(p.base()));
    return points.stream()
        .filter(p -> family.contains(p.identity()) || family.contains(p.base()))
        .toList();
  }

  private static String identity(ModelUse model) {
    return model.hash().isEmpty() ? model.path() : model.hash();
  }
}
