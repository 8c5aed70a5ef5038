package org.modegpt.backend;

/// Activation functions; `code` is the number of the same name in `modegpt.h`.
public enum Activation {
  SILU(0),
  GELU(1),
  GELU_TANH(2),
  RELU(3),
  IDENTITY(4);

  private final int code;

  Activation(int code) {
    this.code = code;
  }

  public int code() {
    return code;
  }
}
