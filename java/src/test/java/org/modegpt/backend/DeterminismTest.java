package org.modegpt.backend;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.modegpt.backend.ops.OpCase;
import org.modegpt.backend.ops.OpCases;
import org.modegpt.backend.ops.OpRunner;

/// What our own kernels give does not depend on the number of threads.
class DeterminismTest {

  /// OpenBLAS divides its work by the number of threads, which on some processors changes the order
  /// of its sums.
  private static final Set<String> LIBRARY =
      Set.of(
          "gemm",
          "cholesky",
          "choleskyBatch",
          "triangularSolve",
          "triangularInverse",
          "symmetricEigen",
          "svd",
          "svdBatch");

  private static boolean byLibrary(OpCase c) {
    boolean product =
        c.op().equals("linear") && c.operands().getFirst().rows() > CpuBackend.FEW_ROWS;
    return product || LIBRARY.contains(c.op());
  }

  @Test
  void oneAndThreeThreadsGiveTheSameBits() {
    List<String> different = new ArrayList<>();
    try (Backend one = Backends.cpu(1, null);
        Backend three = Backends.cpu(3, null);
        Backend reference = Backends.open("reference", 1)) {
      OpRunner first = new OpRunner(one, reference);
      OpRunner second = new OpRunner(three, reference);
      for (OpCase c : OpCases.all()) {
        if (byLibrary(c)) {
          continue;
        }
        try (Arena arena = Arena.ofConfined()) {
          if (!same(first.bits(c, arena), second.bits(c, arena))) {
            different.add(c.toString());
          }
        }
      }
    }
    assertThat(different).isEmpty();
  }

  private static boolean same(List<byte[]> a, List<byte[]> b) {
    for (int i = 0; i < a.size(); i++) {
      if (!Arrays.equals(a.get(i), b.get(i))) {
        return false;
      }
    }
    return true;
  }
}
