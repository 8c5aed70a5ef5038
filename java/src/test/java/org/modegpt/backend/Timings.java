package org.modegpt.backend;

import java.lang.foreign.Arena;
import java.util.Locale;
import java.util.random.RandomGenerator;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Prints a few speeds of the CPU back-end; a program, not a test: `Timings [threads]`. Each figure
/// is the best of several runs.
public final class Timings {

  private Timings() {}

  private static double seconds(Runnable body) {
    double best = Double.MAX_VALUE;
    long stop = System.nanoTime() + 300_000_000L;
    for (int i = 0; i < 3 || System.nanoTime() < stop; i++) {
      long start = System.nanoTime();
      body.run();
      best = Math.min(best, (System.nanoTime() - start) * 1e-9);
    }
    return best;
  }

  private static Tensor random(Arena arena, DType dtype, long rows, long cols) {
    Tensor t = Tensor.allocate(arena, dtype, rows, cols);
    RandomGenerator random = RandomGenerator.getDefault();
    if (dtype == DType.F32 || dtype == DType.F64) {
      for (long i = 0; i < rows; i++) {
        for (long j = 0; j < cols; j++) {
          t.set(i, j, random.nextDouble() - 0.5);
        }
      }
    } else {
      t.asBytes().fill((byte) 0x11); // a small number in every format
    }
    return t;
  }

  private static void print(String format, Object... values) {
    System.out.printf(Locale.ROOT, format + "%n", values);
  }

  public static void main(String[] args) {
    int threads = args.length > 0 ? Integer.parseInt(args[0]) : 1;
    try (Backend b = Backends.open("cpu", threads);
        Arena arena = Arena.ofConfined()) {
      print("%s", b.describe());
      overhead(b, arena);
      products(b, arena);
      statistics(b, arena);
      factorisations(b, arena);
    }
    CpuBackend cpu =
        new CpuBackend(
            NativeLibrary.open("modegpt_cpu", Kernels::open), OpenBlas.load(), threads, null);
    try (cpu;
        Arena arena = Arena.ofConfined()) {
      crossover(cpu, arena);
    }
  }

  private static void overhead(Backend b, Arena arena) {
    Tensor one = random(arena, DType.F32, 1, 1);
    int calls = 1_000_000;
    Runnable sync =
        () -> {
          for (int i = 0; i < calls; i++) {
            b.sync();
          }
        };
    Runnable scale =
        () -> {
          for (int i = 0; i < calls; i++) {
            b.scale(1, 0, one);
          }
        };
    print(
        "sync %.0f ns, scale of one element %.0f ns",
        seconds(sync) / calls * 1e9, seconds(scale) / calls * 1e9);
  }

  private static void products(Backend b, Arena arena) {
    for (long[] s : new long[][] {{2048, 576, 1536}, {2048, 1536, 576}, {2048, 2048, 2048}}) {
      Tensor x = random(arena, DType.F32, s[0], s[1]);
      Tensor y = random(arena, DType.F32, s[0], s[2]);
      StringBuilder line = new StringBuilder();
      for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.Q8_0, DType.Q4_0}) {
        Tensor w = random(arena, dtype, s[2], s[1]);
        double t = seconds(() -> b.linear(x, w, null, y));
        line.append(
            String.format(Locale.ROOT, "  %s %.0f", dtype.label(), 2e-9 * s[0] * s[1] * s[2] / t));
      }
      print("linear %d x %d x %d GFLOP/s:%s", s[0], s[1], s[2], line);
    }
  }

  private static void statistics(Backend b, Arena arena) {
    for (long n : new long[] {576, 1536, 2048}) {
      Tensor x = random(arena, DType.F32, 2048, n);
      Tensor c = Tensor.allocate(arena, DType.F64, n, n);
      Tensor f = Tensor.allocate(arena, DType.F32, n, n);
      double gram = seconds(() -> b.gram(x, c));
      double gemm = seconds(() -> b.gemm(true, false, 1, x, x, 0, f));
      double flops = 1e-9 * n * (n + 1) * 2048;
      print(
          "gram 2048 x %d: %.0f useful GFLOP/s; as a full sgemm %.0f",
          n, flops / gram, flops / gemm);
    }
  }

  private static void factorisations(Backend b, Arena arena) {
    int n = 1536;
    Tensor x = random(arena, DType.F64, n, n);
    Tensor spd = Tensor.allocate(arena, DType.F64, n, n);
    b.gemm(false, true, 1, x, x, 0, spd);
    for (int i = 0; i < n; i++) {
      spd.set(i, i, spd.get(i, i) + 1);
    }
    Tensor a = Tensor.allocate(arena, DType.F64, n, n);
    Tensor values = Tensor.allocate(arena, DType.F64, 1, n);
    double copy = seconds(() -> a.copyFrom(spd));
    double cholesky =
        seconds(() -> {
          a.copyFrom(spd);
          b.cholesky(a);
        });
    long start = System.nanoTime();
    a.copyFrom(spd);
    b.symmetricEigen(a, values);
    double eigen = (System.nanoTime() - start) * 1e-9;
    print(
        "order %d: cholesky %.0f ms, symmetricEigen %.0f ms",
        n, (cholesky - copy) * 1e3, eigen * 1e3);
  }

  /// Where GEMM starts to win over the few-rows kernel.
  private static void crossover(CpuBackend cpu, Arena arena) {
    for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.Q8_0, DType.Q4_K}) {
      Tensor w = random(arena, dtype, 4096, 2048);
      StringBuilder line = new StringBuilder();
      for (long rows : new long[] {1, 2, 4, 8, 12, 16, 24, 32, 48, 64}) {
        Tensor x = random(arena, DType.F32, rows, 2048);
        Tensor y = random(arena, DType.F32, rows, 4096);
        double few = seconds(() -> cpu.fewRows(x, w, null, y));
        double many = seconds(() -> cpu.manyRows(x, w, y));
        line.append(String.format(Locale.ROOT, "  %d: %.2f/%.2f", rows, few * 1e3, many * 1e3));
      }
      print("%s [4096, 2048], rows: kernel/gemm ms%s", dtype.label(), line);
    }
  }
}
