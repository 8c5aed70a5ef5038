package org.modegpt.runs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.lang.foreign.Arena;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.Progress;

class RunRecorderTest {
  @TempDir Path folder;
  private final ByteArrayOutputStream log = new ByteArrayOutputStream();
  private RunSettings settings;

  @BeforeEach
  void settings() {
    settings = RunSettings.of(folder, folder.resolve("runs.db").toString());
  }

  private RunRecorder recorder(RunSettings s) {
    return RunRecorder.open(s, new PrintStream(log, true, StandardCharsets.UTF_8));
  }

  private String log() {
    return log.toString(StandardCharsets.UTF_8);
  }

  @Test
  void keepsAllThatWasTold() throws Exception {
    Path model = Files.createDirectory(folder.resolve("model"));
    Files.writeString(model.resolve("config.json"), "{}");
    Files.write(model.resolve("model.safetensors"), new byte[100_000]);
    String id;
    try (RunRecorder recorder = recorder(settings)) {
      id =
          recorder.record(
              "compress",
              Map.of("model", "tiny", "recipe", "paper", "ratio", 0.7, "command", "compress tiny"),
              run -> {
                run.model(ModelUse.BASE, model, 50_000L);
                try (Run.Phase phase = run.phase("calibrate")) {
                  phase.progress(4, 4);
                }
                run.layer(0, "mlp", 1024, 700, 0.01, null);
                run.metric(Metrics.PERPLEXITY, 20.5, 0.25, "", Map.of("dataset", "b", "a", "x"));
                run.metric("broken", Double.POSITIVE_INFINITY);
                run.sample("tokens_per_second", 31);
                return run.id();
              });
    }
    try (RunStore store = RunStore.open(settings.location())) {
      RunRecord run = store.read(id);
      assertThat(run.status()).isEqualTo("finished");
      assertThat(run.model()).isEqualTo("tiny");
      assertThat(run.recipe()).isEqualTo("paper");
      assertThat(run.command()).isEqualTo("compress tiny");
      assertThat(run.parameters()).containsEntry("ratio", "0.7").doesNotContainKey("command");
      assertThat(run.models()).hasSize(1);
      assertThat(run.models().getFirst().bytes()).isEqualTo(100_000);
      assertThat(run.models().getFirst().hash()).hasSize(16);
      assertThat(run.phases()).extracting(RunRecord.PhaseSpan::name).containsExactly("calibrate");
      assertThat(run.progress().done()).isEqualTo(4);
      assertThat(run.layers())
          .containsExactly(new RunRecord.LayerResult(0, "mlp", 1024, 700, 0.01, null));
      assertThat(run.metric("perplexity{a=x,dataset=b}")).isEqualTo(20.5);
      assertThat(run.metric("broken")).isInfinite();
      assertThat(run.metric(Metrics.PEAK_RSS)).isGreaterThan(1 << 20);
      assertThat(run.series()).hasSize(1);
      assertThat(run.resources()).isNotEmpty();
      assertThat(run.machine()).contains("Java 25");
      assertThat(log()).isEmpty();
    }
  }

  @Test
  void aFailingJobIsAFailedRunAndItsExceptionComesThrough() {
    try (RunRecorder recorder = recorder(settings)) {
      assertThatThrownBy(() ->
              recorder.record(
                  "eval",
                  Map.of(),
                  run -> {
                    throw new IllegalStateException("no such text");
                  }))
          .hasMessage("no such text");
      Run open = recorder.begin("eval", Map.of());
      open.close();
    }
    try (RunStore store = RunStore.open(settings.location())) {
      List<RunSummary> runs = store.list(RunFilter.newest(10));
      assertThat(runs).extracting(RunSummary::status).containsExactly("failed", "failed");
      assertThat(runs)
          .extracting(RunSummary::error)
          .contains("no such text", "closed without a result");
    }
  }

  @Test
  void aRunThatLastsIsRunningAndShowsItsProgress() {
    try (RunRecorder recorder = recorder(settings);
        RunStore store = RunStore.open(settings.location())) {
      Run run = recorder.begin("compress", Map.of());
      try (Run.Phase phase = run.phase("layers")) {
        phase.progress(3, 3);
        RunRecord seen = await(store, run.id());
        assertThat(seen.status()).isEqualTo("running");
        assertThat(store.list(new RunFilter("", "running", "", "", "", null, 5, 0))).hasSize(1);
        assertThat(store.list(new RunFilter("", "killed", "", "", "", null, 5, 0))).isEmpty();
      }
      run.finish();
      assertThat(store.read(run.id()).status()).isEqualTo("finished");
    }
  }

