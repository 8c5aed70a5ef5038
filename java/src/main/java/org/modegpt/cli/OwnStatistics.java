package org.modegpt.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.calibrate.CalibrationData;
import org.modegpt.calibrate.Calibrator;
import org.modegpt.calibrate.Statistics;
import org.modegpt.compress.CurveFile;
import org.modegpt.compress.Recipe;
import org.modegpt.model.Transformer;

/// Statistics that a compression gathers for itself, beside its output. They stay when the run is
/// stopped, so that the next one need not calibrate again, and go when it is done.
final class OwnStatistics {
  private OwnStatistics() {}

  /// Statistics from a run that was stopped, or new ones, on the device if they fit. The caller
  /// closes them.
  ///
  /// @param recipe they are for
  /// @param out beside which they lie
  static Statistics gather(
      CalibrationOptions calibration,
      Transformer model,
      Backend backend,
      Recipe recipe,
      Path out,
      OutputOptions output) {
    CalibrationData data = calibration.data(model, recipe, output);
    Path file = out.resolveSibling(out.getFileName() + ".statistics");
    if (Files.exists(file)) {
      if (matches(file, model, data)) {
        output.say("using the statistics of a run that was stopped, " + file);
        return Statistics.open(file);
      }
      delete(file);
    }
    output.say(
        "calibrating %s on %d x %d tokens of %s"
            .formatted(model.directory().name(), data.count(), data.tokens(), data.source()));
    return output.told("calibration", () -> calibrate(model, backend, data, file, output));
  }

  private static Statistics calibrate(
      Transformer model, Backend backend, CalibrationData data, Path file, OutputOptions output) {
    Calibrator calibrator = new Calibrator(model, backend);
    Statistics resident = calibrator.resident(data, file, output.progress());
    if (resident != null) {
      return resident;
    }
    calibrator.run(data, file, output.progress());
    return Statistics.open(file);
  }

  private static boolean matches(Path file, Transformer model, CalibrationData data) {
    Map<String, String> wanted = Calibrator.metadata(model, data);
    try (Statistics statistics = Statistics.open(file)) {
      return statistics.metadata().entrySet().containsAll(wanted.entrySet());
    }
  }

  /// Removes the file and what was kept beside it.
  static void delete(Path file) {
    try {
      Files.deleteIfExists(file);
      Files.deleteIfExists(CurveFile.beside(file));
    } catch (IOException e) {
      throw new UserException("cannot remove " + file + ": " + e.getMessage(), e);
    }
  }
}
