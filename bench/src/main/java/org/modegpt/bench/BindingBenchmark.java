package org.modegpt.bench;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
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
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/// cuBLAS called by FFM and by JCuda on a GPU: a product so small that the call is the time, and
/// the seven products of a block of the LLaMA-2-7B shape on 2048 tokens. JCuda needs
/// MODEGPT_PLUGINS and MODEGPT_CUDA_PATH, see the README.
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
public class BindingBenchmark {
  private static final int CALLS = 1000;
  private static final int[][] BLOCK = {
    {4096, 4096},
    {4096, 4096},
    {4096, 4096},
    {4096, 4096},
    {11008, 4096},
    {11008, 4096},
    {4096, 11008}
  };

  @Param({"ffm", "jcuda"})
  public String binding;

  private final Arena arena = Arena.ofShared();
  private Backend gpu;
  private Tensor small;
  private Tensor result;
  private final Tensor[] inputs = new Tensor[BLOCK.length];
  private final Tensor[] weights = new Tensor[BLOCK.length];
  private final Tensor[] outputs = new Tensor[BLOCK.length];

  @Setup(Level.Trial)
  public void open() {
    System.setProperty("modegpt.cublas.binding", binding);
    System.setProperty("modegpt.gemm", "bf16");
    gpu = Backends.open("cuda", 1);
    small = zeros(DType.F32, 16, 16);
    result = zeros(DType.F32, 16, 16);
    for (int i = 0; i < BLOCK.length; i++) {
      inputs[i] = random(2048, BLOCK[i][1]);
      weights[i] = random(BLOCK[i][0], BLOCK[i][1]);
      outputs[i] = zeros(DType.F32, 2048, BLOCK[i][0]);
    }
  }

  private Tensor zeros(DType dtype, long rows, long cols) {
    Tensor t = gpu.allocate(arena, dtype, rows, cols);
    gpu.fillZero(t);
    return t;
  }

  /// Zeros would draw less power and run faster than real data.
  private Tensor random(long rows, long cols) {
    SplittableRandom random = new SplittableRandom(rows + cols);
    Tensor device = gpu.allocate(arena, DType.BF16, rows, cols);
    try (Arena call = Arena.ofConfined()) {
      Tensor host = Tensor.allocate(call, DType.BF16, rows, cols);
      for (long i = 0; i < rows * cols; i++) {
        int bits = Float.floatToIntBits((float) random.nextDouble(-1, 1));
        host.data().set(ValueLayout.JAVA_SHORT, 2 * i, (short) (bits >> 16));
      }
      gpu.copy(host, device);
    }
    return device;
  }

  @TearDown(Level.Trial)
  public void close() {
    arena.close();
    gpu.close();
  }

  @Benchmark
  @OperationsPerInvocation(CALLS)
  public void call() {
    for (int i = 0; i < CALLS; i++) {
      gpu.gemm(false, false, 1, small, small, 0, result);
    }
    gpu.sync();
  }

  @Benchmark
  public void block() {
    for (int i = 0; i < BLOCK.length; i++) {
      gpu.linear(inputs[i], weights[i], null, outputs[i]);
    }
    gpu.sync();
  }
}
