package org.modegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.TestData;

/// A process killed with SIGKILL, in calibration and while writing, and started again gives the
/// same bytes as one that was left alone.
class KillTest {
  @TempDir private Path folder;

  private Process start(Path out, String... more) throws IOException {
    Path java = Path.of(System.getProperty("java.home"), "bin", "java");
    List<String> command =
        new ArrayList<>(
            List.of(
                java.toString(),
                "-cp",
                System.getProperty("java.class.path"),
                "--enable-native-access=ALL-UNNAMED"));
    command.add("-Dmodegpt.demo=" + TestData.demo(""));
    command.addAll(
        List.of(
            Main.class.getName(),
            "compress",
            "-o",
            out.toString(),
            "--recipe",
            "paper",
            "--no-eval",
            "--no-record"));
    command.addAll(
        List.of(
            "--num-calibration-samples",
            "12",
            "--max-seq-length",
            "512",
            "-t",
            "2",
            "--device",
            "cpu",
            "-q"));
    command.addAll(List.of(more));
    return new ProcessBuilder(command)
        .redirectErrorStream(true)
        .redirectOutput(folder.resolve("log").toFile())
        .start();
  }

  private void finish(Path out, String... more) throws IOException, InterruptedException {
    Process process = start(out, more);
    assertThat(process.waitFor(2, TimeUnit.MINUTES)).isTrue();
    assertThat(process.exitValue()).as(Files.readString(folder.resolve("log"))).isZero();
  }

  /// Kills the run as soon as `sign` exists.
  private void killAt(Path out, Path sign, String... more)
      throws IOException, InterruptedException {
    Process process = start(out, more);
    while (process.isAlive() && !Files.exists(sign)) {
      Thread.sleep(2);
    }
    process.destroyForcibly();
    assertThat(process.waitFor()).as("the run was killed before its end").isEqualTo(128 + 9);
    assertThat(out).doesNotExist();
  }

  @Test
  void theModelThatOtherFormatsAreMadeFromGoesAway() throws IOException, InterruptedException {
    Path out = folder.resolve("formats/out");
    killAt(out, folder.resolve("formats/out.work.modegpt-tmp/compact"), "--format", "dense");
    assertThat(folder.resolve("formats/out.work.modegpt-tmp")).exists();
    finish(out, "--format", "dense");
    try (var left = Files.list(out.getParent())) {
      assertThat(left.toList()).containsExactly(out);
    }
  }

  @Test
  void killedRunsStartAgain() throws IOException, InterruptedException {
    Path whole = folder.resolve("whole/out");
    finish(whole);
    Path calibrating = folder.resolve("calibrating/out");
    killAt(calibrating, folder.resolve("calibrating/out.statistics.partial/layer-0003"));
    finish(calibrating);
    Path writing = folder.resolve("writing/out");
    killAt(writing, folder.resolve("writing/out.modegpt-tmp"));
    finish(writing);
    for (Path again : List.of(calibrating, writing)) {
      for (String file :
          List.of("model.safetensors", "config.json", "recipe.json", "tokenizer.json")) {
        assertThat(Files.mismatch(whole.resolve(file), again.resolve(file))).as(file).isEqualTo(-1);
      }
      try (var left = Files.list(again.getParent())) {
        assertThat(left.toList()).containsExactly(again);
      }
    }
  }
}
