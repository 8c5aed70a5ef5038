package org.modegpt.tensor;

import java.util.Locale;

/// Element types. `code` is the number of the same name in `native/include/modegpt.h`. Quantised
/// types are blocks of `blockLength` elements in `blockBytes` bytes, as GGUF lays them out; plain
/// types are blocks of one element.
public enum DType {
  F32(0, 1, 4),
  F64(1, 1, 8),
  BF16(2, 1, 2),
  F16(3, 1, 2),
  I32(4, 1, 4),
  Q4_0(16, 32, 18),
  Q4_1(17, 32, 20),
  Q5_0(18, 32, 22),
  Q5_1(19, 32, 24),
  Q8_0(20, 32, 34),
  Q4_K(21, 256, 144),
  Q5_K(22, 256, 176),
  Q6_K(23, 256, 210);

  private final int code;
  private final int blockLength;
  private final int blockBytes;

  DType(int code, int blockLength, int blockBytes) {
    this.code = code;
    this.blockLength = blockLength;
    this.blockBytes = blockBytes;
  }

  public int code() {
    return code;
  }

  public int blockLength() {
    return blockLength;
  }

  public int blockBytes() {
    return blockBytes;
  }

  public boolean quantised() {
    return blockLength > 1;
  }

  /// Bytes that `elements` consecutive elements take; `elements` must be whole blocks.
  public long bytes(long elements) {
    if (elements < 0 || elements % blockLength != 0) {
      throw new IllegalArgumentException(
          elements + " elements are not whole " + this + " blocks of " + blockLength);
    }
    return Math.multiplyExact(elements / blockLength, blockBytes);
  }

  /// The name in a Hugging Face `config.json`.
  ///
  /// @throws IllegalArgumentException for a type that torch does not have
  public String torchName() {
    return switch (this) {
      case F64 -> "float64";
      case F32 -> "float32";
      case F16 -> "float16";
      case BF16 -> "bfloat16";
      default -> throw new IllegalArgumentException("torch has no type " + this);
    };
  }

  /// The name used on command lines and in reports: `bf16`, `q4_k`.
  public String label() {
    return name().toLowerCase(Locale.ROOT);
  }
}
