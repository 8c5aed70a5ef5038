package org.modegpt.runs;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/// A process of its own that records runs and prints the id of each once it is stored.
final class WriterProcess {
  private WriterProcess() {}

  static Process start(String store, int runs) throws IOException {
    String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    List<String> command =
        List.of(
            java,
            "--enable-native-access=ALL-UNNAMED",
            "-Xmx128m",
            "-XX:+UseSerialGC",
            "-cp",
            System.getProperty("java.class.path"),
            WriterProcess.class.getName(),
            store,
            Integer.toString(runs));
    return new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
  }

  public static void main(String[] args) {
    RunSettings settings = RunSettings.of(Path.of("."), args[0]);
    int runs = Integer.parseInt(args[1]);
    try (RunRecorder recorder = RunRecorder.open(settings)) {
      for (int i = 0; i < runs; i++) {
        String id =
            recorder.record(
                "eval",
                Map.of("model", "m" + i),
                run -> {
                  run.metric(Metrics.PERPLEXITY, 20.5);
                  return run.id();
                });
        System.out.println(id);
      }
      // Left open: what a killed process leaves behind.
      Run open = recorder.begin("compress", Map.of());
      System.out.println("open " + open.id());
      while (args.length > 2) {
        Thread.onSpinWait();
      }
      open.finish();
    }
  }
}
