package org.modegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.TestData;

/// A job in a process of its own, scraped while it works.
class MetricsPortTest {
  private static final int ATTEMPTS = 3;
  private static final long PATIENCE_NANOS = Duration.ofMinutes(3).toNanos();

  @TempDir private Path folder;

  /// A calibration that takes some seconds and would take many more.
  private Process start(int port) throws IOException {
    return new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "--enable-native-access=ALL-UNNAMED",
            "-Dmodegpt.demo=" + TestData.demo(""),
            "-Dmodegpt.runs=" + folder.resolve("runs.db"),
            "-Dmodegpt.metrics.port=" + port,
            "-cp",
            System.getProperty("java.class.path"),
            Main.class.getName(),
            "calibrate",
            "-o",
            folder.resolve("statistics").toString(),
            "--device",
            "cpu",
            "-t",
            "1",
            "-q")
        .redirectErrorStream(true)
        .redirectOutput(folder.resolve("log").toFile())
        .start();
  }

  @Test
  void tellsHowAJobGoesWhileItWorks() throws Exception {
    for (int attempt = 1; ; attempt++) {
      int port;
      try (ServerSocket socket = new ServerSocket(0)) {
        port = socket.getLocalPort();
      }
      Process job = start(port);
      try {
        String metrics = scrape(job, port);
        assertThat(metrics)
            .containsPattern("modegpt_run_up\\{kind=\"calibrate\",.*} 1\\.0")
            .containsPattern(
                "modegpt_run_progress_ratio\\{.*phase=\"(redrawing|writing|gradients|calibrate)\".*} [01]\\.\\d+")
            .contains("modegpt_run_resident_memory_bytes{", "modegpt_run_cpu_cores{");
        job.destroy();
        assertThat(job.waitFor()).isNotZero();
        return;
      } catch (IOException e) {
        // Another program may have taken the port before the job did.
        if (attempt == ATTEMPTS) {
          throw e;
        }
      } finally {
        job.destroyForcibly();
      }
    }
  }

  /// The first answer that tells of progress.
  private String scrape(Process job, int port) throws IOException, InterruptedException {
    HttpRequest request =
        HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/metrics")).build();
    long start = System.nanoTime();
    String last = "nothing";
    try (HttpClient http = HttpClient.newHttpClient()) {
      while (job.isAlive() && System.nanoTime() - start < PATIENCE_NANOS) {
        try {
          last = http.send(request, HttpResponse.BodyHandlers.ofString()).body();
        } catch (IOException e) {
          last = "no answer yet: " + e.getMessage();
        }
        if (last.contains("modegpt_run_progress_ratio")) {
          return last;
        }
        Thread.sleep(50);
      }
    }
    throw new IOException(last + "; the job said: " + Files.readString(folder.resolve("log")));
  }
}
