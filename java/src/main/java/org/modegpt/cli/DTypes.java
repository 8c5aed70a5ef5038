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
      case "q8_0" -> DType.Q8_0;
      case "q4_0" -> DType.Q4_0;
      default ->
          throw new UserException(
              "--dtype must be auto, bf16, f16, f32, or for GGUF q8_0 or q4_0, not " + name);
    };
  }
}
