package org.modegpt.runs;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import org.jspecify.annotations.Nullable;

/// Takes samples of what this process uses: processor time since the last sample, resident memory,
/// and an accelerator's use. One sample costs some tens of microseconds.
public final class ResourceSampler {
  private static final Path STATUS = Path.of("/proc/self/status");

  private final @Nullable GpuProbe gpu;
  private long lastCpu = cpuNanos();
  private long lastTime = System.nanoTime();

  ResourceSampler(@Nullable GpuProbe gpu) {
    this.gpu = gpu;
  }

  synchronized RunRecord.ResourceSample sample() {
    long cpu = cpuNanos();
    long time = System.nanoTime();
    double cores = (cpu - lastCpu) / (double) Math.max(1, time - lastTime);
    lastCpu = cpu;
    lastTime = time;
    GpuProbe.Usage usage = gpu == null ? null : gpu.usage();
    return new RunRecord.ResourceSample(
        Instant.now(),
        Math.max(0, cores),
        memory("VmRSS:"),
        usage == null ? null : usage.utilisation(),
        usage == null ? null : usage.bytes());
  }

  /// The highest resident memory since this process began, in bytes; 0 when the system does not
  /// tell.
  static long peakMemory() {
    return memory("VmHWM:");
  }

  /// A line of `/proc/self/status` such as `VmRSS: 1234 kB`, in bytes. Elsewhere than on Linux the
  /// Java heap stands in for resident memory.
  private static long memory(String name) {
    try {
      for (String line : Files.readAllLines(STATUS)) {
        if (line.startsWith(name)) {
          return Long.parseLong(line.substring(name.length()).replace("kB", "").strip()) * 1024;
        }
      }
    } catch (IOException e) {
      Runtime runtime = Runtime.getRuntime();
      return runtime.totalMemory() - runtime.freeMemory();
    }
    return 0;
  }

  /// Processor time of this process so far, of all threads.
  public static long cpuNanos() {
    return ManagementFactory.getOperatingSystemMXBean()
            instanceof com.sun.management.OperatingSystemMXBean system
        ? system.getProcessCpuTime()
        : 0;
  }
}
