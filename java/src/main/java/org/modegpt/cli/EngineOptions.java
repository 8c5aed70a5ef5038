package org.modegpt.cli;

import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.io.ModelDirectory;
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

  /// What a run of the model on this engine is recorded with.
  Map<String, Object> parameters(ModelOption model) {
    return parameters(model.path());
  }

  Map<String, Object> parameters(Path model) {
    Map<String, Object> parameters = new TreeMap<>();
    parameters.put("model", ModelDirectory.name(model));
    parameters.put("device", device);
    parameters.put("threads", threads == 0 ? Runtime.getRuntime().availableProcessors() : threads);
    return parameters;
  }

  @Option(
      names = "--cublas-binding",
      paramLabel = "NAME",
      description =
          "How cuBLAS is called on a GPU: ffm (default), or jcuda where modegpt-jcuda is installed.")
  @Nullable String cublasBinding;

  Backend open() {
    if (cublasBinding != null) {
      System.setProperty("modegpt.cublas.binding", cublasBinding);
    }
    return Backends.open(device, threads);
  }
}
