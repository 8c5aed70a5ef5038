package org.modegpt.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.modegpt.UserException;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

class OneDnnTest {

  @Test
  void productsOfRoundedInputsAreThoseOfTheReference() throws IOException {
    if (!cpu("avx512_bf16")) {
      System.out.println("skipped: this CPU has no bfloat16 instructions");
      Assumptions.abort("no avx512_bf16");
    }
    Kernels kernels = NativeLibrary.open("modegpt_cpu", Kernels::open);
    try (Backend rounded = new CpuBackend(kernels, OpenBlas.load(), OneDnn.load(2), 2, null);
        Backend exact = new CpuBackend(kernels, OpenBlas.load(), 2, null);
        Arena arena = Arena.ofConfined()) {
      Random random = new Random(7);
      for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
        Tensor x = exactInBf16(arena, random, 33, 70, exact);
        Tensor wide = exactInBf16(arena, random, 90, 70, exact);
        Tensor w = Tensor.allocate(arena, dtype, 90, 70);
        exact.cast(wide, w);
        Tensor y = Tensor.allocate(arena, DType.F32, 33, 97).columns(0, 90);
        Tensor expected = Tensor.allocate(arena, DType.F32, 33, 90);
        rounded.linear(x, w, null, y);
        exact.linear(x, wide, null, expected);
        for (int i = 0; i < 33; i++) {
          for (int j = 0; j < 90; j++) {
            assertThat(Math.abs(y.get(i, j) - expected.get(i, j))).isLessThan(2e-4);
          }
        }
      }
    }
  }

  @Test
  void anOldCpuIsRefusedBeforeAnyWork() throws IOException {
    Assumptions.assumeFalse(cpu("avx512f"), "this CPU has bfloat16 products");
    assertThatThrownBy(() -> OneDnn.load(2))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("AVX-512");
  }

  private static boolean cpu(String feature) throws IOException {
    Path file = Path.of("/proc/cpuinfo");
    return Files.exists(file) && Files.readString(file).contains(feature);
  }

  /// Random values that bfloat16 holds exactly, as F32.
  private static Tensor exactInBf16(
      Arena arena, Random random, long rows, long cols, Backend backend) {
    Tensor t = Tensor.allocate(arena, DType.F32, rows, cols);
    for (long i = 0; i < rows; i++) {
      for (long j = 0; j < cols; j++) {
        t.set(i, j, random.nextGaussian());
      }
    }
    Tensor narrow = Tensor.allocate(arena, DType.BF16, rows, cols);
    backend.cast(t, narrow);
    backend.cast(narrow, t);
    return t;
  }
}
