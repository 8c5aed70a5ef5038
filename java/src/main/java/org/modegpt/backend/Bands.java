package org.modegpt.backend;

/// Equal parts of the rows or columns of a matrix that is symmetric or triangular: worked on band
/// by band, up to the diagonal or from it on, most of what is zero or known is left out.
public final class Bands {
  private Bands() {}

  /// Work on rows or columns `from` (inclusive) to `to` (exclusive).
  public interface Band {
    void of(long from, long to);
  }

  /// Calls `band` for each of `count` parts of `n` that is not empty, in order.
  public static void each(long n, int count, Band band) {
    for (int i = 0; i < count; i++) {
      long from = n * i / count;
      long to = n * (i + 1) / count;
      if (from < to) {
        band.of(from, to);
      }
    }
  }
}
