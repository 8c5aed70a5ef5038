package org.modegpt.compress;

/// The share of every module of one block that is to be removed, each in `[0, 1]`.
public record Removal(double queryKey, double valueOutput, double mlp) {

  public Removal {
    for (double share : new double[] {queryKey, valueOutput, mlp}) {
      if (!(share >= 0 && share <= 1)) {
        throw new IllegalArgumentException("a share of " + share + " cannot be removed");
      }
    }
  }

  /// The same share of all three modules.
  public static Removal of(double share) {
    return new Removal(share, share, share);
  }

  public double of(Module module) {
    return switch (module) {
      case QUERY_KEY -> queryKey;
      case VALUE_OUTPUT -> valueOutput;
      case MLP -> mlp;
    };
  }
}
