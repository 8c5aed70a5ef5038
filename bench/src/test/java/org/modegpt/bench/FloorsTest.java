package org.modegpt.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.abort;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.openjdk.jmh.results.format.ResultFormatType;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;

/// A short run of the benchmarks, judged by the ratios between them; `floors.json` is about half of
/// what is usually measured.
class FloorsTest {
  private static final Path ROOT = Path.of(System.getProperty("modegpt.repository", ".."));

  @Test
  void ratiosAreAboveTheirFloors() throws IOException, InterruptedException, RunnerException {
    if (run(List.of("python3", "--version")).code() != 0) {
      System.out.println("skipped: tools/compare-jmh needs python3");
      abort("no python3");
    }
    Path results = Path.of("target", "jmh-short.json");
    Files.createDirectories(results.getParent());
    new Runner(
            new OptionsBuilder()
                .include("KernelBenchmark.run")
                .param(
                    "op",
                    "gemm",
                    "gram",
                    "attention",
                    "linear_bf16",
                    "decode_linear_bf16",
                    "decode_linear_f32")
                .forks(0)
                .warmupIterations(2)
                .warmupTime(TimeValue.milliseconds(300))
                .measurementIterations(3)
                .measurementTime(TimeValue.milliseconds(500))
                .resultFormat(ResultFormatType.JSON)
                .result(results.toString())
                .output(results.resolveSibling("jmh-short.txt").toString())
                .build())
        .run();
    Output judged =
        run(
            List.of(
                "python3",
                ROOT.resolve("tools/compare-jmh").toString(),
                "floors",
                ROOT.resolve("bench/floors.json").toString(),
                results.toString()));
    System.out.println(judged.text());
    assertEquals(0, judged.code(), judged.text());
  }

  @Test
  void theToolPassesItsOwnTests() throws IOException, InterruptedException {
    Output tests =
        run(List.of("python3", ROOT.resolve("tools/tests/test_compare_jmh.py").toString()));
    assertEquals(0, tests.code(), tests.text());
  }

  private record Output(int code, String text) {}

  private static Output run(List<String> command) throws IOException, InterruptedException {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return new Output(process.waitFor(), text);
  }
}
