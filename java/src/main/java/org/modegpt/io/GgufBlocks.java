package org.modegpt.io;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import java.lang.foreign.MemorySegment;

/// Block formats of GGUF that no kernel computes with, decoded to F16. `d` and `m` are float16
/// scales; bytes are in the order they are named.
final class GgufBlocks {
  /// The sixteen levels of IQ4_NL and IQ4_XS.
  private static final int[] LEVELS = {
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113
  };

  private GgufBlocks() {}

  /// Decodes all blocks of `from` into the F16 elements of `to`.
  static void decode(GgufType type, MemorySegment from, MemorySegment to) {
    float[] values = new float[type.blockLength()];
    long blocks = from.byteSize() / type.blockBytes();
    for (long b = 0; b < blocks; b++) {
      long at = b * type.blockBytes();
      switch (type) {
        case Q2_K -> twoBits(from, at, values);
        case Q3_K -> threeBits(from, at, values);
        case IQ4_NL -> levels(from, at + 2, half(from, at), values, 0);
        case IQ4_XS -> levelsBySuperBlock(from, at, values);
        default -> throw new IllegalArgumentException("not decoded: " + type);
      }
      for (int i = 0; i < values.length; i++) {
        to.set(JAVA_SHORT_UNALIGNED, 2 * (b * values.length + i), Float.floatToFloat16(values[i]));
      }
    }
  }

  private static float half(MemorySegment s, long at) {
    return Float.float16ToFloat(s.get(JAVA_SHORT_UNALIGNED, at));
  }

  private static int u8(MemorySegment s, long at) {
    return s.get(JAVA_BYTE, at) & 0xff;
  }

  /// 16 bytes of scales, 64 of bit pairs, d, m: 16 groups of 16 values `d sc q - m mn`, sc and mn
  /// the nibbles of a byte. In each half (128 values) group 2k + g takes bit pair k of bytes 16g to
  /// 16g + 15.
  private static void twoBits(MemorySegment s, long at, float[] out) {
    float d = half(s, at + 80);
    float m = half(s, at + 82);
    for (int j = 0; j < 256; j++) {
      int scale = u8(s, at + j / 16);
      int q = pairOfBits(s, at + 16, j);
      out[j] = d * (scale & 15) * q - m * (scale >>> 4);
    }
  }

  /// Bit pair of value j: in each half (128 values, 32 bytes) value 32k + i takes pair k of byte i.
  private static int pairOfBits(MemorySegment s, long at, int j) {
    return u8(s, at + 32L * (j / 128) + j % 32) >>> (2 * (j % 128 / 32)) & 3;
  }

  /// 32 bytes of third bits, 64 of bit pairs, 12 of scales, d: 16 groups of 16 values `d (sc - 32)
  /// (q - 4)`. Bit j / 32 of byte j % 32 is the third bit of value j; a scale has its low nibble in
  /// the first 8 bytes and two high bits in the last 4.
  private static void threeBits(MemorySegment s, long at, float[] out) {
    float d = half(s, at + 108);
    for (int j = 0; j < 256; j++) {
      int g = j / 16;
      int low = g < 8 ? u8(s, at + 96 + g) & 15 : u8(s, at + 88 + g) >>> 4;
      int high = u8(s, at + 104 + g % 4) >>> (2 * (g / 4)) & 3;
      int third = u8(s, at + j % 32) >>> (j / 32) & 1;
      int q = pairOfBits(s, at + 32, j) | third << 2;
      out[j] = d * ((low | high << 4) - 32) * (q - 4);
    }
  }

  /// 32 values: the levels of the low nibbles of 16 bytes, then of the high ones.
  private static void levels(MemorySegment s, long at, float d, float[] out, int o) {
    for (int i = 0; i < 16; i++) {
      int q = u8(s, at + i);
      out[o + i] = d * LEVELS[q & 15];
      out[o + 16 + i] = d * LEVELS[q >>> 4];
    }
  }

  /// d, 16 bits of high scale bits, 4 bytes of low nibbles, 128 bytes: 8 groups of 32 values, each
  /// with `d (sc - 32)`.
  private static void levelsBySuperBlock(MemorySegment s, long at, float[] out) {
    float d = half(s, at);
    int high = s.get(JAVA_INT_UNALIGNED, at) >>> 16;
    for (int g = 0; g < 8; g++) {
      int low = u8(s, at + 4 + g / 2) >>> (4 * (g % 2)) & 15;
      int scale = (low | (high >>> (2 * g) & 3) << 4) - 32;
      levels(s, at + 8 + 16L * g, d * scale, out, 32 * g);
    }
  }
}
