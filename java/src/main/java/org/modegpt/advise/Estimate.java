package org.modegpt.advise;

/// A prediction and the band in which it is expected.
public record Estimate(double value, double low, double high) {
  static Estimate within(double value, double share) {
    return new Estimate(value, value * (1 - share), value * (1 + share));
  }
}
