package org.modegpt.runs;

import org.jspecify.annotations.Nullable;

/// A model that a run read or wrote. `hash` identifies its content ([ModelFingerprint]) and ties
/// runs about the same model together; `parameters` and `bytes` are null when unknown.
public record ModelUse(
    String role, String path, String hash, @Nullable Long parameters, @Nullable Long bytes) {
  /// The model that was compressed.
  public static final String BASE = "base";

  /// The model that a compression wrote.
  public static final String OUTPUT = "output";

  /// The model that was measured or generated text.
  public static final String SUBJECT = "subject";
}
