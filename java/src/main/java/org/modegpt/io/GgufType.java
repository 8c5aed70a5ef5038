package org.modegpt.io;

import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.modegpt.tensor.DType;

/// Tensor types of GGUF by their number in the file. Types that kernels compute with have a
/// `dtype`; of the others those with a block length are read by decoding them to F16, see {@link
/// GgufBlocks}.
enum GgufType {
  F32(0, DType.F32),
  F16(1, DType.F16),
  Q4_0(2, DType.Q4_0),
  Q4_1(3, DType.Q4_1),
  Q5_0(6, DType.Q5_0),
  Q5_1(7, DType.Q5_1),
  Q8_0(8, DType.Q8_0),
  Q8_1(9),
  Q2_K(10, 256, 84),
  Q3_K(11, 256, 110),
  Q4_K(12, DType.Q4_K),
  Q5_K(13, DType.Q5_K),
  Q6_K(14, DType.Q6_K),
  Q8_K(15),
  IQ2_XXS(16),
  IQ2_XS(17),
  IQ3_XXS(18),
  IQ1_S(19),
  IQ4_NL(20, 32, 18),
  IQ3_S(21),
  IQ2_S(22),
  IQ4_XS(23, 256, 136),
  I8(24),
  I16(25),
  I32(26, DType.I32),
  I64(27),
  F64(28, DType.F64),
  IQ1_M(29),
  BF16(30, DType.BF16),
  TQ1_0(34),
  TQ2_0(35),
  MXFP4(39);

  private static final Map<Integer, GgufType> BY_ID = new HashMap<>();

  static {
    for (GgufType type : values()) {
      BY_ID.put(type.id, type);
    }
  }

  private final int id;
  private final @Nullable DType dtype;
  private final int blockLength;
  private final int blockBytes;

  GgufType(int id) {
    this(id, null, 0, 0);
  }

  GgufType(int id, DType dtype) {
    this(id, dtype, dtype.blockLength(), dtype.blockBytes());
  }

  GgufType(int id, int blockLength, int blockBytes) {
    this(id, null, blockLength, blockBytes);
  }

  GgufType(int id, @Nullable DType dtype, int blockLength, int blockBytes) {
    this.id = id;
    this.dtype = dtype;
    this.blockLength = blockLength;
    this.blockBytes = blockBytes;
  }

  int id() {
    return id;
  }

  /// The type of the stored elements, or null where they are decoded.
  @Nullable DType dtype() {
    return dtype;
  }

  boolean readable() {
    return blockLength > 0;
  }

  int blockLength() {
    return blockLength;
  }

  int blockBytes() {
    return blockBytes;
  }

  static @Nullable GgufType byId(int id) {
    return BY_ID.get(id);
  }
}
