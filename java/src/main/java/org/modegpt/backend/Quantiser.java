package org.modegpt.backend;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import org.modegpt.tensor.DType;

/// Blocks of 32 values as Q8_0 or Q4_0, in float32 arithmetic and with the rounding of llama.cpp,
/// so that its tools give the same bytes. The counterpart of {@link Dequantiser}.
final class Quantiser {
  private static final int LENGTH = 32;

  private Quantiser() {}

  /// Quantises `values[from .. from + 31]` to the bytes at `at`. Where one is not finite the scale
  /// is NaN.
  static void block(DType dtype, double[] values, int from, MemorySegment out, long at) {
    float extreme = 0;
    boolean finite = true;
    for (int i = from; i < from + LENGTH; i++) {
      float x = (float) values[i];
      finite &= Float.isFinite(x);
      extreme = Math.abs(x) > Math.abs(extreme) ? x : extreme;
    }
    boolean bytes = dtype == DType.Q8_0;
    float d = !finite ? Float.NaN : bytes ? Math.abs(extreme) / 127 : extreme / -8;
    float inverse = d != 0 ? 1 / d : 0;
    out.set(JAVA_SHORT_UNALIGNED, at, Float.floatToFloat16(d));
    for (int i = 0; i < (bytes ? LENGTH : LENGTH / 2); i++) {
      float x = (float) values[from + i] * inverse;
      if (bytes) {
        // Halves go away from zero, unlike Math.round.
        float away = (float) Math.copySign(Math.floor(Math.abs((double) x) + 0.5), x);
        out.set(JAVA_BYTE, at + 2 + i, (byte) Math.clamp((int) away, -127, 127));
      } else {
        int low = Math.clamp((int) (x + 8.5f), 0, 15);
        int high = Math.clamp((int) ((float) values[from + 16 + i] * inverse + 8.5f), 0, 15);
        out.set(JAVA_BYTE, at + 2 + i, (byte) (low | high << 4));
      }
    }
  }
}
