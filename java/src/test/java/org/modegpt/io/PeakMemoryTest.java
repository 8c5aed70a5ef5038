package org.modegpt.io;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

class PeakMemoryTest {
  private static final long SIZE = 256L << 20;

  /// Takes memory and gives it back.
  private static void use() {
    try (Arena arena = Arena.ofConfined()) {
      arena.allocate(SIZE).fill((byte) 1);
    }
  }

  @Test
  void aStretchKnowsItsOwnPeakAlone() {
    if (!Files.isWritable(Path.of("/proc/self/clear_refs"))) {
      System.out.println("PeakMemoryTest skipped: this system keeps no peak that can be reset");
      Assumptions.abort("no /proc/self/clear_refs");
    }
    try (PeakMemory whole = PeakMemory.start()) {
      long before = PeakMemory.resident();
      long first;
      try (PeakMemory stretch = PeakMemory.start()) {
        use();
        first = stretch.bytes();
      }
      assertThat(first).isGreaterThan(SIZE);
      try (PeakMemory stretch = PeakMemory.start()) {
        assertThat(stretch.bytes()).isPositive().isLessThan(first - SIZE / 2);
      }
      // What contains both keeps the higher, though the record was started anew twice.
      assertThat(whole.bytes()).isGreaterThanOrEqualTo(first).isGreaterThan(before);
    }
  }
}
