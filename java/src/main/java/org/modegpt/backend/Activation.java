package org.modegpt.backend;

/// Activation functions; the ordinal is the number in `modegpt.h`.
public enum Activation {
  SILU,
  GELU,
  GELU_TANH,
  RELU,
  IDENTITY
}
