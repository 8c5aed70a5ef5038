package org.modegpt.bench;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.io.SafetensorsFile;
import org.modegpt.io.SafetensorsWriter;
import org.modegpt.io.TensorInfo;
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

/// Opens a safetensors file, and loads a 16 MiB bfloat16 matrix from it as F32, the page cache
/// being warm.
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(value = 1, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
public class ReadBenchmark {
  private static final String NAME = "weight";

  private Path file;
  private Backend cpu;
  private Arena arena;
  private Tensor target;

  @Setup(Level.Trial)
  public void write() throws IOException {
    file = Files.createTempFile("modegpt-bench", ".safetensors");
    Files.delete(file);
    arena = Arena.ofShared();
    Tensor weight = Tensor.allocate(arena, DType.BF16, 2048, 4096);
    weight.asBytes().fill((byte) 0x3f);
    try (SafetensorsWriter writer =
        SafetensorsWriter.create(file, Map.of(), List.of(TensorInfo.of(NAME, weight)))) {
      writer.write(NAME, weight);
      writer.commit();
    }
    cpu = Backends.open("cpu", 1);
    target = Tensor.allocate(arena, DType.F32, 2048, 4096);
  }

  @TearDown(Level.Trial)
  public void delete() throws IOException {
    cpu.close();
    arena.close();
    Files.delete(file);
  }

  @Benchmark
  public int open() {
    try (SafetensorsFile opened = SafetensorsFile.open(file)) {
      return opened.names().size();
    }
  }

  @Benchmark
  public Tensor load() {
    try (SafetensorsFile opened = SafetensorsFile.open(file);
        Arena call = Arena.ofConfined()) {
      cpu.cast(opened.get(NAME, call), target);
    }
    return target;
  }
}
