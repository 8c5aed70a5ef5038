package org.modegpt.backend.ops;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.util.random.RandomGenerator;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// How the elements of a host tensor get their values. Every float element is representable in the
/// tensor's dtype.
@FunctionalInterface
public interface Fill {

  void fill(Tensor t, RandomGenerator random);

  /// Normal deviates of this standard deviation; block formats get random blocks of about that
  /// size.
  static Fill normal(double deviation) {
    return (t, random) -> {
      if (t.dtype().quantised()) {
        blocks(t, deviation, random);
      } else {
        each(t, (i, j) -> random.nextGaussian() * deviation);
      }
    };
  }

  /// A symmetric, diagonally dominant matrix: positive definite, entries of different sizes.
  static Fill symmetric(double deviation) {
    return (t, random) -> {
      double[][] values = new double[(int) t.rows()][(int) t.cols()];
      for (int i = 0; i < values.length; i++) {
        for (int j = 0; j <= i; j++) {
          double value = random.nextGaussian() * deviation;
          values[i][j] = i == j ? (4 + Math.abs(value)) * t.rows() : value;
          values[j][i] = values[i][j];
        }
      }
      each(t, (i, j) -> values[(int) i][(int) j]);
    };
  }

  static Fill constant(double value) {
    return (t, random) -> each(t, (i, j) -> value);
  }

  /// Whole numbers from `low` (inclusive) to `high` (exclusive), with both ends among the first
  /// elements.
  static Fill integers(int low, int high) {
    return (t, random) ->
        each(t, (i, j) -> i + j == 0 ? low : i + j == 1 ? high - 1 : random.nextInt(low, high));
  }

  static Fill values(double... values) {
    return (t, random) -> each(t, (i, j) -> values[(int) ((i * t.cols() + j) % values.length)]);
  }

  /// An element by its row and column.
  interface Element {
    double at(long row, long col);
  }

  /// Sets every element of a plain tensor.
  static void each(Tensor t, Element value) {
    for (long i = 0; i < t.rows(); i++) {
      for (long j = 0; j < t.cols(); j++) {
        double v = value.at(i, j);
        long at = t.dtype().bytes(i * t.stride() + j);
        switch (t.dtype()) {
          case BF16 ->
              t.data()
                  .set(JAVA_SHORT_UNALIGNED, at, (short) (Float.floatToIntBits((float) v) >> 16));
          case F16 -> t.data().set(JAVA_SHORT_UNALIGNED, at, Float.floatToFloat16((float) v));
          default -> t.set(i, j, v);
        }
      }
    }
  }

  /// Random bytes with sane float16 scales where the format has them.
  private static void blocks(Tensor t, double deviation, RandomGenerator random) {
    DType dtype = t.dtype();
    MemorySegment s = t.data();
    int[] scales =
        switch (dtype) {
          case Q4_1, Q5_1, Q4_K, Q5_K -> new int[] {0, 2};
          case Q6_K -> new int[] {208};
          default -> new int[] {0};
        };
    int levels =
        switch (dtype) {
          case Q8_0 -> 128;
          case Q4_K, Q5_K, Q6_K -> 512;
          default -> 8;
        };
    for (long at = 0; at < t.spanBytes(); at += dtype.blockBytes()) {
      for (long i = 0; i < dtype.blockBytes(); i++) {
        s.set(JAVA_BYTE, at + i, (byte) random.nextInt());
      }
      for (int scale : scales) {
        double d = deviation * random.nextDouble(0.2, 2) / levels * (random.nextBoolean() ? 1 : -1);
        s.set(JAVA_SHORT_UNALIGNED, at + scale, Float.floatToFloat16((float) d));
      }
    }
  }
}
