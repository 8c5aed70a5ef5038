package org.modegpt.cli;

import java.util.Map;
import org.modegpt.runs.Run;
import org.modegpt.runs.RunRecorder;
import org.modegpt.runs.RunSettings;
import picocli.CommandLine.Option;

/// Keeps a record of what a command did, for `modegpt runs` and `modegpt dashboard`.
final class RecordOptions {
  @Option(names = "--no-record", description = "Keep no record of this run.")
  private boolean off;

  /// Runs `job` as a recorded run of the given kind.
  int record(
      String kind, Map<String, ?> parameters, RunRecorder.Job<Integer, RuntimeException> job) {
    RunSettings settings = RunSettings.fromEnvironment();
    try (RunRecorder recorder = RunRecorder.open(off ? settings.off() : settings)) {
      return recorder.record(kind, parameters, (Run run) -> job.run(run));
    }
  }
}
