package org.modegpt.cli;

import java.io.PrintWriter;
import java.util.Locale;
import org.modegpt.Progress;

/// Progress with rate and remaining time: a bar that is redrawn on a terminal, now and then a plain
/// line in a log.
final class ProgressDisplay implements Progress {
  private static final int WIDTH = 24;
  private static final long REDRAW_NANOS = 100_000_000L;
  private static final long LINE_NANOS = 10_000_000_000L;

  private final PrintWriter err;
  private final boolean terminal;
  private String phase = "";
  private long start;
  private long first;
  private long last;

  ProgressDisplay(PrintWriter err, boolean terminal) {
    this.err = err;
    this.terminal = terminal;
  }

  @Override
  public void update(String phaseNow, long done, long total, String unit) {
    long now = System.nanoTime();
    if (!phaseNow.equals(phase)) {
      phase = phaseNow;
      start = now;
      first = done;
      last = now - LINE_NANOS; // show the first update at once
    }
    boolean finished = done >= total;
    if (!finished && now - last < (terminal ? REDRAW_NANOS : LINE_NANOS)) {
      return;
    }
    last = now;
    String line = line(done, total, unit, (now - start) / 1e9);
    if (!terminal) {
      err.println(line);
      return;
    }
    err.print("\r\033[K" + line);
    if (finished) {
      err.println();
      phase = "";
    }
    err.flush();
  }

  private String line(long done, long total, String unit, double seconds) {
    double rate = seconds > 0 ? (done - first) / seconds : 0;
    String times =
        clock(seconds) + (done < total && rate > 0 ? "<" + clock((total - done) / rate) : "");
    String speed = rate > 0 ? String.format(Locale.ROOT, " %.1f %s/s", rate, unit) : "";
    int filled = total > 0 ? (int) (WIDTH * done / total) : WIDTH;
    String bar = terminal ? "━".repeat(filled) + " ".repeat(WIDTH - filled) + " " : "";
    return String.format(
        Locale.ROOT,
        "%s %d/%d %s%3d%% %s%s",
        phase,
        done,
        total,
        bar,
        total > 0 ? 100 * done / total : 100,
        times,
        speed);
  }

  private static String clock(double seconds) {
    long s = Math.round(seconds);
    return s >= 3600
        ? String.format(Locale.ROOT, "%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60)
        : String.format(Locale.ROOT, "%02d:%02d", s / 60, s % 60);
  }
}
