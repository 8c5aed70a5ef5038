package org.modegpt.example;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.modegpt.Modegpt;
import org.modegpt.Progress;
import org.modegpt.calibrate.Statistics;
import org.modegpt.compress.CompressionReport;
import org.modegpt.compress.CompressionText;
import org.modegpt.compress.Recipe;

/// A program that embeds the engine: calibrates a model once and makes several smaller ones side by side.
///
///     SeveralRatios MODEL TEXT FOLDER
public final class SeveralRatios {
  private SeveralRatios() {}

  public static void main(String... args) throws InterruptedException, ExecutionException {
    Progress log =
        (phase, done, total, unit) ->
            System.out.println(phase + " " + done + "/" + total + " " + unit);
    run(Path.of(args[0]), args[1], Path.of(args[2]), List.of(0.2, 0.3), log)
        .forEach(r -> System.out.println(r.toJson()));
  }

  static List<CompressionReport> run(
      Path path, String text, Path folder, List<Double> ratios, Progress progress)
      throws InterruptedException, ExecutionException {
    Path file = folder.resolve("statistics.safetensors");
    try (Modegpt engine = Modegpt.open(path, "cpu", 1)) {
      engine.calibrate(List.of(text), new Recipe.Calibration(4, 64), 0, file, progress);
      try (Statistics statistics = Statistics.open(file);
          ExecutorService pool = Executors.newFixedThreadPool(ratios.size())) {
        List<Future<CompressionReport>> running = new ArrayList<>();
        for (double ratio : ratios) {
          Path out = folder.resolve("ratio-" + ratio);
          running.add(
              pool.submit(() ->
                  engine.compress(
                      statistics,
                      Recipe.PAPER.withRatio(ratio),
                      CompressionText.NONE,
                      out,
                      progress)));
        }
        List<CompressionReport> reports = new ArrayList<>();
        for (Future<CompressionReport> run : running) {
          reports.add(run.get());
        }
        return reports;
      }
    }
  }
}
