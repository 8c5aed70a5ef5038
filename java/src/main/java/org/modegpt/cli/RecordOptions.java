package org.modegpt.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.report.RunReport;
import org.modegpt.runs.Run;
import org.modegpt.runs.RunRecorder;
import org.modegpt.runs.RunSettings;
import picocli.CommandLine;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/// Keeps a record of what a command did, for `modegpt runs` and `modegpt dashboard`.
final class RecordOptions {
  /// A job that may be several runs.
  interface Job {
    int run(Recording recording);
  }

  @Option(names = "--no-record", description = "Keep no record of this run.")
  private boolean off;

  private @Nullable Path report;

  @Spec(Spec.Target.MIXEE)
  private CommandSpec spec;

  /// From now on a report on the runs is also written to `file`, unless that is null.
  void reportTo(@Nullable Path file) {
    report = file;
  }

  /// Runs `job` as a recorded run of the given kind.
  int record(
      String kind, Map<String, ?> parameters, RunRecorder.Job<Integer, RuntimeException> job) {
    return recordSeveral(
        kind,
        recording -> {
          recording.next(parameters);
          return job.run(recording.run());
        });
  }

  /// Runs `job`, which begins a run for each of its results by [Recording#next].
  int recordSeveral(String kind, Job job) {
    if (report != null) {
      RunReport.requireFormat(report);
    }
    RunSettings settings = settings();
    boolean temporary = settings.store() == null && report != null;
    try {
      if (temporary) {
        // The report is drawn from a record, which is then forgotten.
        settings = settings.withStore(Files.createTempFile("modegpt-runs", ".db").toString());
      }
      try (Recording recording = new Recording(RecordHooks.open(settings), kind, command())) {
        int code = recording.complete(job);
        if (report != null) {
          RunReport.write(report, settings, recording.ids());
        }
        return code;
      } finally {
        if (temporary) {
          for (String tail : List.of("", "-wal", "-shm")) {
            Files.deleteIfExists(Path.of(settings.location() + tail));
          }
        }
      }
    } catch (IOException e) {
      throw new UserException("cannot write the report " + report + ": " + e.getMessage(), e);
    }
  }

  private RunSettings settings() {
    RunSettings settings = RunSettings.fromEnvironment();
    return off ? settings.off() : settings;
  }

  private String command() {
    CommandLine.ParseResult parsed = spec.root().commandLine().getParseResult();
    return parsed == null
        ? spec.qualifiedName()
        : parsed.originalArgs().stream()
            .map(w -> w.matches("[\\w@%+=:,./-]+") ? w : "'" + w.replace("'", "'\\''") + "'")
            .collect(Collectors.joining(" ", "modegpt ", ""));
  }

  /// The runs of one command, one at a time.
  static final class Recording implements AutoCloseable {
    private final RecordHooks hooks;
    private final String kind;
    private final String command;
    private final List<String> ids = new java.util.ArrayList<>();
    private @Nullable Run run;

    private Recording(RecordHooks hooks, String kind, String command) {
      this.hooks = hooks;
      this.kind = kind;
      this.command = command;
    }

    /// Ends the present run as a success and begins another. Parameters without a value are left
    /// out.
    Run next(Map<String, ?> parameters) {
      finish();
      Map<String, Object> all = new TreeMap<>();
      all.put("command", command);
      parameters.forEach((name, value) -> {
        if (!String.valueOf(value).isEmpty()) {
          all.put(name, value);
        }
      });
      Run begun = hooks.recorder().begin(kind, all);
      run = begun;
      ids.add(begun.id());
      return begun;
    }

    Run run() {
      Run present = run;
      if (present == null) {
        throw new IllegalStateException("no run was begun");
      }
      return present;
    }

    List<String> ids() {
      return List.copyOf(ids);
    }

    private int complete(Job job) {
      try {
        int code = job.run(this);
        finish();
        return code;
      } catch (RuntimeException | Error e) {
        if (run != null) {
          run.fail(e);
        }
        throw e;
      }
    }

    private void finish() {
      if (run != null) {
        run.finish();
      }
    }

    @Override
    public void close() {
      hooks.close();
    }
  }
}
