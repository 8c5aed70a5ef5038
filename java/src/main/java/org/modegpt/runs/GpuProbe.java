package org.modegpt.runs;

import org.jspecify.annotations.Nullable;

/// Says how busy an accelerator is; asked from the recorder's own thread, and must answer at once.
public interface GpuProbe extends AutoCloseable {
  /// Utilisation 0 to 1 and memory in bytes used on the device.
  record Usage(double utilisation, long bytes) {}

  /// The present use, or null when not known yet.
  @Nullable Usage usage();

  @Override
  void close();
}
