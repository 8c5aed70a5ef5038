package org.modegpt.bench;

import java.lang.foreign.Arena;
import java.util.concurrent.TimeUnit;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.backend.ops.OpCase;
import org.modegpt.backend.ops.OpRunner;
import org.modegpt.tensor.Tensor;
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

/// One operation of {@link BenchCases} per call, on one thread, so that ratios between operations
/// mean the same everywhere.
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
public class KernelBenchmark {
  @Param({
    "gemm",
    "linear_bf16",
    "decode_linear_bf16",
    "decode_linear_f32",
    "gram",
    "attention",
    "attention_backward",
    "rms_norm",
    "rope",
    "gated_activation",
    "nll",
    "logit_covariance",
    "head_gram"
  })
  public String op;

  @Param("cpu")
  public String backend;

  private Arena arena;
  private Backend device;
  private OpCase operation;
  private Tensor[] operands;

  @Setup(Level.Trial)
  public void open() {
    arena = Arena.ofShared();
    device = Backends.open(backend, 1);
    operation = BenchCases.all().get(op);
    operands = OpRunner.allocate(operation, arena);
  }

  @TearDown(Level.Trial)
  public void close() {
    device.close();
    arena.close();
  }

  @Benchmark
  public double run() {
    return operation.call().run(device, operands);
  }
}
