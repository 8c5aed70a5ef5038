package org.modegpt.backend.ops;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.modegpt.backend.Backend;

/// What came of all cases of one operation on a back-end.
///
/// @param share of the bound that the worst error takes, 0 to 1 when it passes
/// @param worst the case with the largest share, with its error
/// @param failures one line per case that fails
public record OpSummary(String op, int cases, double share, String worst, List<String> failures) {

  /// Runs every case of {@link OpCases#all}.
  public static List<OpSummary> of(Backend tested, Backend reference) {
    OpRunner runner = new OpRunner(tested, reference);
    Map<String, List<OpCase>> byOp = new TreeMap<>();
    OpCases.all().forEach(c -> byOp.computeIfAbsent(c.op(), _ -> new ArrayList<>()).add(c));
    return byOp.entrySet().stream().map(e -> of(runner, e.getKey(), e.getValue())).toList();
  }

  private static OpSummary of(OpRunner runner, String op, List<OpCase> cases) {
    double largest = -1;
    String worst = "";
    List<String> failures = new ArrayList<>();
    for (OpCase c : cases) {
      try (Arena arena = Arena.ofConfined()) {
        OpRunner.Outcome outcome = runner.run(c, arena);
        if (outcome.share() > largest) {
          largest = outcome.share();
          worst = outcome.describe(c);
        }
        if (!outcome.passes()) {
          failures.add(outcome.describe(c) + ": " + outcome.reason(c));
        }
      } catch (RuntimeException e) {
        failures.add(c + ": " + e.getMessage());
      }
    }
    return new OpSummary(op, cases.size(), largest, worst, failures);
  }
}
