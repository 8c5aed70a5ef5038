package org.modegpt.runs;

import java.time.Instant;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;

/// Which runs to list: empty texts and a null time mean any. `text` is looked for in id, model,
/// recipe, command and host. Newest come first; `offset` runs are left out before `limit` are
/// taken.
public record RunFilter(
    String kind,
    String status,
    String model,
    String recipe,
    String text,
    @Nullable Instant since,
    int limit,
    int offset) {
  /// The most runs one listing may ask for.
  public static final int MAXIMUM = 1_000_000;

  public RunFilter {
    if (limit < 1 || limit > MAXIMUM || offset < 0) {
      throw new UserException(
          "A listing takes 1 to %d runs and an offset of 0 or more, not %d from %d."
              .formatted(MAXIMUM, limit, offset));
    }
  }

  /// The newest `limit` runs of any kind.
  public static RunFilter newest(int limit) {
    return new RunFilter("", "", "", "", "", null, limit, 0);
  }
}
