package org.modegpt.backend.ops;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// The cases and their bounds can fail: a backend that gets one element slightly wrong is found out
/// in every operation.
class OpRunnerTest {

  /// The reference with one element of the last tensor argument of every operation changed by 0.1
  /// %.
  private static Backend slightlyWrong(Backend right) {
    return (Backend)
        Proxy.newProxyInstance(
            OpRunnerTest.class.getClassLoader(),
            new Class<?>[] {Backend.class},
            (_, method, arguments) -> {
              try {
                Object result = method.invoke(right, arguments);
                if (method.getName().equals("countNonFinite")) {
                  return (long) result + 1;
                }
                for (int i = arguments == null ? 0 : arguments.length; i-- > 0; ) {
                  if (arguments[i] instanceof Tensor t && !t.data().isReadOnly()) {
                    spoil(t);
                    break;
                  }
                }
                return result;
              } catch (InvocationTargetException e) {
                throw e.getCause();
              }
            });
  }

  private static void spoil(Tensor t) {
    if (t.elements() == 0) {
      return;
    }
    if (t.dtype() == DType.F32 || t.dtype() == DType.F64) {
      t.set(0, 0, t.get(0, 0) * 1.001 + 1e-3);
    } else {
      t.data().set(ValueLayout.JAVA_BYTE, 1, (byte) (t.data().get(ValueLayout.JAVA_BYTE, 1) ^ 1));
    }
  }

  @Test
  void aWrongElementIsNoticedInEveryOperation() {
    Set<String> operations = new TreeSet<>();
    Set<String> noticed = new TreeSet<>();
    try (Backend reference = Backends.open("reference", 1)) {
      OpRunner exact = new OpRunner(reference, reference);
      OpRunner wrong = new OpRunner(slightlyWrong(reference), reference);
      for (OpCase c : OpCases.all()) {
        operations.add(c.op());
        try (Arena arena = Arena.ofConfined()) {
          assertThat(exact.run(c, arena).passes()).as(c.toString()).isTrue();
          if (!wrong.run(c, arena).passes()) {
            noticed.add(c.op());
          }
        }
      }
    }
    assertThat(noticed).isEqualTo(operations);
  }

  /// The list covers the interface: a new operation needs cases.
  @Test
  void everyOperationHasCases() {
    Set<String> operations = new TreeSet<>();
    for (Method m : Backend.class.getMethods()) {
      operations.add(m.getName());
    }
    operations.removeAll(
        Set.of(
            "name",
            "describe",
            "unifiedMemory",
            "allocate",
            "sync",
            "close",
            "operandType",
            "products",
            "passRows",
            "sideStream",
            "freeMemory",
            "hostMemory"));
    Set<String> covered = new TreeSet<>();
    OpCases.all().forEach(c -> covered.add(c.op()));
    assertThat(covered).isEqualTo(operations);
  }

  @Test
  void namesAreUnique() {
    assertThat(OpCases.all()).extracting(OpCase::toString).doesNotHaveDuplicates();
  }
}
