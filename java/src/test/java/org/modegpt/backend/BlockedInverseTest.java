package org.modegpt.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.Arena;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

class BlockedInverseTest {

  @Test
  void equalsTheInverseOfTheWholeWhateverLiesAboveTheDiagonal() {
    int n = 211;
    SplittableRandom random = new SplittableRandom(7);
    try (Arena arena = Arena.ofConfined();
        Backend backend = Backends.open("cpu", 1)) {
      Tensor whole = Tensor.allocate(arena, DType.F64, n, n);
      Tensor halves = Tensor.allocate(arena, DType.F64, n, n);
      for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
          double value = i == j ? 1 + random.nextDouble() : random.nextGaussian() / n;
          whole.set(i, j, j > i ? 0 : value);
          halves.set(i, j, j > i ? Double.NaN : value);
        }
      }
      backend.triangularInverse(whole);
      new BlockedInverse(backend, backend::triangularInverse, 64).invert(halves);
      for (int i = 0; i < n; i++) {
        for (int j = 0; j <= i; j++) {
          assertEquals(whole.get(i, j), halves.get(i, j), 1e-13, i + ", " + j);
        }
      }
    }
  }
}
