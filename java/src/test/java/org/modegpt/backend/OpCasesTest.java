package org.modegpt.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.DynamicContainer.dynamicContainer;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.TestFactory;
import org.modegpt.backend.ops.OpCase;
import org.modegpt.backend.ops.OpCases;
import org.modegpt.backend.ops.OpRunner;

/// Every case of {@link OpCases} on the CPU with every instruction set of this machine, against the
/// reference; once more with guard pages around the data. Prints the worst error of each operation
/// at the end.
class OpCasesTest {

  private static final List<String> ISAS = List.of("generic", "avx2", "avx512", "avx512bf16");
  private static final Backend REFERENCE = Backends.open("reference", 1);

  private static final Map<String, String> WORST = new TreeMap<>();
  private static final Map<String, Double> WORST_SHARE = new TreeMap<>();
  private static final List<Backend> OPENED = new ArrayList<>();

  /// The instruction sets that this machine has, with a backend each.
  private static Map<String, Backend> cpus() {
    Map<String, Backend> cpus = new TreeMap<>();
    for (String isa : ISAS) {
      try {
        cpus.put(isa, Backends.cpu(2, isa));
      } catch (BackendException e) {
        System.out.println("skipping " + isa + ": " + e.getMessage());
      }
    }
    assertThat(cpus).containsKey("generic");
    OPENED.addAll(cpus.values());
    return cpus;
  }

  @BeforeAll
  static void clear() {
    WORST.clear();
    WORST_SHARE.clear();
  }

  @TestFactory
  Stream<DynamicContainer> matchesTheReference() {
    return cpus().entrySet().stream()
        .map(e -> container(e.getKey(), e.getValue(), Arena::ofConfined));
  }

  @TestFactory
  Stream<DynamicContainer> staysInsideItsMemory() {
    Supplier<Arena> endsAtGuard = () -> new GuardPageArena(false);
    Supplier<Arena> startsAtGuard = () -> new GuardPageArena(true);
    return cpus().entrySet().stream()
        .flatMap(e ->
            Stream.of(
                container(e.getKey() + ", guard page behind", e.getValue(), endsAtGuard),
                container(e.getKey() + ", guard page before", e.getValue(), startsAtGuard)));
  }

  /// One test per operation, which names every case that fails.
  private static DynamicContainer container(String name, Backend backend, Supplier<Arena> arenas) {
    OpRunner runner = new OpRunner(backend, REFERENCE);
    Map<String, List<OpCase>> byOp =
        OpCases.all().stream()
            .collect(Collectors.groupingBy(OpCase::op, TreeMap::new, Collectors.toList()));
    return dynamicContainer(
        name,
        byOp.entrySet().stream()
            .map(e ->
                dynamicTest(
                    name + ": " + e.getKey(), () -> check(name, runner, e.getValue(), arenas))));
  }

  private static void check(
      String name, OpRunner runner, List<OpCase> cases, Supplier<Arena> arenas) {
    List<String> failures = new ArrayList<>();
    for (OpCase c : cases) {
      try (Arena arena = arenas.get()) {
        OpRunner.Outcome outcome = runner.run(c, arena);
        String line = name + ": " + outcome.describe(c);
        if (outcome.share() > WORST_SHARE.getOrDefault(c.op(), -1.0)) {
          WORST_SHARE.put(c.op(), outcome.share());
          WORST.put(c.op(), line);
        }
        if (!outcome.passes()) {
          failures.add(line + " " + outcome.reason(c));
        }
      } catch (RuntimeException | AssertionError e) {
        failures.add(c + ": " + e);
      }
    }
    assertThat(failures).isEmpty();
  }

  @AfterAll
  static void report() {
    System.out.println("worst error of each operation, and the bound:");
    WORST.forEach((op, line) -> System.out.printf("  %-16s %s%n", op, line));
    OPENED.forEach(Backend::close);
    OPENED.clear();
  }
}
