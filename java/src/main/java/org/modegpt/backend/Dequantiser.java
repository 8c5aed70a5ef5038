package org.modegpt.backend;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Rows of host tensors of every dtype as doubles, and back with rounding to nearest even. The
/// block formats are those of GGUF: `d` and `m` are float16 scales, `q` small integers packed as
/// written beside each format.
final class Dequantiser {

  private Dequantiser() {}

  /// Row `row` of `t` into the first `cols` elements of `out`.
  static void read(Tensor t, long row, double[] out) {
    int n = Math.toIntExact(t.cols());
    if (n == 0) {
      return;
    }
    MemorySegment s = t.data();
    long at = t.dtype().bytes(t.stride()) * row;
    switch (t.dtype()) {
      case F32 -> {
        for (int i = 0; i < n; i++) {
          out[i] = s.get(JAVA_FLOAT_UNALIGNED, at + 4L * i);
        }
      }
      case F64 -> MemorySegment.copy(s, JAVA_DOUBLE_UNALIGNED, at, out, 0, n);
      case I32 -> {
        for (int i = 0; i < n; i++) {
          out[i] = s.get(JAVA_INT_UNALIGNED, at + 4L * i);
        }
      }
      case BF16 -> {
        for (int i = 0; i < n; i++) {
          out[i] = Float.intBitsToFloat(s.get(JAVA_SHORT_UNALIGNED, at + 2L * i) << 16);
        }
      }
      case F16 -> {
        for (int i = 0; i < n; i++) {
          out[i] = half(s, at + 2L * i);
        }
      }
      default -> {
        int length = t.dtype().blockLength();
        for (int i = 0; i < n; i += length) {
          block(t, at + t.dtype().bytes(i), out, i);
        }
      }
    }
  }

  static double[] row(Tensor t, long row) {
    double[] out = new double[Math.toIntExact(t.cols())];
    read(t, row, out);
    return out;
  }

  static double[][] matrix(Tensor t) {
    double[][] out = new double[Math.toIntExact(t.rows())][];
    for (int i = 0; i < out.length; i++) {
      out[i] = row(t, i);
    }
    return out;
  }

  /// Writes a row of a plain dtype, or of Q8_0 or Q4_0.
  static void write(Tensor t, long row, double[] values) {
    int n = Math.toIntExact(t.cols());
    MemorySegment s = t.data();
    long at = t.dtype().bytes(t.stride()) * row;
    if (t.dtype() == DType.Q8_0 || t.dtype() == DType.Q4_0) {
      for (int i = 0; i < n; i += 32) {
        Quantiser.block(t.dtype(), values, i, s, at + t.dtype().bytes(i));
      }
      return;
    }
    for (int i = 0; i < n; i++) {
      switch (t.dtype()) {
        case F32 -> s.set(JAVA_FLOAT_UNALIGNED, at + 4L * i, (float) values[i]);
        case F64 -> s.set(JAVA_DOUBLE_UNALIGNED, at + 8L * i, values[i]);
        case I32 -> s.set(JAVA_INT_UNALIGNED, at + 4L * i, (int) values[i]);
        case BF16 -> s.set(JAVA_SHORT_UNALIGNED, at + 2L * i, bfloat16(values[i]));
        case F16 ->
            s.set(JAVA_SHORT_UNALIGNED, at + 2L * i, Float.floatToFloat16(roundToOdd(values[i])));
        default -> throw new IllegalArgumentException("cannot write " + t.dtype());
      }
    }
  }

  static void writeMatrix(Tensor t, double[][] values) {
    for (int i = 0; i < values.length; i++) {
      write(t, i, values[i]);
    }
  }

  static short bfloat16(double value) {
    int bits = Float.floatToRawIntBits(roundToOdd(value));
    if (Double.isNaN(value)) {
      return (short) ((bits >>> 16) | 0x40);
    }
    return (short) ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
  }

  /// The float32 from which a second rounding to 16 bits gives what one rounding of the double
  /// would give: inexact values get an odd last bit, so that they are never mistaken for a tie.
  private static float roundToOdd(double value) {
    float nearest = (float) value;
    int bits = Float.floatToRawIntBits(nearest);
    if (nearest == value || Double.isNaN(value) || (bits & 1) == 1) {
      return nearest;
    }
    return Float.intBitsToFloat(Math.abs((double) nearest) > Math.abs(value) ? bits - 1 : bits + 1);
  }

  private static double half(MemorySegment s, long at) {
    return Float.float16ToFloat(s.get(JAVA_SHORT_UNALIGNED, at));
  }

