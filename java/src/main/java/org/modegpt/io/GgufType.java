package org.modegpt.io;

import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.modegpt.tensor.DType;

/// Tensor types of GGUF by their number in the file; `dtype` is null for those the engine does not
/// read.
enum GgufType {
  F32(0, DType.F32),
  F16(1, DType.F16),
  Q4_0(2, DType.Q4_0),
  Q4_1(3, DType.Q4_1),
  Q5_0(6, DType.Q5_0),
  Q5_1(7, DType.Q5_1),
  Q8_0(8, DType.Q8_0),
  Q8_1(9, null),
  Q2_K(10, null),
  Q3_K(11, null),
  Q4_K(12, DType.Q4_K),
  Q5_K(13, DType.Q5_K),
  Q6_K(14, DType.Q6_K),
  Q8_K(15, null),
  IQ2_XXS(16, null),
  IQ2_XS(17, null),
  IQ3_XXS(18, null),
  IQ1_S(19, null),
  IQ4_NL(20, null),
  IQ3_S(21, null),
  IQ2_S(22, null),
  IQ4_XS(23, null),
  I8(24, null),
  I16(25, null),
  I32(26, DType.I32),
  I64(27, null),
  F64(28, DType.F64),
  IQ1_M(29, null),
  BF16(30, DType.BF16),
  TQ1_0(34, null),
  TQ2_0(35, null),
  MXFP4(39, null);

  private static final Map<Integer, GgufType> BY_ID = new HashMap<>();

  static {
    for (GgufType type : values()) {
      BY_ID.put(type.id, type);
    }
  }

  private final int id;
  private final @Nullable DType dtype;

  GgufType(int id, @Nullable DType dtype) {
    this.id = id;
    this.dtype = dtype;
  }

  int id() {
    return id;
  }

  @Nullable DType dtype() {
    return dtype;
  }

  static @Nullable GgufType byId(int id) {
    return BY_ID.get(id);
  }
}
