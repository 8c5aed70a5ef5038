package org.modegpt.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.model.DecodeObserver;
import org.modegpt.model.Decoder;
import org.modegpt.model.Transformer;
import org.modegpt.monitor.Monitor;
import org.modegpt.runs.RunSettings;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/// What monitoring adds to a decode step: a step of a model (the demonstration model unless `-p
/// model=FOLDER`; run from the repository root), and the hook that is told of each token alone. The
/// overhead is the quotient of the two.
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
public class MonitorBenchmark {
  private static final int CONTEXT = 256;

  @Param("java/demo/wiki-16m")
  private String model;

  private Path store;
  private Transformer transformer;
  private Backend backend;
  private Decoder decoder;
  private Monitor monitor;
  private DecodeObserver observer;
  private float[] logits;

  @Setup(Level.Trial)
  public void open() throws IOException {
    store = Files.createTempDirectory("modegpt-bench");
    transformer = Transformer.open(Path.of(model));
    backend = Backends.open("cpu", 0);
    decoder = new Decoder(backend, transformer, CONTEXT);
    RunSettings settings = RunSettings.of(store, store.resolve("runs.db").toString());
    monitor = Monitor.open(settings, transformer, Monitor.Options.of(null));
    observer = monitor.request();
    logits = decoder.feed(1);
  }

  @TearDown(Level.Trial)
  public void close() throws IOException {
    monitor.close();
    decoder.close();
    backend.close();
    transformer.close();
    for (String name : new String[] {"runs.db", "runs.db-wal", "runs.db-shm"}) {
      Files.deleteIfExists(store.resolve(name));
    }
    Files.delete(store);
  }

  @Benchmark
  public float[] step() {
    if (decoder.cache().length() == CONTEXT) {
      decoder.cache().truncate(1);
    }
    return decoder.feed(7);
  }

  @Benchmark
  public void hook() {
    observer.token(7, logits, 1_000_000);
  }
}
