package org.modegpt.report;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.runs.Metrics;
import org.modegpt.runs.ModelUse;
import org.modegpt.runs.Run;
import org.modegpt.runs.RunFilter;
import org.modegpt.runs.RunRecorder;
import org.modegpt.runs.RunSettings;
import org.modegpt.runs.RunStore;
import org.modegpt.runs.RunSummary;

/// The page in a real browser. With `-Dmodegpt.screenshots=FOLDER` it leaves pictures there.
class DashboardPageTest {
  private static final String HOSTILE =
      "<script>window.hacked=1</script><img src=x onerror=window.hacked=2>";
  private static final Map<String, String> DATASET =
      Map.of("dataset", "wikitext2-raw.test.rows-joined.txt", "tokens", "141x2048");
  private static Path driver;

  @TempDir Path folder;
  private RunSettings settings;

  @BeforeAll
  static void browser() {
    Optional<Path> found = Chromium.driver();
    if (found.isEmpty()) {
      System.out.println(
          "DashboardPageTest skipped: no chromedriver (apt-get install chromium chromium-driver)");
      Assumptions.abort("no chromedriver");
    }
    driver = found.get();
  }

  @BeforeEach
  void runs() {
    settings = RunSettings.of(folder, folder.resolve("runs.db").toString());
    try (RunRecorder recorder = RunRecorder.open(settings)) {
      double[] perplexity = {20.7, 22.1, 24.9, 30.2, 41.5};
      for (int i = 0; i < perplexity.length; i++) {
        for (String recipe : List.of("default", "paper")) {
          double worse = recipe.equals("paper") ? 1 + 0.08 * i : 1;
          record(recorder, recipe, 1 - 0.1 * i, perplexity[i] * worse);
        }
      }
      recorder.record(
          "eval",
          Map.of("model", HOSTILE, "recipe", HOSTILE, HOSTILE, HOSTILE),
          run -> {
            run.model(new ModelUse(ModelUse.SUBJECT, HOSTILE, "evil", 1L, 2_000_000L));
            run.layer(0, HOSTILE, 10, 5, 1.0, 2.0);
            run.metric(Metrics.PERPLEXITY, 50, 1.0, HOSTILE, DATASET);
            return 0;
          });
      recorder
          .begin("eval", Map.of("model", "lost"))
          .fail(new IOException("no space left: " + HOSTILE));
    }
  }

  private static void record(RunRecorder recorder, String recipe, double ratio, double perplexity) {
    recorder.record(
        "compress",
        Map.of("model", "wiki-16m", "recipe", recipe, "ratio", ratio),
        run -> {
          String name = String.format(Locale.ROOT, "wiki-16m-%s-%.0f", recipe, 100 * ratio);
          long bytes = (long) (6e6 + 25e6 * ratio);
          run.model(
              new ModelUse(ModelUse.BASE, "/models/wiki-16m", "base", 15_700_000L, 31_000_000L));
          run.model(new ModelUse(ModelUse.OUTPUT, "/models/" + name, name, bytes / 2, bytes));
          for (String phase : List.of("calibrate", "allocate", "decompose", "write")) {
            try (Run.Phase p = run.phase(phase)) {
              p.progress(8, 8);
            }
          }
          for (int layer = 0; layer < 8; layer++) {
            double cost = 0.4 / (1 + layer) * (1 - ratio);
            run.layer(
                layer,
                "mlp",
                1024,
                Math.round(1024 * (ratio + 0.02 * (4 - layer) * (1 - ratio))),
                cost,
                2 * cost);
            run.layer(layer, "qk", 64, Math.round(64 * ratio), cost / 8, cost / 4);
            run.layer(layer, "vo", 64, Math.round(64 * ratio), cost / 6, cost / 3);
          }
          run.metric(Metrics.RATIO, ratio);
          run.metric(Metrics.PERPLEXITY, perplexity, 0.2, "", DATASET);
          run.metric(
              Metrics.ACCURACY, 0.5 - 0.2 * (1 - ratio), 0.01, "", Map.of("task", "arc_easy"));
          run.metric(
              Metrics.TOKENS_PER_SECOND,
              300 + 200 * (1 - ratio),
              4.0,
              "t/s",
              Map.of("test", "tg128"));
          return 0;
        });
  }

  private static void picture(Chromium browser, String name) throws IOException {
    String place = System.getProperty("modegpt.screenshots");
    if (place != null) {
      Files.createDirectories(Path.of(place));
      browser.screenshot(Path.of(place, name + ".png"));
    }
  }

