package org.modegpt.runs;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// Takes events from a job without making it wait and stores them in batches from one daemon
/// thread. When the store keeps failing, or the queue fills up because it is too slow, that is told
/// once and the job goes on.
final class RunWriter implements AutoCloseable {
  private static final int QUEUE = 200_000;
  private static final long INTERVAL_MILLIS = 250;
  private static final int ATTEMPTS = 5;

  private final String location;
  private final Consumer<String> problems;
  private final LinkedBlockingQueue<RunEvent> queue = new LinkedBlockingQueue<>(QUEUE);
  private final AtomicBoolean full = new AtomicBoolean();
  private final AtomicLong dropped = new AtomicLong();
  private final ScheduledExecutorService thread =
      Executors.newSingleThreadScheduledExecutor(
          Thread.ofPlatform().daemon().name("run-records").factory());

  private final Future<?> flushing;

  // Used by the thread alone.
  private @Nullable RunStore store;
  private final List<RunEvent> pending = new ArrayList<>();
  private int failures;
  private volatile boolean broken;

  RunWriter(String location, Consumer<String> problems) {
    this.location = location;
    this.problems = problems;
    flushing =
        thread.scheduleWithFixedDelay(this::flush, 0, INTERVAL_MILLIS, TimeUnit.MILLISECONDS);
  }

  void accept(RunEvent event) {
    if (broken) {
      return;
    }
    if (!queue.offer(event)) {
      dropped.incrementAndGet();
      if (full.compareAndSet(false, true)) {
        problems.accept(
            "the store "
                + Database.shown(location)
                + " is too slow; some records of this run are lost");
      }
    }
  }

  /// Runs `task` on the writer's thread every `millis`; it may append events and must be short.
  Future<?> every(long millis, Runnable task) {
    return thread.scheduleWithFixedDelay(task, 0, millis, TimeUnit.MILLISECONDS);
  }

  /// Stores all events so far, then runs `after` with the store, all within `seconds`. Returns
  /// whether that was done in time.
  boolean drain(long seconds, Consumer<RunStore> after) {
    try {
      Future<?> done =
          thread.submit(() -> {
            while ((!queue.isEmpty() || !pending.isEmpty()) && !broken) {
              flush();
            }
            RunStore present = store;
            if (present != null && !broken) {
              after.accept(present);
            }
          });
      done.get(seconds, TimeUnit.SECONDS);
      return !broken;
    } catch (TimeoutException e) {
      problems.accept(
          "the store " + Database.shown(location) + " did not answer within " + seconds + " s");
    } catch (ExecutionException e) {
      problems.accept(String.valueOf(e.getCause()));
    } catch (RejectedExecutionException e) {
      problems.accept("the recorder is already closed");
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    return false;
  }

  private void flush() {
    if (broken || (queue.isEmpty() && pending.isEmpty() && store != null)) {
      return;
    }
    try {
      if (store == null) {
        store = RunStore.open(location);
      }
      queue.drainTo(pending);
      if (!pending.isEmpty()) {
        store.append(pending);
        pending.clear();
      }
      failures = 0;
    } catch (RuntimeException e) {
      // Anything a driver throws must not end the job, and an exception would silently end this
      // schedule.
      if (++failures >= ATTEMPTS || store == null) {
        broken = true;
        queue.clear();
        pending.clear();
        problems.accept(e.getMessage() + " - this run goes on unrecorded");
      }
    }
  }

  @Override
  public void close() {
    flushing.cancel(false);
    thread.shutdown();
    try {
      if (!thread.awaitTermination(2, TimeUnit.SECONDS)) {
        problems.accept(
            "the store "
                + Database.shown(location)
                + " is still busy; its last records may be lost");
        return;
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    if (store != null) {
      store.close();
    }
  }
}
