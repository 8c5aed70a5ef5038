package org.modegpt.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.backend.ops.OpCase;
import org.modegpt.backend.ops.OpRunner;
import org.modegpt.tensor.Tensor;
import org.openjdk.jmh.annotations.Param;

/// No timing is trusted before the results are: every benchmark runs once and is compared with the
/// reference.
class GateTest {

  @TestFactory
  Stream<DynamicTest> operationsEqualTheReference() throws ReflectiveOperationException {
    String[] timed = KernelBenchmark.class.getField("op").getAnnotation(Param.class).value();
    assertEquals(
        List.copyOf(BenchCases.all().keySet()), Arrays.asList(timed), "every case is timed");
    return BenchCases.all().entrySet().stream()
        .map(e -> DynamicTest.dynamicTest(e.getKey(), () -> equalsReference(e.getValue())));
  }

  private static void equalsReference(OpCase operation) {
    try (Backend cpu = Backends.open("cpu", 2);
        Backend reference = Backends.open("reference", 1);
        Arena arena = Arena.ofConfined()) {
      OpRunner.Outcome outcome = new OpRunner(cpu, reference).run(operation, arena);
      assertTrue(outcome.passes(), outcome.toString());
    }
  }

  @Test
  void blockRunsAndItsStatisticsAreThoseOfItsInput() {
    try (SmolBlock block = new SmolBlock(2, 64)) {
      float[] alone = block.forward().toFloats();
      double tokens = block.statistics().tokens();
      assertEquals(64, tokens);
      assertTrue(
          Arrays.equals(alone, block.forward().toFloats()),
          "statistics must not change the forward pass");
      for (String recipe : List.of("paper", "default")) {
        assertEquals(1075, block.decompose(recipe).shape().mlpWidth());
      }
      block.bareProducts();
    }
  }

  @Test
  void fileIsReadAsItWasWritten() throws IOException {
    ReadBenchmark read = new ReadBenchmark();
    read.write();
    try {
      assertEquals(1, read.open());
      Tensor loaded = read.load();
      float expected = Float.intBitsToFloat(0x3f3f0000);
      List<Float> seen =
          new ArrayList<>(List.of((float) loaded.get(0, 0), (float) loaded.get(2047, 4095)));
      assertEquals(List.of(expected, expected), seen);
    } finally {
      read.delete();
    }
  }

  @Test
  void callLeavesZero() {
    CallBenchmark call = new CallBenchmark();
    call.open();
    assertEquals(0, call.fillZero().get(0, 0));
    call.close();
  }
}