  private static int u8(MemorySegment s, long at) {
    return s.get(JAVA_BYTE, at) & 0xff;
  }

  private static int bits(int value, int shift, int mask) {
    return (value >>> shift) & mask;
  }

  private static int bit(int value, int shift) {
    return bits(value, shift, 1);
  }

  private static void block(Tensor t, long at, double[] out, int o) {
    MemorySegment s = t.data();
    switch (t.dtype()) {
      case Q4_0 ->
          nibbles(s, at + 2, half(s, at), -8 * half(s, at), 0, out, o); // d, 16 bytes: d (q - 8)
      case Q4_1 ->
          nibbles(s, at + 4, half(s, at), half(s, at + 2), 0, out, o); // d, m, 16 bytes: d q + m
      case Q5_0 -> // d, 32 fifth bits, 16 bytes: d (q - 16)
          nibbles(
              s, at + 6, half(s, at), -16 * half(s, at), s.get(JAVA_INT_UNALIGNED, at + 2), out, o);
      case Q5_1 -> // d, m, 32 fifth bits, 16 bytes: d q + m
          nibbles(
              s, at + 8, half(s, at), half(s, at + 2), s.get(JAVA_INT_UNALIGNED, at + 4), out, o);
      case Q8_0 -> { // d, 32 signed bytes: d q
        for (int i = 0; i < 32; i++) {
          out[o + i] = half(s, at) * s.get(JAVA_BYTE, at + 2 + i);
        }
      }
      case Q4_K -> superBlock(s, at, at + 16, -1, out, o); // d, m, 12 bytes of scales, 128 bytes
      case Q5_K ->
          superBlock(
              s, at, at + 48, at + 16, out,
              o); // d, m, 12 bytes of scales, 32 of fifth bits, 128 bytes
      case Q6_K -> sixBits(s, at, out, o);
      default -> throw new IllegalArgumentException("not a block format: " + t.dtype());
    }
  }

  /// 32 values `d q + m`: the low nibbles of 16 bytes, then the high ones; bit i of `fifth` is bit
  /// 4 of value i.
  private static void nibbles(
      MemorySegment s, long at, double d, double m, int fifth, double[] out, int o) {
    for (int i = 0; i < 16; i++) {
      int q = u8(s, at + i);
      out[o + i] = d * ((q & 15) | (bit(fifth, i) << 4)) + m;
      out[o + 16 + i] = d * ((q >>> 4) | (bit(fifth, 16 + i) << 4)) + m;
    }
  }

  /// 8 groups of 32 values `d sc q - m mn`, with 6-bit sc and mn per group. Groups 2j and 2j+1 are
  /// the low and the high nibbles of 32 bytes; with `fifth >= 0`, bit g of byte `fifth + i` is bit
  /// 4 of value i of group g.
  private static void superBlock(
      MemorySegment s, long at, long quants, long fifth, double[] out, int o) {
    double d = half(s, at);
    double m = half(s, at + 2);
    long scales = at + 4;
    for (int g = 0; g < 8; g++) {
      int scale;
      int min;
      if (g < 4) {
        scale = u8(s, scales + g) & 63;
        min = u8(s, scales + g + 4) & 63;
      } else {
        scale = (u8(s, scales + g + 4) & 15) | (u8(s, scales + g - 4) >>> 6 << 4);
        min = (u8(s, scales + g + 4) >>> 4) | (u8(s, scales + g) >>> 6 << 4);
      }
      for (int i = 0; i < 32; i++) {
        int q = bits(u8(s, quants + 32L * (g / 2) + i), 4 * (g % 2), 15);
        if (fifth >= 0) {
          q |= bit(u8(s, fifth + i), g) << 4;
        }
        out[o + 32 * g + i] = d * scale * q - m * min;
      }
    }
  }

  /// 128 bytes of low nibbles, 64 of high bit pairs, 16 signed scales, d: 256 values `d sc (q -
  /// 32)`, 16 per scale. In each half (128 values) value 32k + i takes a nibble of byte i or 32 + i
  /// and bit pair k of byte i.
  private static void sixBits(MemorySegment s, long at, double[] out, int o) {
    double d = half(s, at + 208);
    for (int j = 0; j < 256; j++) {
      int half = j / 128;
      int k = j % 128 / 32;
      int i = j % 32;
      int low = bits(u8(s, at + 64L * half + 32L * (k % 2) + i), 4 * (k / 2), 15);
      int high = bits(u8(s, at + 128 + 32L * half + i), 2 * k, 3);
      out[o + j] = d * s.get(JAVA_BYTE, at + 192 + j / 16) * ((low | (high << 4)) - 32);
    }
  }
}
