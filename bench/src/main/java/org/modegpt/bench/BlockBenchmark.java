package org.modegpt.bench;

import java.util.concurrent.TimeUnit;
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

/// A decoder block of SmolLM2's shape on one sequence: the forward pass alone, with statistics, and
/// as the bare matrix products of both; and the decompositions of the block at 30 %.
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
@Warmup(iterations = 2, time = 2)
@Measurement(iterations = 4, time = 2)
public class BlockBenchmark {
  @Param("2048")
  public int tokens;

  @Param("0")
  public int threads;

  private SmolBlock block;

  @Setup(Level.Trial)
  public void open() {
    block = new SmolBlock(threads, tokens);
    block.statistics();
  }

  @TearDown(Level.Trial)
  public void close() {
    block.close();
  }

  @Benchmark
  public void forward() {
    block.forward();
  }

  @Benchmark
  public void forwardAndStatistics() {
    block.statistics();
  }

  /// The roofline: GEMM for the linear layers and (causal half) attention, GEMM of half the rows in
  /// place of SYRK.
  @Benchmark
  public void bareProducts() {
    block.bareProducts();
  }

  @Benchmark
  public Object decompositionsPaper() {
    return block.decompose("paper");
  }

  @Benchmark
  public Object decompositionsDefault() {
    return block.decompose("default");
  }
}
