package org.modegpt.bench;

import java.lang.foreign.Arena;
import java.util.concurrent.TimeUnit;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/// What one call into native code costs with everything around it: argument checks, tensor
/// descriptors, the downcall, the status. The operation itself sets four bytes.
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
public class CallBenchmark {
  private Arena arena;
  private Backend cpu;
  private Tensor one;

  @Setup(Level.Trial)
  public void open() {
    arena = Arena.ofShared();
    cpu = Backends.open("cpu", 1);
    one = Tensor.allocate(arena, DType.F32, 1, 1);
  }

  @TearDown(Level.Trial)
  public void close() {
    cpu.close();
    arena.close();
  }

  @Benchmark
  public Tensor fillZero() {
    cpu.fillZero(one);
    return one;
  }
}
