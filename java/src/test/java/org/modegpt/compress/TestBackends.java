package org.modegpt.compress;

import java.util.List;
import org.modegpt.backend.Backends;

/// The back-ends on which the decompositions are tested: the reference always, the CPU's when its
/// libraries are there.
final class TestBackends {
  private TestBackends() {}

  /// For `@MethodSource`.
  static List<String> names() {
    return Backends.candidates().stream()
        .filter(c -> !c.name().startsWith("cuda"))
        .filter(c -> {
          if (!c.available()) {
            System.out.println("not tested on " + c.name() + ": " + c.reason());
          }
          return c.available();
        })
        .map(Backends.Candidate::name)
        .toList();
  }
}
