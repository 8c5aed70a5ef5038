package org.modegpt.runs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.StringReader;
import java.io.StringWriter;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.UserException;

class RunStoreTest {
  @TempDir Path folder;

  private String location() {
    return folder.resolve("a folder/runs.db").toString();
  }

  /// A complete run; `number` makes it differ.
  static RunRecord run(int number, String model, Instant started) {
    return new RunRecord(
        String.format(Locale.ROOT, "20260101-000000-%06d", number),
        number % 2 == 0 ? "compress" : "eval",
        "finished",
        started,
        started.plusSeconds(60 + number),
        "",
        model,
        "paper",
        "host",
        "4 x processor",
        "0.1",
        "abc",
        "compress " + model,
        new TreeMap<>(Map.of("ratio", "0." + number % 10, "model", model)),
        List.of(
            new ModelUse(
                ModelUse.OUTPUT, "/models/" + model, "hash" + number, 1000L + number, 2000L)),
        List.of(new RunRecord.PhaseSpan("calibrate", started, 12.5)),
        new RunRecord.Progress(started.plusSeconds(12), "calibrate", 7, 7),
        List.of(
            new RunRecord.Metric(Metrics.PERPLEXITY, 20 + number, 0.5, "", "dataset=w"),
            new RunRecord.Metric(Metrics.TOKENS_PER_SECOND, 100 - number, null, "t/s", "")),
        List.of(new RunRecord.LayerResult(0, "mlp", 100, 70, 0.5, null)),
        List.of(new RunRecord.ResourceSample(started.plusSeconds(1), 1.5, 1 << 20, null, null)),
        List.of(new RunRecord.SeriesPoint(started.plusSeconds(2), "x", 3)));
  }

  static void add(RunStore store, RunRecord run) {
    store.append(RunEvent.of(run));
  }

  @Test
  void givesBackWhatWasStored() {
    Instant now = Instant.ofEpochMilli(1_760_000_000_123L);
    try (RunStore store = RunStore.open(location())) {
      RunRecord run = run(3, "m", now);
      add(store, run);
      assertThat(store.read(run.id())).isEqualTo(run);
    }
  }

  /// SQLite refuses at once, without its busy timeout, when two connections turn on write-ahead
  /// logging at the same moment.
  @Test
  void manyMayCreateTheSameStoreAtTheSameMoment() throws Exception {
    try (ExecutorService threads = Executors.newFixedThreadPool(4)) {
      for (int round = 0; round < 100; round++) {
        String fresh = folder.resolve("fresh/" + round + ".db").toString();
        CyclicBarrier start = new CyclicBarrier(4);
        Callable<Integer> open =
            () -> {
              start.await();
              try (RunStore store = RunStore.open(fresh)) {
                return store.list(RunFilter.newest(1)).size();
              }
            };
        for (Future<Integer> opened : threads.invokeAll(Collections.nCopies(4, open))) {
          assertThat(opened.get()).isZero();
        }
      }
    }
  }

  @Test
  void listsNewestFirstAndFilters() {
    Instant now = Instant.ofEpochMilli(1_760_000_000_000L);
    try (RunStore store = RunStore.open(location())) {
      for (int i = 0; i < 20; i++) {
        add(store, run(i, i < 10 ? "small" : "100%_large", now.plusSeconds(i)));
      }
      assertThat(store.count()).isEqualTo(20);
      List<RunSummary> newest = store.list(RunFilter.newest(3));
      assertThat(newest)
          .extracting(r -> r.id().substring(16))
          .containsExactly("000019", "000018", "000017");
      assertThat(newest.getFirst().metrics()).containsEntry("perplexity{dataset=w}", 39.0);
      assertThat(newest.getFirst().seconds()).isEqualTo(79.0);
      assertThat(store.list(new RunFilter("eval", "", "small", "", "", null, 50, 0))).hasSize(5);
      assertThat(store.list(new RunFilter("", "", "", "", "0%_l", null, 50, 0))).hasSize(10);
      assertThat(store.list(new RunFilter("", "", "", "", "%", null, 50, 0))).hasSize(10);
      assertThat(store.list(new RunFilter("", "failed", "", "", "", null, 50, 0))).isEmpty();
      assertThat(store.list(new RunFilter("", "", "", "", "", now.plusSeconds(15), 50, 0)))
          .hasSize(5);
      assertThat(store.list(new RunFilter("", "finished", "", "paper", "", null, 4, 18)))
          .hasSize(2);
      assertThat(store.list(new RunFilter("' or 1=1 --", "", "", "", "", null, 4, 0))).isEmpty();
    }
  }

  @Test
  void findsARunByAnyUniquePartOfItsEnds() {
    Instant now = Instant.ofEpochMilli(1_760_000_000_000L);
    try (RunStore store = RunStore.open(location())) {
      assertThatThrownBy(() -> store.resolve("last"))
          .isInstanceOf(UserException.class)
          .hasMessageContaining("no runs yet");
      add(store, run(1, "m", now));
      add(store, run(2, "m", now.plusSeconds(1)));
      assertThat(store.resolve("last")).endsWith("2");
      assertThat(store.resolve("000001")).endsWith("1");
      assertThatThrownBy(() -> store.resolve("2026")).hasMessageContaining("not unique");
      assertThatThrownBy(() -> store.resolve("%")).hasMessageContaining("There is no run");
    }
  }

