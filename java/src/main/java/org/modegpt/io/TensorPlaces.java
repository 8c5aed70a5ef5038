package org.modegpt.io;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Where the tensors of a file that is being written go: each is declared once, before any is
/// written, and written once. Writing may be done from several threads, declaring from one.
final class TensorPlaces {
  private final Map<String, TensorInfo> declared = new LinkedHashMap<>();
  private final Map<String, Long> offsets = new LinkedHashMap<>();
  private final Set<String> written = ConcurrentHashMap.newKeySet();

  /// Gives a tensor its place.
  void declare(TensorInfo tensor, long offset) {
    if (declared.put(tensor.name(), tensor) != null) {
      throw new IllegalArgumentException("tensor '" + tensor.name() + "' is declared twice");
    }
    offsets.put(tensor.name(), offset);
  }

  /// Moves all places behind a header of this many bytes.
  void moveBehind(long header) {
    offsets.replaceAll((_, offset) -> header + offset);
  }

  /// The place of a tensor that is written now, which must be of the declared type and number of
  /// elements.
  long take(String name, Tensor tensor) {
    TensorInfo declaration = declared.get(name);
    if (declaration == null
        || tensor.dtype() != DType.valueOf(declaration.dtype())
        || tensor.elements() != declaration.elements()) {
      throw new IllegalArgumentException(
          "'%s' is declared as %s, got %s".formatted(name, declaration, tensor.describe()));
    }
    return take(name);
  }

  /// The place of a tensor that is written by whoever asks.
  long take(String name) {
    if (!declared.containsKey(name)) {
      throw new IllegalArgumentException("tensor '" + name + "' is not declared");
    }
    if (!written.add(name)) {
      throw new IllegalArgumentException("'" + name + "' is written twice");
    }
    return offsets.get(name);
  }

  TensorInfo declared(String name) {
    return declared.get(name);
  }

  /// @throws IllegalStateException if a declared tensor of the file `path` was not written
  void requireAllWritten(Path path) {
    Set<String> missing = new TreeSet<>(declared.keySet());
    missing.removeAll(written);
    if (!missing.isEmpty()) {
      throw new IllegalStateException("%s: not written: %s".formatted(path, List.copyOf(missing)));
    }
  }
}
