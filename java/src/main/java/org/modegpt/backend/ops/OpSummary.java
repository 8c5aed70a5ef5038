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
    return byOp.entrySet().stream()
        .map(e -> of(runner, !tested.unifiedMemory(), e.getKey(), e.getValue()))
        .toList();
  }

  private static OpSummary of(OpRunner runner, boolean device, String op, List<OpCase> cases) {
    double largest = -1;
    String worst = "";
    List<String> failures = new ArrayList<>();
    for (OpCase c : cases) {
      try (Arena arena = Arena.ofConfined()) {
        OpRunner.Outcome outcome = runner.run(c, arena);
        double limit = device ? c.bound().deviceLimit() : c.bound().limit();
        double share = outcome.error() == 0 ? 0 : outcome.error() / limit;
        String line =
            "%.1e of %.0e (%s) %s".formatted(outcome.error(), limit, c.bound().measure(), c);
        if (share > largest) {
          largest = share;
          worst = line;
        }
        if (!outcome.trouble().isEmpty() || outcome.error() > limit) {
          failures.add(
              line + ": " + (outcome.trouble().isEmpty() ? c.bound().reason() : outcome.trouble()));
        }
      } catch (RuntimeException e) {
        failures.add(c + ": " + e.getMessage());
      }
    }
    return new OpSummary(op, cases.size(), largest, worst, failures);
  }
}