  @Test
  void showsEveryPageWithoutAComplaintAndRunsNoForeignScript() throws Exception {
    try (DashboardServer server = DashboardServer.start(settings, "127.0.0.1", 0, null);
        RunStore store = RunStore.open(settings.location());
        Chromium browser = Chromium.start(driver, false, 1280, 900)) {
      List<RunSummary> runs = store.list(RunFilter.newest(100));
      browser.open(server.url());
      browser.await("document.querySelectorAll('tbody tr').length === 12");
      assertThat(browser.script("return document.body.innerText").asString())
          .contains("window.hacked=1", "no space left");
      picture(browser, "runs-light");

      browser.script(
          "const s = document.querySelector('select[name=kind]'); s.value = 'compress'; s.dispatchEvent(new Event('change'))");
      browser.await("document.querySelectorAll('tbody tr').length === 10");
      browser.script(
          "document.querySelectorAll('tbody input').forEach((c, i) => { if (i < 2) c.click() })");
      browser.script(
          "[...document.querySelectorAll('button')].find(b => b.textContent.startsWith('Compare')).click()");
      browser.await("document.querySelector('h2').textContent === 'Compare'");
      picture(browser, "compare-light");

      browser.script("location.hash = '#/tradeoffs'");
      browser.await(
          "document.querySelectorAll('canvas').length >= 3 && Chart.getChart(document.querySelector('canvas'))");
      assertThat(
              browser.script("return document.querySelector('figcaption').textContent").asString())
          .startsWith("11 models; ");
      picture(browser, "tradeoffs-light");

      browser.script("location.hash = '#/trends'");
      browser.await(
          "document.querySelector('h2')?.textContent === 'Trends' && document.querySelectorAll('canvas').length === 1");
      picture(browser, "trends-light");

      browser.script("location.hash = '#/run/' + arguments[0]", runs.get(2).id());
      browser.await(
          "document.querySelectorAll('.heat tbody tr').length === 8 && document.querySelectorAll('.lane').length === 4");
      assertThat(
              browser
                  .script("return parseFloat(document.querySelector('.span').style.width) >= 0")
                  .asBoolean())
          .isTrue();
      picture(browser, "run-light");

      browser.script("location.hash = '#/run/' + arguments[0]", runs.get(1).id());
      browser.await("document.querySelector('h2').textContent.includes('<script>')");
      browser.script("location.hash = '#/nonsense/<img src=x onerror=window.hacked=3>'");
      browser.await("document.getElementById('main').textContent === 'There is no such page.'");
      assertThat(browser.script("return window.hacked === undefined").asBoolean()).isTrue();
      assertThat(browser.complaints()).isEmpty();
    }
  }

  @Test
  void keysAloneReachEverything() throws Exception {
    try (DashboardServer server = DashboardServer.start(settings, "127.0.0.1", 0, null);
        Chromium browser = Chromium.start(driver, true, 1280, 900)) {
      browser.open(server.url());
      browser.await("document.querySelectorAll('tbody tr').length === 12");
      browser.keys("\uE004");
      assertThat(browser.script("return document.activeElement.className").asString())
          .isEqualTo("skip");
      browser.keys("\uE004\uE004\uE007");
      browser.await("location.hash === '#/tradeoffs' && document.activeElement.id === 'main'");
      browser.await("document.querySelectorAll('canvas').length >= 3");
      picture(browser, "tradeoffs-dark");
      browser.script("location.hash = '#/runs'");
      browser.await("document.querySelector('h2').textContent === 'Runs'");
      // From the page's top through filters and the table's header to the first run.
      for (int i = 0; i < 40; i++) {
        browser.keys("\uE004");
        if (browser.script("return document.activeElement.matches('tbody a')").asBoolean()) {
          break;
        }
      }
      picture(browser, "runs-dark-focus");
      browser.keys("\uE007");
      browser.await("location.hash.startsWith('#/run/')");
    }
  }

  @Test
  void aPhoneHasNoSidewaysScrollingAndARunningJobIsFollowed() throws Exception {
    try (DashboardServer server = DashboardServer.start(settings, "127.0.0.1", 0, null);
        RunRecorder recorder = RunRecorder.open(settings);
        Chromium browser = Chromium.start(driver, true, 390, 844)) {
      browser.open(server.url());
      browser.await("document.querySelectorAll('tbody tr').length >= 12");
      // Not the window's width, which a phone widens to what overflows.
      String fits = "return document.documentElement.scrollWidth <= 390";
      assertThat(browser.script(fits).asBoolean()).isTrue();
      picture(browser, "runs-phone");
      Run run = recorder.begin("compress", Map.of("model", "wiki-16m"));
      Run.Phase phase = run.phase("calibrate");
      phase.progress(3, 3);
      browser.script("location.hash = '#/run/' + arguments[0]", run.id());
      for (int i = 0;
          i < 50
              && !browser.script("return Boolean(document.querySelector('progress'))").asBoolean();
          i++) {
        Thread.sleep(100);
        browser.open(server.url() + "#/runs");
        browser.open(server.url() + "#/run/" + run.id());
        Thread.sleep(200);
      }
      browser.await("document.querySelector('#live')?.textContent.includes('calibrate 3 of 3')");
      picture(browser, "live-phone");
      phase.close();
      run.finish();
      browser.await("document.querySelector('h2 .finished')");
      browser.script("location.hash = '#/tradeoffs'");
      browser.await("document.querySelectorAll('canvas').length >= 3");
      assertThat(browser.script(fits).asBoolean()).isTrue();
      picture(browser, "tradeoffs-phone");
      browser.script("location.hash = '#/trends'");
      browser.await(
          "document.querySelector('h2').textContent === 'Trends' && document.querySelectorAll('canvas').length === 1");
      assertThat(browser.script(fits).asBoolean()).isTrue();
      picture(browser, "trends-phone");
    }
  }

  @Test
  void aSavedReportOpensFromDisk() throws Exception {
    Path file = folder.resolve("report.html");
    try (RunStore store = RunStore.open(settings.location());
        Chromium browser = Chromium.start(driver, false, 1280, 900)) {
      List<RunSummary> runs = store.list(RunFilter.newest(100));
      RunReport.write(file, settings, List.of(runs.get(2).id(), runs.get(1).id()));
      browser.open(URI.create("file://" + file).toString());
      browser.await(
          "document.querySelectorAll('canvas').length >= 3 && document.querySelectorAll('.heat tbody tr').length === 9");
      assertThat(browser.script("return window.hacked === undefined").asBoolean()).isTrue();
      assertThat(browser.complaints()).isEmpty();
      picture(browser, "report-light");
    }
    assertThat(Files.readString(file)).doesNotContain("<img", "<script>window");
  }
}
