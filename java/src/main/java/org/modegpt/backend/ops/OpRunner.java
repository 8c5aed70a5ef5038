package org.modegpt.backend.ops;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.modegpt.backend.Backend;
import org.modegpt.backend.ops.Operand.Role;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Runs {@link OpCase}s on a backend and measures their error against the reference backend.
public final class OpRunner {

  private final Backend tested;
  private final Backend reference;

  /// @param reference the backend called `reference`
  public OpRunner(Backend tested, Backend reference) {
    this.tested = tested;
    this.reference = reference;
  }

  /// What came of one case.
  ///
  /// @param error in the measure of the case's bound
  /// @param limit that bound
  /// @param trouble what else is wrong, such as a changed input; empty if nothing
  public record Outcome(double error, double limit, String trouble) {
    static Outcome failed(String trouble) {
      return new Outcome(Double.POSITIVE_INFINITY, 0, trouble);
    }

    public boolean passes() {
      return trouble.isEmpty() && error <= limit;
    }

    /// Of the bound, 0 to 1 when it passes.
    public double share() {
      return error == 0 ? 0 : error / limit;
    }

    public String describe(OpCase c) {
      return "%.1e of %.0e (%s) %s".formatted(error, limit, c.bound().measure(), c);
    }

    /// Why it does not pass.
    public String reason(OpCase c) {
      return trouble.isEmpty() ? c.bound().reason() : trouble;
    }
  }

  /// Runs `c` with host operands from `arena` (copied to the device where the backend has its own
  /// memory).
  public Outcome run(OpCase c, Arena arena) {
    try (Arena own = Arena.ofConfined()) {
      Tensor[] before = allocate(c, own);
      Tensor[] want = allocate(c, own);
      double wantedNumber = c.call().run(reference, want);
      Tensor[] got = allocate(c, arena);
      double number = compute(c, got);

      for (int i = 0; i < got.length; i++) {
        if (!Operand.gapsIntact(got[i])) {
          return Outcome.failed("wrote between the rows of operand " + i);
        }
        if (c.operands().get(i).role() == Role.IN && !sameBytes(got[i], before[i])) {
          return Outcome.failed("changed its input, operand " + i);
        }
      }
      if (number != wantedNumber) {
        return Outcome.failed("returned " + number + " for " + wantedNumber);
      }
      List<double[]> wanted = c.result().of(reference, c.operands(), want);
      List<double[]> found = c.result().of(reference, c.operands(), got);
      List<double[]> sizes =
          c.bound().measure() == Bound.Measure.SUM ? magnitudes(c, before, own) : wanted;
      double error = 0;
      for (int i = 0; i < wanted.size(); i++) {
        error = Math.max(error, c.bound().error(found.get(i), wanted.get(i), sizes.get(i)));
      }
      return new Outcome(error, c.bound().limit(tested), "");
    }
  }

  /// Host operands with the case's values: the same in every call.
  public static Tensor[] allocate(OpCase c, Arena arena) {
    Tensor[] tensors = new Tensor[c.operands().size()];
    for (int i = 0; i < tensors.length; i++) {
      tensors[i] = c.operands().get(i).allocate(arena, 31L * c.toString().hashCode() + i);
    }
    return tensors;
  }

  /// Runs the case on the tested backend and returns its number; results are in `host` afterwards.
  public double compute(OpCase c, Tensor[] host) {
    if (tested.unifiedMemory()) {
      double number = c.call().run(tested, host);
      tested.sync();
      return number;
    }
    try (Arena device = Arena.ofConfined()) {
      Tensor[] there = new Tensor[host.length];
      for (int i = 0; i < host.length; i++) {
        Tensor t = host[i];
        there[i] = tested.allocate(device, t.dtype(), t.rows(), t.stride());
        if (t.stride() != t.cols()) {
          there[i] = there[i].columns(0, t.cols());
        }
        tested.copy(t, there[i]);
      }
      double number = c.call().run(tested, there);
      tested.sync();
      for (int i = 0; i < host.length; i++) {
        tested.copy(there[i], host[i]);
      }
      tested.sync();
      return number;
    }
  }

  /// Σ|ab| per output element: the reference on the magnitudes of the inputs.
  private List<double[]> magnitudes(OpCase c, Tensor[] inputs, Arena arena) {
    Tensor[] sizes = new Tensor[inputs.length];
    for (int i = 0; i < inputs.length; i++) {
      Tensor t = inputs[i];
      Role role = c.operands().get(i).role();
      if (t.dtype() == DType.I32 || role == Role.OUT) {
        sizes[i] = t;
        continue;
      }
      double[] values = values(reference, t);
      sizes[i] =
          Tensor.allocate(
              arena, t.dtype() == DType.F64 ? DType.F64 : DType.F32, t.rows(), t.cols());
      for (int at = 0; at < values.length; at++) {
        sizes[i].set(at / t.cols(), at % t.cols(), Math.abs(values[at]));
      }
    }
    c.call().run(reference, sizes);
    return c.result().of(reference, c.operands(), sizes);
  }

  /// The elements of a host tensor of any dtype, row by row.
  static double[] values(Backend reference, Tensor t) {
    if (t.dtype() == DType.I32) {
      int[] integers = t.toInts();
      double[] out = new double[integers.length];
      for (int i = 0; i < out.length; i++) {
        out[i] = integers[i];
      }
      return out;
    }
    try (Arena arena = Arena.ofConfined()) {
      Tensor wide = Tensor.allocate(arena, DType.F64, t.rows(), t.cols());
      reference.cast(t, wide);
      return wide.asBytes().asSlice(0, wide.bytes()).toArray(JAVA_DOUBLE_UNALIGNED);
    }
  }

  private static boolean sameBytes(Tensor a, Tensor b) {
    return MemorySegment.mismatch(a.data(), 0, a.spanBytes(), b.data(), 0, b.spanBytes()) < 0;
  }

  /// Bitwise copies of the outputs, to compare runs that must agree exactly.
  public List<byte[]> bits(OpCase c, Arena arena) {
    Tensor[] host = allocate(c, arena);
    compute(c, host);
    List<byte[]> out = new ArrayList<>();
    for (int i = 0; i < host.length; i++) {
      if (c.operands().get(i).role() != Role.IN) {
        out.add(host[i].data().asSlice(0, host[i].spanBytes()).toArray(JAVA_BYTE));
      }
    }
    return out;
  }
}
