package org.modegpt.io;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;

/// The highest resident memory of this process during a stretch of work, from [#start] to [#close];
/// stretches may overlap. Linux keeps one such record for a process, which each stretch starts anew
/// after the others have noted it.
public final class PeakMemory implements AutoCloseable {
  private static final Path STATUS = Path.of("/proc/self/status");
  private static final Path CLEAR = Path.of("/proc/self/clear_refs");

  /// What the kernel takes for "forget the peak".
  private static final String FORGET_PEAK = "5";

  private static final Set<PeakMemory> OPEN = new HashSet<>();
  private static boolean fresh = true;

  private final boolean known;
  private long noted;

  private PeakMemory(boolean known) {
    this.known = known;
  }

  public static PeakMemory start() {
    synchronized (OPEN) {
      long highest = status("VmHWM:");
      OPEN.forEach(o -> o.noted = Math.max(o.noted, highest));
      // Where the record cannot be started anew it is still right for the first stretch.
      PeakMemory stretch = new PeakMemory(forget() || fresh);
      fresh = false;
      OPEN.add(stretch);
      return stretch;
    }
  }

  private static boolean forget() {
    if (!Files.isWritable(CLEAR)) {
      return false;
    }
    try {
      Files.writeString(CLEAR, FORGET_PEAK);
      return true;
    } catch (IOException e) {
      return false;
    }
  }

  /// Bytes; -1 where the system does not tell.
  public long bytes() {
    synchronized (OPEN) {
      long highest = status("VmHWM:");
      return known && highest > 0 ? Math.max(noted, highest) : -1;
    }
  }

  /// Resident memory of this process now, in bytes. Elsewhere than on Linux the Java heap stands in
  /// for it.
  public static long resident() {
    long bytes = status("VmRSS:");
    Runtime runtime = Runtime.getRuntime();
    return bytes > 0 ? bytes : runtime.totalMemory() - runtime.freeMemory();
  }

  /// A line of `/proc/self/status` such as `VmRSS: 1234 kB`, in bytes; -1 where there is none.
  private static long status(String name) {
    if (!Files.isReadable(STATUS)) {
      return -1;
    }
    try {
      for (String line : Files.readAllLines(STATUS)) {
        if (line.startsWith(name)) {
          return 1024 * Long.parseLong(line.replaceAll("\\D", ""));
        }
      }
    } catch (IOException e) {
      return -1;
    }
    return -1;
  }

  @Override
  public void close() {
    synchronized (OPEN) {
      OPEN.remove(this);
    }
  }
}
