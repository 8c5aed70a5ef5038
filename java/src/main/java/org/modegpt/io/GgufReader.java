package org.modegpt.io;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;

/// A cursor over the header of a GGUF file that checks every length against the bytes that are
/// left.
final class GgufReader {
  private static final ValueLayout.OfShort SHORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfLong LONG =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final int MAX_NESTING = 4;

  private final MemorySegment bytes;
  private final String file;
  private long at;

  GgufReader(MemorySegment bytes, String file) {
    this.bytes = bytes;
    this.file = file;
  }

  long position() {
    return at;
  }

  int int32(String what) {
    return bytes.get(INT, take(4, what));
  }

  long int64(String what) {
    return bytes.get(LONG, take(8, what));
  }

  /// A count or a length: at most what `minimumBytes` each could fill of the rest of the file.
  int count(String what, int minimumBytes) {
    long n = int64(what);
    if (n < 0 || n > (bytes.byteSize() - at) / minimumBytes || n > Integer.MAX_VALUE - 8) {
      throw damaged(
          "%s (%s) is beyond the end of the file".formatted(what, Long.toUnsignedString(n)));
    }
    return (int) n;
  }

  String string(String what) {
    int length = count("the length of " + what, 1);
    byte[] utf8 = bytes.asSlice(take(length, what), length).toArray(JAVA_BYTE);
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(utf8)).toString();
    } catch (CharacterCodingException e) {
      throw damaged(what + " is not UTF-8", e);
    }
  }

  /// A metadata value: Long for integers (unsigned 64-bit ones as their bits), Float, Double,
  /// Boolean, String or List.
  Object value(int type, String key) {
    return value(type, key, 0);
  }

  private Object value(int type, String key, int depth) {
    return switch (type) {
      case 0 -> bytes.get(JAVA_BYTE, take(1, key)) & 0xFFL;
      case 1 -> (long) bytes.get(JAVA_BYTE, take(1, key));
      case 2 -> bytes.get(SHORT, take(2, key)) & 0xFFFFL;
      case 3 -> (long) bytes.get(SHORT, take(2, key));
      case 4 -> int32(key) & 0xFFFF_FFFFL;
      case 5 -> (long) int32(key);
      case 6 -> Float.intBitsToFloat(int32(key));
      case 7 -> bytes.get(JAVA_BYTE, take(1, key)) != 0;
      case 8 -> string(key);
      case 9 -> array(key, depth);
      case 10, 11 -> int64(key);
      case 12 -> Double.longBitsToDouble(int64(key));
      default -> throw damaged("%s has the unknown value type %d".formatted(key, type));
    };
  }

  private List<Object> array(String key, int depth) {
    if (depth == MAX_NESTING) {
      throw damaged(key + " is nested too deeply");
    }
    int type = int32(key);
    int elementBytes =
        switch (type) {
          case 2, 3 -> 2;
          case 4, 5, 6 -> 4;
          case 8, 10, 11, 12 -> 8;
          case 9 -> 12;
          default -> 1;
        };
    int n = count("the length of " + key, elementBytes);
    List<Object> values = new ArrayList<>(n);
    for (int i = 0; i < n; i++) {
      values.add(value(type, key, depth + 1));
    }
    return values;
  }

  private long take(long n, String what) {
    if (n > bytes.byteSize() - at) {
      throw damaged("it ends inside " + what);
    }
    long start = at;
    at += n;
    return start;
  }

  private UserException damaged(String what) {
    return damaged(what, null);
  }

  private UserException damaged(String what, @Nullable Throwable cause) {
    return new UserException(
        "%s: %s (byte %d): the file is truncated or damaged; download or copy it again"
            .formatted(file, what, at),
        cause);
  }
}
