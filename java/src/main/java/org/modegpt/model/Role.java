package org.modegpt.model;

import java.util.Locale;

/// What a weight does in a decoder block. Matrices are stored `[out, in]`, vectors as one row.
public enum Role {
  ATTENTION_NORM,
  Q,
  K,
  V,
  O,
  Q_BIAS,
  K_BIAS,
  V_BIAS,
  O_BIAS,
  MLP_NORM,
  GATE,
  UP,
  DOWN,
  GATE_BIAS,
  UP_BIAS,
  DOWN_BIAS;

  /// The key of this role in an architecture file.
  public String key() {
    return name().toLowerCase(Locale.ROOT);
  }

  public boolean bias() {
    return name().endsWith("_BIAS");
  }

  /// Whether compression changes this weight's shape; these matrices are what ratios count.
  public boolean compressible() {
    return switch (this) {
      case Q, K, V, O, GATE, UP, DOWN -> true;
      default -> false;
    };
  }
}
