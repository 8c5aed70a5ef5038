package org.modegpt.runs;

import java.io.PrintStream;
import java.security.SecureRandom;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/// Records the runs of this process; see the package page for an example. Nothing here throws for a
/// store that cannot be written, and nothing waits but the end of a run (at most some seconds). An
/// interrupted process (Ctrl-C, SIGTERM) marks its open runs as `interrupted`.
public final class RunRecorder implements AutoCloseable {
  /// A job whose run is recorded; may throw.
  public interface Job<T, E extends Exception> {
    T run(Run run) throws E;
  }

  private static final DateTimeFormatter STAMP =
      DateTimeFormatter.ofPattern("yyyyMMdd-HHmmss-", Locale.ROOT).withZone(ZoneOffset.UTC);
  private static final SecureRandom RANDOM = new SecureRandom();
  private static final long FIRST_SAMPLE_MILLIS = 500;
  private static final long LAST_SAMPLE_MILLIS = 30_000;
  private static final long DRAIN_SECONDS = 30;

  private final @Nullable RunWriter writer;
  private final Set<Run> open = ConcurrentHashMap.newKeySet();
  private final List<AfterRun> afterRun = new ArrayList<>();
  private final PrintStream log;
  private @Nullable GpuProbe gpu;
  private @Nullable Thread hook;

  private RunRecorder(@Nullable RunWriter writer, PrintStream log) {
    this.writer = writer;
    this.log = log;
  }

  /// A recorder that writes as `settings` say; problems are told on standard error.
  public static RunRecorder open(RunSettings settings) {
    return open(settings, System.err);
  }

  /// As above, with problems told on `log`.
  public static RunRecorder open(RunSettings settings, PrintStream log) {
    String store = settings.store();
    if (store == null) {
      return new RunRecorder(null, log);
    }
    RunWriter writer = new RunWriter(store, problem -> log.println("run records: " + problem));
    RunRecorder recorder = new RunRecorder(writer, log);
    Thread hook = new Thread(recorder::interrupt, "run-records-end");
    recorder.hook = hook;
    Runtime.getRuntime().addShutdownHook(hook);
    return recorder;
  }

  /// Adds something to be done after each run that begins later.
  public RunRecorder afterRun(AfterRun action) {
    afterRun.add(action);
    return this;
  }

  /// Samples an accelerator as well; the recorder closes the probe.
  public RunRecorder gpu(GpuProbe probe) {
    gpu = probe;
    return this;
  }

  /// Records `job` as one run: finished when it returns, failed when it throws, which is thrown on.
  public <T, E extends Exception> T record(String kind, Map<String, ?> parameters, Job<T, E> job)
      throws E {
    Run run = begin(kind, parameters);
    try {
      T result = job.run(run);
      run.finish();
      return result;
    } catch (Throwable e) {
      run.fail(e);
      throw e;
    }
  }

  /// Begins a run of `kind` (`compress`, `eval`, `bench`, `generate`, ...). Of the parameters,
  /// `model` and `recipe` name what runs are grouped by, and `command` is kept as the command line.
  public Run begin(String kind, Map<String, ?> parameters) {
    RunWriter sink = writer;
    if (sink == null) {
      return new Run("", _ -> {}, _ -> {}, new ResourceSampler(null), () -> {});
    }
    Map<String, String> texts = new TreeMap<>();
    parameters.forEach((name, value) -> texts.put(name, String.valueOf(value)));
    String command = texts.getOrDefault("command", "");
    texts.remove("command");
    String id = newId();
    Future<?>[] sampling = new Future<?>[1];
    Run[] self = new Run[1];
    Run run =
        new Run(
            id,
            sink::accept,
            problem -> log.println("run records: " + problem),
            new ResourceSampler(gpu),
            () -> ended(self[0], sampling[0]));
    self[0] = run;
    open.add(run);
    sink.accept(
        new RunEvent.Begun(
            id,
            kind,
            run.started(),
            Machine.hostName(),
            ProcessIdentity.own(),
            Machine.description(),
            Version.program(),
            Version.revision(),
            command,
            texts.getOrDefault("model", ""),
            texts.getOrDefault("recipe", ""),
            texts));
    sampling[0] = sink.every(FIRST_SAMPLE_MILLIS, new Sampling(run));
    return run;
  }

  /// Samples often at first and ever more rarely, so that a short run has a curve and a long one
  /// has no more than some hundreds of points.
  private static final class Sampling implements Runnable {
    private final Run run;
    private long nextMillis;

    Sampling(Run run) {
      this.run = run;
    }

    @Override
    public void run() {
      long elapsed = Instant.now().toEpochMilli() - run.started().toEpochMilli();
      if (elapsed >= nextMillis && !run.hasEnded()) {
        run.sampleResources();
        nextMillis =
            elapsed + Math.clamp(elapsed / 100, FIRST_SAMPLE_MILLIS / 2, LAST_SAMPLE_MILLIS);
      }
    }
  }

  private void ended(Run run, Future<?> sampling) {
    open.remove(run);
    RunWriter sink = writer;
    if (sink == null) {
      return;
    }
    sampling.cancel(false);
    sink.drain(
        DRAIN_SECONDS,
        store -> {
          for (AfterRun action : afterRun) {
            try {
              action.after(store.read(run.id()), store);
            } catch (Exception e) {
              log.println("run records: after run " + run.id() + ": " + e.getMessage());
            }
          }
        });
  }

  private void interrupt() {
    hook = null;
    for (Run run : open) {
      run.interrupt();
    }
  }

  private static String newId() {
    String digits = "0123456789abcdefghjkmnpqrstvwxyz";
    String tail =
        RANDOM
            .ints(6, 0, 32)
            .mapToObj(i -> digits.substring(i, i + 1))
            .collect(Collectors.joining());
    return STAMP.format(Instant.now()) + tail;
  }

  /// Ends runs that are still open as failed, and stores what is left.
  @Override
  public void close() {
    for (Run run : open) {
      run.close();
    }
    Thread installed = hook;
    if (installed != null) {
      Runtime.getRuntime().removeShutdownHook(installed);
      hook = null;
    }
    if (writer != null) {
      writer.close();
    }
    if (gpu != null) {
      gpu.close();
    }
  }
}
