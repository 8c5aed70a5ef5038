package org.modegpt.backend;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// A process that is asked to stop in the middle of a decomposition stops.
class OpenBlasExitTest {
  /// Decomposes until it is stopped, after a line that says so.
  static final class Decompositions {
    private Decompositions() {}

    public static void main(String[] args) {
      try (Arena arena = Arena.ofConfined()) {
        Tensor identity = Tensor.allocate(arena, DType.F64, 1536, 1536);
        for (int i = 0; i < 1536; i++) {
          identity.set(i, i, 1);
        }
        OpenBlas blas = OpenBlas.load();
        blas.cholesky(2, identity);
        System.out.println("working");
        while (blas.cholesky(2, identity) == 0) { // its factor is the identity
          blas.triangularInverse(2, identity);
        }
      }
    }
  }

  @Test
  void aSignalEndsAProcessThatDecomposes() throws IOException, InterruptedException {
    for (int round = 0; round < 4; round++) {
      Process process =
          new ProcessBuilder(
                  Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                  "--enable-native-access=ALL-UNNAMED",
                  "-Xmx64m",
                  "-XX:+UseSerialGC",
                  "-cp",
                  System.getProperty("java.class.path"),
                  Decompositions.class.getName())
              .redirectError(ProcessBuilder.Redirect.INHERIT)
              .start();
      try {
        assertThat(process.inputReader().readLine()).isEqualTo("working");
        Thread.sleep(50L * round);
        process.destroy();
        assertThat(process.waitFor(60, TimeUnit.SECONDS)).as("ends after SIGTERM").isTrue();
        assertThat(process.exitValue()).isEqualTo(143);
      } finally {
        process.destroyForcibly();
      }
    }
  }
}
