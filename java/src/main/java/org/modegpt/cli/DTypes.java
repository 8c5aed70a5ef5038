package org.modegpt.cli;

import java.util.Locale;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.tensor.DType;

/// The types weights can be written in, by the names people use.
final class DTypes {
  private DTypes() {}

  /// Null for `auto`.
  static @Nullable DType parse(String name) {
    return switch (name.toLowerCase(Locale.ROOT)) {
      case "auto" -> null;
      case "bf16", "bfloat16" -> DType.BF16;
      case "f16", "fp16", "float16" -> DType.F16;
      case "f32", "fp32", "float32" -> DType.F32;
      default -> throw new UserException("--dtype must be auto, bf16, f16 or f32, not " + name);
    };
  }
}