  private static RunRecord await(RunStore store, String id) {
    for (int i = 0; i < 3000; i++) {
      if (store.contains(id) && store.read(id).progress() != null) {
        return store.read(id);
      }
      try {
        Thread.sleep(20);
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
    }
    throw new AssertionError("the run was not stored within 60 s");
  }

  @Test
  void aPhaseThatFollowsEndsTheOneThatProgressNamed() {
    String id;
    try (RunRecorder recorder = recorder(settings)) {
      Run run = recorder.begin("compress", Map.of());
      id = run.id();
      for (int i = 0; i < 2; i++) {
        run.progress(Progress.SILENT).update("perplexity", 3, 3, "");
        try (Run.Phase speed = run.next("speed")) {
          LockSupport.parkNanos(20_000_000);
          speed.progress(1, 1);
        }
      }
      run.finish();
    }
    try (RunStore store = RunStore.open(settings.location())) {
      RunRecord run = store.read(id);
      assertThat(run.phases())
          .extracting(RunRecord.PhaseSpan::name)
          .containsExactlyInAnyOrder("perplexity", "speed", "perplexity", "speed");
      double spent = run.phases().stream().mapToDouble(RunRecord.PhaseSpan::seconds).sum();
      assertThat(spent).isLessThan(run.metric(Metrics.SECONDS));
    }
  }

  @Test
  void aRunsPeakMemoryIsNotThatOfTheRunBefore() {
    Assumptions.assumeTrue(
        Files.isWritable(Path.of("/proc/self/clear_refs")),
        "skipped: this system keeps no peak memory that can be reset");
    long size = 256L << 20;
    List<String> ids = new ArrayList<>();
    try (RunRecorder recorder = recorder(settings)) {
      for (long bytes : new long[] {size, 1}) {
        Run run = recorder.begin("bench", Map.of());
        try (Arena arena = Arena.ofConfined()) {
          arena.allocate(bytes).fill((byte) 1);
        }
        run.finish();
        ids.add(run.id());
      }
    }
    try (RunStore store = RunStore.open(settings.location())) {
      double first = store.read(ids.get(0)).metric(Metrics.PEAK_RSS);
      double second = store.read(ids.get(1)).metric(Metrics.PEAK_RSS);
      assertThat(second).isPositive().isLessThan(first - size / 2.0);
    }
  }

  @Test
  void runsOfTheSameMillisecondKeepTheirOrder() {
    List<String> begun = new ArrayList<>();
    try (RunRecorder recorder = recorder(settings)) {
      for (int i = 0; i < 50; i++) {
        begun.add(recorder.begin("eval", Map.of()).id());
      }
    }
    try (RunStore store = RunStore.open(settings.location())) {
      assertThat(store.list(RunFilter.newest(50)).reversed())
          .extracting(RunSummary::id)
          .containsExactlyElementsOf(begun);
    }
  }

  @Test
  void recordingThatIsOffWritesNothing() {
    try (RunRecorder recorder = recorder(settings.off())) {
      String answer = recorder.record("eval", Map.of(), run -> "x" + run.id());
      assertThat(answer).isEqualTo("x");
    }
    assertThat(folder.resolve("runs.db")).doesNotExist();
  }

  @Test
  void aStoreThatCannotBeWrittenIsToldOnceAndTheJobGoesOn() throws Exception {
    Path file = Files.writeString(folder.resolve("file"), "in the way");
    RunSettings broken = settings.withStore(file.resolve("runs.db").toString());
    try (RunRecorder recorder = recorder(broken)) {
      for (int i = 0; i < 3; i++) {
        int answer =
            recorder.record(
                "eval",
                Map.of(),
                run -> {
                  run.metric("x", 1);
                  return 42;
                });
        assertThat(answer).isEqualTo(42);
      }
    }
    assertThat(log().lines().toList()).hasSize(1);
    assertThat(log()).contains("goes on unrecorded");
  }

  @Test
  void anActionAfterTheRunThatThrowsIsToldAndHarmless() {
    try (RunRecorder recorder = recorder(settings)) {
      recorder.afterRun((run, store) -> {
        throw new IllegalStateException(run.kind() + " hook");
      });
      recorder.record("eval", Map.of(), run -> 1);
    }
    assertThat(log()).contains("eval hook");
    try (RunStore store = RunStore.open(settings.location())) {
      assertThat(store.list(RunFilter.newest(1)).getFirst().status()).isEqualTo("finished");
    }
  }

  @Test
  void readsNvidiaSmiLines() {
    assertThat(NvidiaSmi.parse("37, 1024")).isEqualTo(new GpuProbe.Usage(0.37, 1L << 30));
    assertThat(NvidiaSmi.parse("[N/A], [N/A]")).isNull();
  }
}
