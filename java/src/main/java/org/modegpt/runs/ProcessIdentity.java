package org.modegpt.runs;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Optional;

/// Tells which process wrote a run, so that a reader can see whether it still lives: `boot id/pid
/// namespace/pid/start in ms`. A pid alone would not do: it is reused, and containers on one host
/// share a host name but not their pids.
final class ProcessIdentity {
  enum Life {
    ALIVE,
    GONE,
    /// Written on another machine or in another container: only its last sign of life can tell.
    UNKNOWN
  }

  private static final String PLACE = place();
  private static final Duration CLOCK_SLACK = Duration.ofSeconds(3);

  private ProcessIdentity() {}

  static String own() {
    ProcessHandle self = ProcessHandle.current();
    return PLACE + "/" + self.pid() + "/" + startOf(self);
  }

  static Life lifeOf(String process) {
    int startAt = process.lastIndexOf('/');
    int pidAt = process.lastIndexOf('/', startAt - 1);
    if (pidAt < 0 || !process.substring(0, pidAt).equals(PLACE)) {
      return Life.UNKNOWN;
    }
    try {
      long pid = Long.parseLong(process.substring(pidAt + 1, startAt));
      long start = Long.parseLong(process.substring(startAt + 1));
      Optional<ProcessHandle> handle = ProcessHandle.of(pid).filter(ProcessHandle::isAlive);
      boolean same =
          handle.isPresent() && Math.abs(startOf(handle.get()) - start) < CLOCK_SLACK.toMillis();
      return same ? Life.ALIVE : Life.GONE;
    } catch (NumberFormatException e) {
      return Life.UNKNOWN;
    }
  }

  private static long startOf(ProcessHandle handle) {
    return handle.info().startInstant().orElse(Instant.EPOCH).toEpochMilli();
  }

  private static String place() {
    Path boot = Path.of("/proc/sys/kernel/random/boot_id");
    Path namespace = Path.of("/proc/self/ns/pid");
    try {
      return Files.readString(boot).strip() + "/" + Files.readSymbolicLink(namespace);
    } catch (IOException | UnsupportedOperationException e) {
      // Not Linux: the host name is the best there is.
      return "host/" + Machine.hostName();
    }
  }
}
