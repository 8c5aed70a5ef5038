package org.modegpt.io;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Map;
import java.util.SequencedSet;
import org.modegpt.tensor.Tensor;

/// Named tensors of a checkpoint, read on demand from mapped files. Names are Hugging Face
/// parameter names whatever the file format is.
///
/// Thread-safe. Closing unmaps the files: tensors that are views of them throw when Java reads them
/// afterwards, and must not be in use by native code while the source is being closed.
public interface TensorSource extends AutoCloseable {

  /// All tensor names, in the order of the file.
  SequencedSet<String> names();

  default boolean has(String name) {
    return names().contains(name);
  }

  /// Stored type, shape and size.
  ///
  /// @throws org.modegpt.UserException if there is no such tensor
  TensorInfo info(String name);

  /// The tensor as a matrix of {@link TensorInfo#rows()} by {@link TensorInfo#cols()}, in its
  /// stored type. Nearly always a read-only view of the mapped file that lives as long as this
  /// source. Where the file's layout is not the engine's (rows of GGUF query and key matrices, I64
  /// values, unaligned data) it is a copy in `arena`, so the caller decides how long copies stay;
  /// treat the result as living as long as the shorter of the two.
  ///
  /// @throws org.modegpt.UserException if there is no such tensor or its type is not one the engine
  ///   reads
  Tensor get(String name, Arena arena);

  /// The stored bytes of a tensor of any type, as the file has them: a read-only view that lives as
  /// long as this source.
  MemorySegment stored(String name);

  /// Text metadata of the file (`__metadata__` of safetensors; scalar keys of GGUF).
  Map<String, String> metadata();

  @Override
  void close();
}
