package org.modegpt.runs;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PostgresStoreTest {
  @TempDir Path folder;

  @Test
  void aServerKeepsRunsOfSeveralProcessesAndMayRestart() throws Exception {
    Optional<Path> programs = PostgresServer.installed();
    if (programs.isEmpty()) {
      System.out.println(
          "PostgresStoreTest skipped: no PostgreSQL server is installed (apt-get install postgresql)");
      Assumptions.abort("no PostgreSQL server is installed");
    }
    try (PostgresServer server = PostgresServer.start(programs.get(), folder)) {
      Process first = WriterProcess.start(server.url, 200);
      Process second = WriterProcess.start(server.url, 200);
      List<String> told = new ArrayList<>(first.inputReader().readAllLines());
      told.addAll(second.inputReader().readAllLines());
      assertThat(first.waitFor()).isZero();
      assertThat(second.waitFor()).isZero();
      try (RunStore store = RunStore.open(server.url)) {
        assertThat(store.count()).isEqualTo(402);
        assertThat(store.list(RunFilter.newest(1000)))
            .extracting(RunSummary::id)
            .containsAll(told.stream().map(l -> l.replace("open ", "")).toList());
        RunRecord run = RunStoreTest.run(7, "=a' b\"", Instant.ofEpochMilli(1_760_000_000_000L));
        RunStoreTest.add(store, run);
        assertThat(store.read(run.id())).isEqualTo(run);
        assertThat(store.list(new RunFilter("eval", "finished", "=a' b\"", "", "' b", null, 5, 0)))
            .hasSize(1);
        assertThat(store.resolve("last"))
            .isEqualTo(store.list(RunFilter.newest(1)).getFirst().id());

        RunSettings settings = RunSettings.of(folder, server.url);
        try (RunRecorder recorder = RunRecorder.open(settings)) {
          recorder.record("bench", Map.of(), r -> 1);
          server.restart();
          recorder.record("bench", Map.of(), r -> 2);
        }
        assertThat(store.list(new RunFilter("bench", "finished", "", "", "", null, 5, 0)))
            .hasSize(2);
      }
    }
  }
}