  @Test
  void aRunOfADeadProcessWasKilledAndOneFromElsewhereIsJudgedByItsSilence() {
    try (RunStore store = RunStore.open(location())) {
      String mine = ProcessIdentity.own();
      String dead = mine.substring(0, mine.lastIndexOf('/')) + "/1";
      begin(store, "a", dead, Instant.now());
      begin(store, "b", mine, Instant.now().minus(Duration.ofDays(1)));
      begin(store, "c", "elsewhere/ns/12/34", Instant.now());
      begin(store, "d", "elsewhere/ns/12/34", Instant.now().minus(Duration.ofHours(1)));
      begin(store, "e", "elsewhere/ns/12/34", Instant.now().minus(Duration.ofHours(1)));
      store.append(
          List.of(
              new RunEvent.Sampled(
                  "e", new RunRecord.ResourceSample(Instant.now(), 1, 1, null, null))));
      Map<String, String> statuses = new TreeMap<>();
      store.list(RunFilter.newest(10)).forEach(r -> statuses.put(r.id(), r.status()));
      assertThat(statuses)
          .isEqualTo(
              Map.of("a", "killed", "b", "running", "c", "running", "d", "killed", "e", "running"));
    }
  }

  private static void begin(RunStore store, String id, String process, Instant at) {
    store.append(
        List.of(
            new RunEvent.Begun(id, "eval", at, "h", process, "m", "v", "r", "", "", "", Map.of())));
  }

  @Test
  void bringsAnOlderStoreUpToDateAndRefusesANewerOne() {
    try (Database old = Database.open(location(), 1)) {
      old.transaction(c -> {
        try (var s = c.createStatement()) {
          s.execute("insert into runs values ('old','eval',1,'','','','','','','','')");
        }
        return true;
      });
      assertThatThrownBy(() -> old.query("select * from series", r -> 1))
          .isInstanceOf(StoreException.class);
    }
    try (RunStore store = RunStore.open(location())) {
      assertThat(store.read("old").series()).isEmpty();
      store
          .database()
          .transaction(c -> {
            try (var s = c.createStatement()) {
              s.execute("insert into schema_version values (99)");
            }
            return true;
          });
    }
    assertThatThrownBy(() -> RunStore.open(location()))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("newer than this program's");
  }

  @Test
  void refusesAnUnknownUrlWithoutShowingAPassword() {
    assertThatThrownBy(() -> RunStore.open("jdbc:mysql://u:secret@h/db?password=secret"))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("jdbc:postgresql:")
        .hasMessageNotContaining("secret");
  }

  @Test
  void exportsAndImportsWithoutLoss() throws IOException {
    Instant now = Instant.ofEpochMilli(1_760_000_000_000L);
    List<RunRecord> runs = new ArrayList<>();
    for (int i = 0; i < 450; i++) {
      runs.add(run(i, i % 3 == 0 ? "=cmd(\"x\",\n1)" : "m", now.plusSeconds(i)));
    }
    String json;
    String csv;
    try (RunStore store = RunStore.open(location())) {
      runs.forEach(r -> add(store, r));
      json = text(w -> RunFiles.writeJsonLines(store, RunFilter.newest(1000), w));
      csv = text(w -> RunFiles.writeCsv(store, RunFilter.newest(1000), w));
      assertThat(RunFiles.readJsonLines(store, new BufferedReader(new StringReader(json))))
          .isEqualTo(new RunFiles.Imported(0, 450));
    }
    assertThat(csv).startsWith("id,kind,status,started,seconds,").contains("\"'=cmd(");
    try (RunStore fromJson = RunStore.open(folder.resolve("json.db").toString());
        RunStore fromCsv = RunStore.open(folder.resolve("csv.db").toString())) {
      assertThat(
              RunFiles.readJsonLines(fromJson, new BufferedReader(new StringReader(json))).added())
          .isEqualTo(450);
      assertThat(RunFiles.readCsv(fromCsv, new BufferedReader(new StringReader(csv))).added())
          .isEqualTo(450);
      for (RunRecord run : runs) {
        assertThat(fromJson.read(run.id())).isEqualTo(run);
        assertThat(fromCsv.read(run.id())).isEqualTo(run);
      }
    }
  }

  private interface Output {
    void write(java.io.Writer out) throws IOException;
  }

  private static String text(Output output) throws IOException {
    StringWriter out = new StringWriter();
    output.write(out);
    return out.toString();
  }

  @Test
  void saysWhichImportedLineIsWrong() {
    try (RunStore store = RunStore.open(location())) {
      String good = RunJson.write(run(1, "m", Instant.ofEpochMilli(5)));
      assertThatThrownBy(() -> imported(store, good + "\n{\"id\":\"../x\",\"kind\":\"k\"}\n"))
          .isInstanceOf(UserException.class)
          .hasMessageStartingWith("Line 2: This is no run record");
      assertThatThrownBy(() -> imported(store, "[1,2"))
          .isInstanceOf(UserException.class)
          .hasMessageStartingWith("Line 1");
      assertThatThrownBy(
              () -> RunFiles.readCsv(store, new BufferedReader(new StringReader("a,b\n1,2\n"))))
          .hasMessageContaining("no column \"record\"");
    }
  }

  private static RunFiles.Imported imported(RunStore store, String lines) throws IOException {
    return RunFiles.readJsonLines(store, new BufferedReader(new StringReader(lines)));
  }
}
