package org.modegpt.model;

import java.util.Locale;

/// What a weight does in a decoder block. Matrices are stored `[out, in]`, vectors as one row.
public enum Role {
  ATTENTION_NORM,
  ATTENTION_NORM_BIAS,
  Q,
  K,
  V,
  O,
  Q_BIAS,
  K_BIAS,
  V_BIAS,
  O_BIAS,
  /// Weights of the norms of queries and keys before the rotary embedding, one row for all heads.
  Q_NORM,
  K_NORM,
  /// Of what attention gives, before it is added to the residual stream.
  ATTENTION_OUTPUT_NORM,
  ATTENTION_OUTPUT_NORM_BIAS,
  MLP_NORM,
  MLP_NORM_BIAS,
  GATE,
  UP,
  DOWN,
  GATE_BIAS,
  UP_BIAS,
  DOWN_BIAS,
  MLP_OUTPUT_NORM,
  MLP_OUTPUT_NORM_BIAS;

  /// The key of this role in an architecture file.
  public String key() {
    return name().toLowerCase(Locale.ROOT);
  }

  /// Whether this is the bias of a projection; a model may have some and not others.
  public boolean bias() {
    return switch (this) {
      case Q_BIAS, K_BIAS, V_BIAS, O_BIAS, GATE_BIAS, UP_BIAS, DOWN_BIAS -> true;
      default -> false;
    };
  }

  /// Whether this is a norm's multiplier, to which {@link Design#normOffset} is added.
  public boolean normWeight() {
    return name().endsWith("_NORM");
  }

  /// Whether this is a norm's shift, which LayerNorm has and RMS norm has not.
  boolean normBias() {
    return name().endsWith("_NORM_BIAS");
  }

  /// The shift that belongs to a norm's multiplier.
  Role shift() {
    return valueOf(name() + "_BIAS");
  }

  /// Whether compression changes this weight's shape; these matrices are what ratios count.
  public boolean compressible() {
    return switch (this) {
      case Q, K, V, O, GATE, UP, DOWN -> true;
      default -> false;
    };
  }
}
