package org.modegpt.backend;

/// How a back-end computes float32 products of many rows; float64 ones always are in float64.
public enum Products {
  /// In float32.
  F32(0),
  /// Factors rounded to TF32 (10 bits), sums in float32.
  TF32(0x1p-11),
  /// Factors rounded to bfloat16 (7 bits), sums in float32.
  BF16(0x1p-8);

  private final double rounding;

  Products(double rounding) {
    this.rounding = rounding;
  }

  /// Largest relative change of a factor.
  public double rounding() {
    return rounding;
  }
}
