package org.modegpt.runs;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// The use of an NVIDIA device, read from one `nvidia-smi` process that prints a line a second for
/// as long as the probe is open.
public final class NvidiaSmi implements GpuProbe {
  private final Process process;
  private volatile @Nullable Usage last;

  private NvidiaSmi(Process process) {
    this.process = process;
    Thread.ofVirtual().name("nvidia-smi").start(this::follow);
  }

  /// A probe of device `index`, or empty where there is no `nvidia-smi`.
  public static Optional<GpuProbe> open(int index) {
    try {
      return Optional.of(
          new NvidiaSmi(
              new ProcessBuilder(
                      "nvidia-smi",
                      "--id=" + index,
                      "--query-gpu=utilization.gpu,memory.used",
                      "--format=csv,noheader,nounits",
                      "--loop-ms=1000")
                  .redirectError(ProcessBuilder.Redirect.DISCARD)
                  .start()));
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  private void follow() {
    try (BufferedReader lines = process.inputReader()) {
      String line;
      while ((line = lines.readLine()) != null) {
        last = parse(line);
      }
    } catch (IOException e) {
      if (process.isAlive()) {
        throw new UncheckedIOException(e);
      }
    }
  }

  /// Reads a line such as `37, 1024` (percent, MiB); null where the device does not tell (`[N/A]`).
  static @Nullable Usage parse(String line) {
    String[] parts = line.split(",", -1);
    try {
      return new Usage(
          Double.parseDouble(parts[0].strip()) / 100, Long.parseLong(parts[1].strip()) << 20);
    } catch (NumberFormatException | ArrayIndexOutOfBoundsException e) {
      return null;
    }
  }

  @Override
  public @Nullable Usage usage() {
    return last;
  }

  @Override
  public void close() {
    process.destroy();
  }
}
