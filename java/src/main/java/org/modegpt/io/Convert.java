package org.modegpt.io;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;
import tools.jackson.databind.node.ObjectNode;

/// Writes any readable checkpoint as a Hugging Face folder in one type: dequantises GGUF, or
/// changes the type of a folder.
public final class Convert {
  /// Families whose files have the engine's own names.
  private static final List<String> SAME_NAMES = List.of("llama", "qwen2", "modegpt");

  private Convert() {}

  /// Told after each tensor.
  @FunctionalInterface
  public interface Progress {
    void tensor(int done, int total, String name);
  }

  /// Converts `source` into the new folder `out`. Memory holds one tensor at a time. Integer
  /// tensors keep their type.
  ///
  /// @param dtype F32, F16 or BF16
  /// @param backend casts; must be one whose operations take host tensors
  /// @throws org.modegpt.UserException if the source is not sound or the folder cannot be written;
  ///   nothing is left then
  public static void run(
      ModelDirectory source,
      Path out,
      boolean overwrite,
      DType dtype,
      long maxShardBytes,
      Backend backend,
      Progress progress) {
    if (!backend.unifiedMemory()
        || !(dtype == DType.F32 || dtype == DType.F16 || dtype == DType.BF16)) {
      throw new IllegalArgumentException("cannot convert to " + dtype + " on " + backend.name());
    }
    String type = source.config().path("model_type").asString("");
    if (source.neutral() && !SAME_NAMES.contains(type)) {
      throw new UserException(
          "%s: a GGUF file of a '%s' model cannot be converted; it can be compressed, evaluated and run"
              .formatted(source.path(), type));
    }
    TensorSource tensors = source.tensors();
    List<TensorInfo> declarations = new ArrayList<>();
    for (String name : tensors.names()) {
      TensorInfo info = tensors.info(name);
      declarations.add(TensorInfo.of(name, integer(info) ? DType.I32 : dtype, info.shape()));
    }
    try (ModelWriter writer = new ModelWriter(out, overwrite)) {
      source.tagAlongFiles().forEach(writer::write);
      writer.write("config.json", config(source, dtype));
      CheckpointWriter weights = writer.tensors(declarations, maxShardBytes);
      int done = 0;
      for (TensorInfo declaration : declarations) {
        try (Arena arena = Arena.ofConfined()) {
          Tensor stored = tensors.get(declaration.name(), arena);
          weights.write(
              declaration.name(), cast(stored, DType.valueOf(declaration.dtype()), backend, arena));
        }
        progress.tensor(++done, declarations.size(), declaration.name());
      }
      writer.commit();
    }
  }

  private static boolean integer(TensorInfo info) {
    return info.dtype().equals("I32") || info.dtype().equals("I64");
  }

  private static Tensor cast(Tensor stored, DType dtype, Backend backend, Arena arena) {
    if (stored.dtype() == dtype) {
      return stored;
    }
    Tensor converted = backend.allocate(arena, dtype, stored.rows(), stored.cols());
    backend.cast(stored, converted);
    backend.sync();
    return converted;
  }

  /// The configuration with the new type; `torch_dtype` is the older spelling of `dtype`, which is
  /// all that some readers know.
  private static ObjectNode config(ModelDirectory source, DType dtype) {
    ObjectNode config = source.config();
    config.remove("quantization_config");
    config.remove("dtype");
    config.put("torch_dtype", dtype.torchName());
    return config;
  }
}
