package org.modegpt.runs;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RunStoreScaleTest {
  @TempDir Path folder;

  @Test
  void listsFromAHundredThousandRunsWithoutReadingThemAll() {
    int count = 100_000;
    Instant start = Instant.ofEpochMilli(1_760_000_000_000L);
    try (RunStore store = RunStore.open(folder.resolve("runs.db").toString())) {
      List<RunEvent> batch = new ArrayList<>();
      for (int i = 0; i < count; i++) {
        batch.addAll(RunEvent.of(RunStoreTest.run(i, "model" + i % 50, start.plusSeconds(i))));
        if (i % 5000 == 4999) {
          store.append(batch);
          batch.clear();
        }
      }
      assertThat(store.count()).isEqualTo(count);
      time(store, "newest 100", RunFilter.newest(100), 100);
      time(store, "one kind", new RunFilter("compress", "", "", "", "", null, 100, 0), 100);
      time(store, "one model", new RunFilter("", "", "model7", "", "", null, 100, 0), 100);
      time(store, "page 500", new RunFilter("", "", "", "", "", null, 100, 50_000), 100);
      time(store, "text, few hits", new RunFilter("", "", "", "", "099999", null, 100, 0), 1);
      time(store, "running", new RunFilter("", "running", "", "", "", null, 100, 0), 0);
      List<String> plan =
          store
              .database()
              .query(
                  "explain query plan select id from runs order by started_ms desc, id desc limit 100",
                  row -> row.getString(4));
      assertThat(plan.toString()).contains("runs_started");
    }
  }

  private static void time(RunStore store, String what, RunFilter filter, int expected) {
    long best = Long.MAX_VALUE;
    long worst = 0;
    for (int i = 0; i < 7; i++) {
      long before = System.nanoTime();
      assertThat(store.list(filter)).hasSize(expected);
      long took = System.nanoTime() - before;
      best = Math.min(best, took);
      worst = Math.max(worst, took);
    }
    System.out.printf(
        "100,000 runs, %s: %.1f ms at best, %.1f ms at worst%n", what, best / 1e6, worst / 1e6);
  }
}
