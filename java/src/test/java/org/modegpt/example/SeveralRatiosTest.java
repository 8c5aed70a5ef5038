package org.modegpt.example;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.offset;

import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.Modegpt;
import org.modegpt.Progress;
import org.modegpt.TestData;
import org.modegpt.compress.CompressionReport;
import org.modegpt.model.Sampling;

class SeveralRatiosTest {
  @TempDir private Path folder;

  @Test
  void theExampleRuns() throws Exception {
    Set<String> phases = ConcurrentHashMap.newKeySet();
    List<Double> ratios = List.of(0.1, 0.25, 0.4);
    String text = TestData.demo("text/wikitext2.test.txt").toString();
    List<CompressionReport> reports =
        SeveralRatios.run(
            TestData.demo("wiki-16m"),
            text,
            folder,
            ratios,
            (phase, done, total, unit) -> phases.add(phase));
    for (int i = 0; i < ratios.size(); i++) {
      assertThat(reports.get(i).reachedRatio()).isCloseTo(ratios.get(i), offset(1e-3));
    }
    assertThat(phases).containsExactlyInAnyOrder("gradients", "calibrate", "compress");
    try (Modegpt small = Modegpt.open(folder.resolve("ratio-0.25"), "cpu", 1)) {
      assertThat(small.perplexity(List.of(text), 128, 4, Progress.SILENT).perplexity())
          .isBetween(20.0, 500.0);
      StringBuilder streamed = new StringBuilder();
      String generated = small.generate("The river", 8, Sampling.GREEDY, streamed::append);
      assertThat(generated).isNotBlank().isEqualTo(streamed.toString());
      String[] told = new String[3];
      assertThat(
              small.generate(
                  List.of("A house", "The river", "In 1990 , the"),
                  8,
                  Sampling.GREEDY,
                  (part, place) -> told[place] = part))
          .containsExactly(told)
          .element(1)
          .isEqualTo(generated);
    }
  }
}
