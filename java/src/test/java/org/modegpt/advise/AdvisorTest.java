package org.modegpt.advise;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.runs.Metrics;
import org.modegpt.runs.ModelUse;
import org.modegpt.runs.RunRecorder;
import org.modegpt.runs.RunSettings;
import org.modegpt.runs.RunStore;

class AdvisorTest {
  private static final Advisor.Target NONE = new Advisor.Target(null, null, null, null);
  private static final ModelUse BASE = new ModelUse(ModelUse.BASE, "/m/base", "base", 500L, 1000L);

  @TempDir Path folder;
  private RunSettings settings;

  @BeforeEach
  void settings() {
    settings = RunSettings.of(folder, folder.resolve("runs.db").toString());
  }

  private void compressed(String recipe, double ratio, double perplexity) {
    try (RunRecorder recorder = RunRecorder.open(settings)) {
      long bytes = Math.round(1000 - 800 * ratio);
      String name = recipe + ratio;
      recorder.record(
          "compress",
          Map.of("model", "base", "recipe", recipe, "ratio", ratio),
          run -> {
            run.model(BASE);
            run.model(new ModelUse(ModelUse.OUTPUT, "/m/" + name, name, bytes / 2, bytes));
            run.metric(Metrics.RATIO, ratio);
            run.metric(Metrics.PERPLEXITY, perplexity, 0.1, "", Map.of("dataset", "x"));
            run.metric(Metrics.PERPLEXITY, 40, 0.1, "", Map.of("dataset", "x", "of", "base"));
            run.layer(0, "mlp", 10, 5, null, 0.1);
            run.layer(3, "qk", 10, 5, null, 0.4);
            return 0;
          });
      recorder.record(
          "generate",
          Map.of("model", name),
          run -> {
            run.model(new ModelUse(ModelUse.SUBJECT, "/m/" + name, name, bytes / 2, bytes));
            return 0;
          });
      recorder.record(
          "bench",
          Map.of("model", name),
          run -> {
            run.model(new ModelUse(ModelUse.SUBJECT, "/m/" + name, name, bytes / 2, bytes));
            double rate = 1 / (0.002 + 1e-6 * bytes);
            run.metric(
                Metrics.BEST + Metrics.TOKENS_PER_SECOND, rate, null, "", Map.of("test", "tg64"));
            return 0;
          });
    }
  }

  private Advisor advisor(RunStore store) {
    return Advisor.of(store, new Advisor.Model("base", 1000, 0.8), null);
  }

  @Test
  void predictsWhatLiesBetweenMeasuredRatios() {
    for (double r : new double[] {0.1, 0.2, 0.4, 0.5}) {
      compressed("paper", r, 40 * Math.exp(1.5 * r * r + r));
    }
    compressed("other", 0.3, 200);
    try (RunStore store = RunStore.open(settings.location())) {
      Advisor advisor = advisor(store);
      Advisor.Prediction p = advisor.predict("paper", 0.3, NONE);
      assertThat(p.perplexity().value()).isCloseTo(40 * Math.exp(1.5 * 0.09 + 0.3), within(0.5));
      assertThat(p.perplexity().low()).isLessThan(p.perplexity().value());
      assertThat(p.bytes().value()).isCloseTo(760, within(1.0));
      assertThat(p.tokensPerSecond().value()).isCloseTo(1 / (0.002 + 760e-6), within(1.0));
      assertThat(p.memory()).as("resident memory of the generate runs").isNotNull();
      assertThat(p.measured()).isFalse();
      assertThat(advisor.predict("paper", 0.2, NONE).measured()).isTrue();
      assertThat(advisor.basis()).anyMatch(l -> l.contains("paper: 4 measured ratios"));
      Advisor.Target target = new Advisor.Target(null, null, 780.0, null);
      assertThat(Advisor.best(advisor.predict(List.of(0.2, 0.3, 0.4), target)))
          .hasValueSatisfying(b -> {
            assertThat(b.recipe()).isEqualTo("paper");
            assertThat(b.ratio()).isEqualTo(0.3);
          });
      assertThat(advisor.spare("paper", 0.3)).startsWith("layer 3 qk");
      Advisor.Target never = new Advisor.Target(1e9, null, null, null);
      assertThat(Advisor.best(advisor.predict(List.of(0.2), never))).isEmpty();
    }
  }

  @Test
  void saysThatItKnowsNothingYet() {
    try (RunStore store = RunStore.open(settings.location())) {
      Advisor advisor = advisor(store);
      Advisor.Prediction p = advisor.predict(List.of(0.25), NONE).getFirst();
      assertThat(p.bytes().value()).isCloseTo(800, within(1e-9));
      assertThat(p.perplexity()).isNull();
      assertThat(advisor.basis()).anyMatch(l -> l.startsWith("perplexity: nothing yet"));
    }
  }

  @Test
  void removalCurvesTellWhatToSpare() throws IOException {
    Path statistics = folder.resolve("s.statistics");
    Files.writeString(
        folder.resolve("s.statistics.curves.json"),
        """
        {"entries": [{"key": {}, "curves": [
          {"parameters": 100, "points": [{"removed": 0, "cost": 0}, {"removed": 0.5, "cost": 0.05}, {"removed": 1, "cost": 0.4}]},
          {"parameters": 100, "points": [{"removed": 0, "cost": 0}, {"removed": 1, "cost": 9}]},
          {"parameters": 100, "points": [{"removed": 0, "cost": 0}, {"removed": 0.2, "cost": 0.3}, {"removed": 1, "cost": 0.2}]}]}]}
        """);
    RemovalCosts costs = RemovalCosts.beside(statistics).orElseThrow();
    // 50 of the first at 0.001 a parameter; then those of the third, whose hull is straight, at
    // 0.002.
    assertThat(costs.spared(50 / 300.0)).containsExactly("layer 0 vo", "layer 0 mlp");
    assertThat(costs.spared(60 / 300.0)).containsExactly("layer 0 vo");
  }

  /// Perplexities measured of wiki-16m by recipe `paper` (24 blocks of 1024 tokens of WikiText-2):
  /// 20 and 40 % are predicted from the others. The rise doubles from 30 to 40 %.
  @Test
  void ratiosLeftOutArePredicted() {
    double base = 39.30;
    Map<Double, Double> known = Map.of(0.1, 44.67, 0.3, 64.35, 0.5, 152.76);
    LossCurve curve = new LossCurve(LossCurve.points(known, base));
    Map.of(0.2, 51.00, 0.4, 97.99)
        .forEach((ratio, measured) -> {
          double off = curve.rise(ratio) - Math.log(measured / base);
          assertThat(off).isCloseTo(0, within(Math.log(1.05)));
          assertThat(Math.abs(off)).isLessThan(curve.band(ratio));
        });
  }

  @Test
  void theBandIsWhatLeavingPointsOutTells() {
    SortedMap<Double, Double> smooth = new TreeMap<>();
    SortedMap<Double, Double> rough = new TreeMap<>();
    for (int i = 1; i < 6; i++) {
      smooth.put(0.1 * i, 0.1 * i);
      rough.put(0.1 * i, 0.1 * i + (i % 2) * 0.08);
    }
    assertThat(new LossCurve(smooth).band(0.25)).isEqualTo(0.01);
    assertThat(new LossCurve(rough).band(0.25)).isGreaterThan(0.08);
    assertThat(new LossCurve(smooth).rise(0.6)).isCloseTo(0.6, within(1e-9));
  }
}
