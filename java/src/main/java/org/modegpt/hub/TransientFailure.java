package org.modegpt.hub;

import java.io.IOException;
import java.time.Duration;
import org.jspecify.annotations.Nullable;

/// A failure that may pass: the server is busy or asks to come back later.
final class TransientFailure extends IOException {
  private static final long serialVersionUID = 1L;

  /// How long the server asks to wait, or null.
  final @Nullable Duration wait;

  TransientFailure(String message, @Nullable Duration wait) {
    super(message);
    this.wait = wait;
  }
}
