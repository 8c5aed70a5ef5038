package org.modegpt.cli;

import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import picocli.CommandLine.Option;

/// Where a command computes.
final class EngineOptions {
  @Option(
      names = "--device",
      paramLabel = "DEVICE",
      defaultValue = "auto",
      description = "auto, cpu, cuda, cuda:N or reference (default: ${DEFAULT-VALUE}).")
  String device;

  @Option(
      names = {"-t", "--threads"},
      paramLabel = "N",
      defaultValue = "0",
      description = "CPU threads; 0 for one per processor (default: ${DEFAULT-VALUE}).")
  int threads;

  Backend open() {
    return Backends.open(device, threads);
  }
}
