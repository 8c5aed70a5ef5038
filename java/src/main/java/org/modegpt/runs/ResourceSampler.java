package org.modegpt.runs;

import java.lang.management.ManagementFactory;
import java.time.Instant;
import org.jspecify.annotations.Nullable;
import org.modegpt.io.PeakMemory;

/// Takes samples of what this process uses: processor time since the last sample, resident memory,
/// and an accelerator's use. One sample costs some tens of microseconds.
public final class ResourceSampler {
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
        PeakMemory.resident(),
        usage == null ? null : usage.utilisation(),
        usage == null ? null : usage.bytes());
  }

  /// Processor time of this process so far, of all threads.
  public static long cpuNanos() {
    return ManagementFactory.getOperatingSystemMXBean()
            instanceof com.sun.management.OperatingSystemMXBean system
        ? system.getProcessCpuTime()
        : 0;
  }
}
