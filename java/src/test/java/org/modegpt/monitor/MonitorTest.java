package org.modegpt.monitor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.Modegpt;
import org.modegpt.Progress;
import org.modegpt.TestData;
import org.modegpt.TinyModel;
import org.modegpt.calibrate.Statistics;
import org.modegpt.compress.Recipe;
import org.modegpt.model.Sampling;
import org.modegpt.runs.Metrics;
import org.modegpt.runs.RunFilter;
import org.modegpt.runs.RunRecord;
import org.modegpt.runs.RunSettings;
import org.modegpt.runs.RunStore;

class MonitorTest {
  @TempDir Path folder;

  @Test
  void whatAnApplicationDoesIsRecordedAndForeignTextDrifts() throws Exception {
    Path text = TestData.demo("text/wikipedia.calibration.txt");
    Path statistics = folder.resolve("statistics");
    RunSettings settings = RunSettings.of(folder, folder.resolve("runs.db").toString());
    try (Modegpt engine = Modegpt.open(new TinyModel().write(folder.resolve("tiny")), "cpu", 1)) {
      engine.calibrate(
          List.of(text.toString()), new Recipe.Calibration(16, 64), 0, statistics, Progress.SILENT);
      try (Statistics file = Statistics.open(statistics);
          Drift drift = new Drift(engine.model(), file)) {
        int[] own =
            engine
                .model()
                .directory()
                .tokenizer()
                .encode(Files.readString(text).substring(50_000, 56_000));
        int[] foreign =
            engine
                .model()
                .directory()
                .tokenizer()
                .encode("0x1f == (a[i] & 0xff) ? {;} : \n\t\t".repeat(100));
        assertThat(drift.of(own)).isLessThan(drift.of(foreign) / 2);
      }
      Monitor.Options options =
          new Monitor.Options(Duration.ofMillis(100), Duration.ofHours(1), statistics);
      try (Monitor monitor = Monitor.open(settings, engine.model(), options);
          ExecutorService threads = Executors.newFixedThreadPool(4)) {
        List<Future<String>> answers =
            IntStream.range(0, 8)
                .mapToObj(i ->
                    threads.submit(() ->
                        engine.generate(
                            "The history of number " + i,
                            40,
                            new Sampling(1, 0, 1, 1, i),
                            _ -> {},
                            monitor.request())))
                .toList();
        for (Future<String> answer : answers) {
          answer.get();
        }
      }
    }
    try (RunStore store = RunStore.open(settings.location())) {
      RunRecord run = store.read(store.list(RunFilter.newest(1)).getFirst().id());
      assertThat(run.kind()).isEqualTo("monitor");
      assertThat(run.status()).isEqualTo("finished");
      assertThat(run.metric("requests")).isEqualTo(8);
      assertThat(run.metric("new_tokens")).isLessThanOrEqualTo(8 * 39).isGreaterThan(8);
      assertThat(run.metric(Metrics.TOKENS_PER_SECOND)).isPositive();
      assertThat(run.metric(Window.LATENCY + "_p99"))
          .isGreaterThanOrEqualTo(run.metric(Window.LATENCY));
      assertThat(run.metric(Window.PROXY)).isGreaterThan(1);
      assertThat(run.metric("drift")).isPositive();
      assertThat(run.metric(Metrics.PEAK_RSS)).isPositive();
      assertThat(run.series())
          .extracting(RunRecord.SeriesPoint::name)
          .contains("drift", Metrics.TOKENS_PER_SECOND);
      assertThat(run.resources()).isNotEmpty();
    }
  }

  @Test
  void surpriseIsTheNegativeLogOfTheSoftmax() {
    assertThat(Monitor.surprise(new float[] {0, 0, 0, 0}, 2)).isCloseTo(Math.log(4), within(1e-9));
    assertThat(Monitor.surprise(new float[] {1000, 0}, 0)).isCloseTo(0, within(1e-9));
  }

  @Test
  void theHistogramKeepsQuantilesToAFewPercent() {
    Histogram histogram = new Histogram();
    for (int i = 1; i <= 1000; i++) {
      histogram.add(i * 1_000L);
    }
    assertThat(histogram.quantile(0.5)).isCloseTo(0.0005, within(0.0005 * 0.05));
    assertThat(histogram.quantile(0.99)).isCloseTo(0.00099, within(0.00099 * 0.05));
    assertThat(new Histogram().quantile(0.5)).isNaN();
  }
}
