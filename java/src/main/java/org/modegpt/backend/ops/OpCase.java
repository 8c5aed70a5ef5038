package org.modegpt.backend.ops;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import org.modegpt.backend.Backend;
import org.modegpt.backend.ops.Operand.Role;
import org.modegpt.tensor.Tensor;

/// One call of one operation with seeded operands and a bound on its error: what tests, benchmarks
/// and the support table of the `devices` command share.
///
/// @param op the method of {@link Backend}
/// @param variant scalar arguments in words; may be empty
/// @param result what is compared, computed from the operands after the call
public record OpCase(
    String op, String variant, List<Operand> operands, Call call, Result result, Bound bound) {

  /// Calls the operation on operands that live where the backend computes, and returns the number
  /// that it returns, or 0.
  public interface Call {
    double run(Backend backend, Tensor[] operands);
  }

  /// A call that returns nothing.
  interface Action {
    void run(Backend backend, Tensor[] operands);
  }

  /// Vectors to compare, from host operands.
  public interface Result {
    List<double[]> of(Backend reference, List<Operand> operands, Tensor[] tensors);
  }

  static OpCase of(String op, String variant, Bound bound, Action action, Operand... operands) {
    Call call =
        (backend, tensors) -> {
          action.run(backend, tensors);
          return 0;
        };
    return returning(op, variant, bound, call, operands);
  }

  static OpCase returning(String op, String variant, Bound bound, Call call, Operand... operands) {
    return new OpCase(op, variant, List.of(operands), call, OpCase::outputs, bound);
  }

  OpCase compared(Result by) {
    return new OpCase(op, variant, operands, call, by, bound);
  }

  /// The same with all outputs compared as one vector, for outputs that may be 0 altogether.
  OpCase together() {
    return compared((reference, operands, tensors) ->
        List.of(
            outputs(reference, operands, tensors).stream()
                .flatMapToDouble(Arrays::stream)
                .toArray()));
  }

  /// The same with gaps between the rows of every operand.
  OpCase padded(long elements) {
    List<Operand> padded =
        operands.stream().map(o -> o.padded(o.rows() > 1 ? elements : 0)).toList();
    return new OpCase(op, variant, padded, call, result, bound);
  }

  /// Every output, element by element.
  private static List<double[]> outputs(
      Backend reference, List<Operand> operands, Tensor[] tensors) {
    List<double[]> out = new ArrayList<>();
    for (int i = 0; i < tensors.length; i++) {
      Role role = operands.get(i).role();
      if (role == Role.OUT || role == Role.INOUT) {
        out.add(OpRunner.values(reference, tensors[i]));
      }
    }
    return out;
  }

  /// `linear bias f32[3,64] q4_0[5,64] …`: unique among {@link OpCases#all}.
  @Override
  public String toString() {
    return op
        + (variant.isEmpty() ? "" : " " + variant)
        + operands.stream().map(Operand::toString).collect(Collectors.joining(" ", " ", ""));
  }
}
