package org.modegpt.runs;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RunStoreProcessesTest {
  private static final int RUNS = 1000;
  @TempDir Path folder;

  @Test
  void twoProcessesLoseNothingWhileAThirdIsKilledAsItWrites() throws Exception {
    String store = folder.resolve("runs.db").toString();
    Process first = WriterProcess.start(store, RUNS);
    Process second = WriterProcess.start(store, RUNS);
    Process victim = WriterProcess.start(store, 1_000_000);
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      Future<List<String>> a = threads.submit(lines(first, Integer.MAX_VALUE));
      Future<List<String>> b = threads.submit(lines(second, Integer.MAX_VALUE));
      List<String> acknowledged = new ArrayList<>(lines(victim, 200).call());
      // Through its handle, which sends SIGKILL but leaves its output readable.
      victim.toHandle().destroyForcibly();
      acknowledged.addAll(lines(victim, Integer.MAX_VALUE).call());
      assertThat(victim.waitFor()).isEqualTo(137);
      assertThat(first.waitFor()).isZero();
      assertThat(second.waitFor()).isZero();

      Set<String> told = new HashSet<>(acknowledged);
      told.addAll(ids(a.get()));
      told.addAll(ids(b.get()));
      assertThat(told).hasSize(acknowledged.size() + 2 * (RUNS + 1));
      try (RunStore runs = RunStore.open(store)) {
        List<RunSummary> all = runs.list(RunFilter.newest(10_000));
        Set<String> finished = new HashSet<>();
        List<String> others = new ArrayList<>();
        for (RunSummary run : all) {
          if (run.status().equals("finished")) {
            finished.add(run.id());
          } else {
            others.add(run.status());
          }
        }
        assertThat(finished).containsAll(told);
        // The victim may have been killed inside a run: at most that one is unfinished, and says
        // so.
        assertThat(others).hasSizeLessThanOrEqualTo(1).allMatch(s -> s.equals("killed"));
        assertThat(runs.database().query("pragma integrity_check", row -> row.getString(1)))
            .containsExactly("ok");
        System.out.printf(
            "%d runs of two processes and %d of a killed one: all there, %d more unacknowledged%n",
            2 * (RUNS + 1), acknowledged.size(), all.size() - told.size());
      }
    } finally {
      List.of(first, second, victim).forEach(Process::destroyForcibly);
    }
  }

  private static List<String> ids(List<String> lines) {
    return lines.stream().map(l -> l.replace("open ", "")).toList();
  }

  private static Callable<List<String>> lines(Process process, int limit) {
    return () -> {
      List<String> lines = new ArrayList<>();
      BufferedReader reader = process.inputReader();
      String line;
      while (lines.size() < limit && (line = reader.readLine()) != null) {
        // A line cut off by the kill is no acknowledgement.
        if (line.length() >= 22) {
          lines.add(line);
        }
      }
      return lines;
    };
  }
}
