package org.modegpt.report;

import com.sun.net.httpserver.HttpExchange;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Semaphore;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.runs.RunJson;
import org.modegpt.runs.RunRecord;
import org.modegpt.runs.RunStore;

/// Tells browsers once a second how a run goes (server-sent events). A stream ends after a minute,
/// and browsers ask again, so that a reader who vanished holds nothing for long.
final class LiveRuns implements AutoCloseable {
  private static final int MOST_READERS = 64;
  private static final int SECONDS = 60;

  private final RunStore store;
  private final Semaphore readers = new Semaphore(MOST_READERS);
  private volatile boolean closed;

  LiveRuns(RunStore store) {
    this.store = store;
  }

  /// A moment of a run.
  record Moment(
      String status,
      double seconds,
      RunRecord.@Nullable Progress progress,
      RunRecord.@Nullable ResourceSample resources) {}

  void stream(HttpExchange exchange, String id) throws IOException {
    if (!readers.tryAcquire()) {
      throw new UserException("Too many readers follow runs at the moment.");
    }
    try {
      exchange.getResponseHeaders().set("Content-Type", "text/event-stream");
      exchange.sendResponseHeaders(200, 0);
      try (OutputStream out = exchange.getResponseBody()) {
        for (int i = 0; i < SECONDS && !closed; i++) {
          Moment now = moment(id);
          out.write(("data: " + RunJson.write(now) + "\n\n").getBytes(StandardCharsets.UTF_8));
          out.flush();
          if (!now.status().equals("running")) {
            return;
          }
          Thread.sleep(1000);
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    } finally {
      readers.release();
    }
  }

  private Moment moment(String id) {
    RunRecord run = store.read(id);
    double seconds =
        run.finished() == null
            ? (System.currentTimeMillis() - run.started().toEpochMilli()) / 1e3
            : run.seconds();
    return new Moment(
        run.status(),
        seconds,
        run.progress(),
        run.resources().isEmpty() ? null : run.resources().getLast());
  }

  @Override
  public void close() {
    closed = true;
  }
}
