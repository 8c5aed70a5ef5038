package org.modegpt.runs;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.modegpt.Progress;
import org.modegpt.io.PeakMemory;

/// A run being recorded. Methods may be called from any thread, return at once (an event is put
/// into a queue) and never throw; after the run has ended, or with recording off, they do nothing.
/// Close it when done: a run closed without [#finish] counts as failed.
public final class Run implements AutoCloseable {
  private static final long PROGRESS_INTERVAL_NANOS = 500_000_000;
  private static final AtomicLong LAST_START = new AtomicLong();

  private final String id;
  private final Instant started = nextStart();
  private final long startNanos = System.nanoTime();
  private final Consumer<RunEvent> sink;
  private final Consumer<String> problems;
  private final ResourceSampler sampler;
  private final @Nullable PeakMemory peak;
  private final Runnable whenEnded;
  private @Nullable Phase reported;
  private volatile boolean ended;

  Run(
      String id,
      Consumer<RunEvent> sink,
      Consumer<String> problems,
      ResourceSampler sampler,
      Runnable whenEnded) {
    this.id = id;
    this.sink = sink;
    this.problems = problems;
    this.sampler = sampler;
    this.peak = id.isEmpty() ? null : PeakMemory.start();
    this.whenEnded = whenEnded;
  }

  /// Now, but at least a millisecond after the last run of this process: the store keeps
  /// milliseconds, and lists runs in the order in which they began.
  private static Instant nextStart() {
    long now = System.currentTimeMillis();
    return Instant.ofEpochMilli(LAST_START.updateAndGet(last -> Math.max(last + 1, now)));
  }

  /// The id that `runs show` takes; empty with recording off.
  public String id() {
    return id;
  }

  /// Tells of a model used in `role` (see [ModelUse]) at `path`; reads pieces of its files to
  /// identify it. `parameters` is null when not known.
  public void model(String role, Path path, @Nullable Long parameters) {
    if (id.isEmpty()) {
      return;
    }
    try {
      ModelFingerprint print = ModelFingerprint.of(path);
      model(new ModelUse(role, path.toString(), print.hash(), parameters, print.bytes()));
    } catch (IOException e) {
      problems.accept(
          "cannot identify the model "
              + path
              + " ("
              + e.getMessage()
              + "); the run keeps its path alone");
      model(new ModelUse(role, path.toString(), "", parameters, null));
    }
  }

  /// Tells of a model whose identity the caller knows.
  public void model(ModelUse model) {
    send(new RunEvent.ModelUsed(id, model));
  }

  /// Begins a phase; close it when it ends. Phases may nest and overlap.
  public Phase phase(String name) {
    return new Phase(name);
  }

  /// Progress that is recorded, a phase for each that it names, and passed on to `next`. A phase
  /// ends when the next begins or the run ends.
  public Progress progress(Progress next) {
    return (phase, done, total, unit) -> {
      next.update(phase, done, total, unit);
      reported(phase).progress(done, total);
    };
  }

  private synchronized Phase reported(String name) {
    Phase present = reported;
    return present == null || present.closed || !present.name.equals(name) ? next(name) : present;
  }

  /// Begins a phase that follows the one before it, which ends: both of those begun here and of
  /// those that progress names. Close it when it ends, unless another follows.
  public synchronized Phase next(String name) {
    if (reported != null) {
      reported.close();
    }
    Phase next = phase(name);
    reported = next;
    return next;
  }

  /// Reports a result; see [Metrics] for names. `standardError` is null where there is none; `unit`
  /// and `tags` may be empty.
  public void metric(
      String name,
      double value,
      @Nullable Double standardError,
      String unit,
      Map<String, String> tags) {
    String joined =
        new TreeMap<>(tags)
            .entrySet().stream()
                .map(t -> t.getKey() + "=" + t.getValue())
                .collect(Collectors.joining(","));
    send(new RunEvent.Measured(id, new RunRecord.Metric(name, value, standardError, unit, joined)));
  }

  /// Reports a result without error, unit or tags.
  public void metric(String name, double value) {
    metric(name, value, null, "", Map.of());
  }

  /// Reports what became of a module of a layer; see [RunRecord.LayerResult] for units.
  public void layer(
      int index,
      String module,
      long original,
      long kept,
      @Nullable Double predictedLoss,
      @Nullable Double measuredError) {
    send(
        new RunEvent.LayerDone(
            id,
            new RunRecord.LayerResult(
                index, module, original, kept, predictedLoss, measuredError)));
  }

  /// Adds a value at this moment, for what changes while the run lasts.
  public void sample(String name, double value) {
    send(new RunEvent.SeriesSampled(id, new RunRecord.SeriesPoint(Instant.now(), name, value)));
  }

  /// Takes a sample of what the process uses.
  void sampleResources() {
    send(new RunEvent.Sampled(id, sampler.sample()));
  }

  Instant started() {
    return started;
  }

  boolean hasEnded() {
    return ended;
  }

  /// Ends the run as a success; waits until all of it is stored.
  public void finish() {
    end("finished", "");
  }

  /// Ends the run as a failure for `cause`.
  public void fail(Throwable cause) {
    String message = cause.getMessage();
    end("failed", message == null ? cause.getClass().getSimpleName() : message);
  }

  /// Ends the run because the process was asked to stop.
  void interrupt() {
    end("interrupted", "");
  }

  @Override
  public void close() {
    end("failed", "closed without a result");
  }

  private void end(String status, String error) {
    synchronized (this) {
      if (ended) {
        return;
      }
      if (reported != null) {
        reported.close();
      }
      if (!id.isEmpty()) {
        sampleResources();
        tellPeak();
        metric(Metrics.SECONDS, (System.nanoTime() - startNanos) / 1e9, null, "s", Map.of());
        send(new RunEvent.Ended(id, status, Instant.now(), error));
      }
      ended = true;
    }
    whenEnded.run();
  }

  private void tellPeak() {
    if (peak != null) {
      long bytes = peak.bytes();
      if (bytes > 0) {
        metric(Metrics.PEAK_RSS, (double) bytes, null, "B", Map.of());
      }
      peak.close();
    }
  }

  private void send(RunEvent event) {
    if (!ended && !id.isEmpty()) {
      sink.accept(event);
    }
  }

  /// A stretch of a run, from its creation to its close.
  public final class Phase implements AutoCloseable {
    private final String name;
    private final Instant started = Instant.now();
    private final long startNanos = System.nanoTime();
    private volatile long told = startNanos;
    private volatile boolean closed;

    private Phase(String name) {
      this.name = name;
      send(new RunEvent.Progressed(id, new RunRecord.Progress(started, name, 0, 0)));
    }

    /// Tells that `done` of `total` units are done (0 when the total is not known); at most two a
    /// second are kept, and the last.
    public void progress(long done, long total) {
      long now = System.nanoTime();
      if (now - told >= PROGRESS_INTERVAL_NANOS || done == total) {
        told = now;
        send(new RunEvent.Progressed(id, new RunRecord.Progress(Instant.now(), name, done, total)));
      }
    }

    @Override
    public synchronized void close() {
      if (!closed) {
        closed = true;
        double seconds = (System.nanoTime() - startNanos) / 1e9;
        send(new RunEvent.PhaseEnded(id, new RunRecord.PhaseSpan(name, started, seconds)));
      }
    }
  }
}
