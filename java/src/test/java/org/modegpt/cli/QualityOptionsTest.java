package org.modegpt.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.TestData;
import org.modegpt.TinyModel;

/// `modegpt compress` asked for quality instead of size.
class QualityOptionsTest {
  @TempDir private Path folder;

  @BeforeAll
  static void demonstrationFiles() {
    System.setProperty("modegpt.demo", TestData.demo("").toString());
  }

  private CommandRun compress(Object... more) {
    List<Object> args = new ArrayList<>(List.of("compress", folder.resolve("tiny")));
    args.addAll(List.of("--recipe", "paper", "--allocation", "uniform"));
    args.addAll(List.of("--num-calibration-samples", 4, "--max-seq-length", 32));
    args.addAll(List.of("--device", "cpu", "-t", 1, "--no-record", "--no-progress"));
    args.addAll(List.of("--data", TestData.tasks(""), "-c", 32, "--chunks", 4));
    args.addAll(List.of(more));
    return CommandRun.of(args.toArray());
  }

  @Test
  void findsTheSmallestModelThatKeepsAccuracyAndPerplexity() throws IOException {
    new TinyModel().write(folder.resolve("tiny"));
    CommandRun made =
        compress(
            "--min-accuracy-retained",
            "60%",
            "--tasks",
            "arc_easy",
            "--limit",
            12,
            "--max-perplexity-increase",
            "50%",
            "-o",
            folder.resolve("out/small"));
    assertThat(made.code()).as(made.err()).isZero();
    List<String> trials = made.err().lines().filter(l -> l.contains("% removed:")).toList();
    assertThat(trials).hasSizeGreaterThan(2);
    assertThat(trials).allMatch(l -> l.contains("perplexity") && l.contains("accuracy retained"));
    assertThat(folder.resolve("out/small/model.safetensors")).exists();
    try (Stream<Path> left = Files.list(folder.resolve("out"))) {
      assertThat(left).hasSize(1);
    }
  }

  @Test
  void saysWhatIsMissingOrOutOfRange() {
    new TinyModel().write(folder.resolve("tiny"));
    for (String[] wrong :
        new String[][] {
          {"needs --tasks", "--min-accuracy-retained", "95%"},
          {"between 0 and 100%", "--min-accuracy-retained", "150%", "--tasks", "arc_easy"},
          {"a number like 95%", "--min-accuracy-retained", "much", "--tasks", "arc_easy"},
          {"belong to --min-accuracy-retained", "--tasks", "arc_easy"},
          {"leave out --ratio", "--max-perplexity-increase", "10%", "--ratio", "0.2"},
        }) {
      Object[] arguments = Stream.of(wrong).skip(1).toArray();
      CommandRun refused = compress(arguments);
      assertThat(refused.code()).as(wrong[0]).isEqualTo(2);
      assertThat(refused.err()).contains(wrong[0]);
    }
  }
}
