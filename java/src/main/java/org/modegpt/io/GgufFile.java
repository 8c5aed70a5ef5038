package org.modegpt.io;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// One GGUF file (version 2 or 3, little endian), memory-mapped: its metadata and its tensors under
/// llama.cpp's names. The header is checked completely when the file is opened, and every tensor
/// has a type the engine reads.
final class GgufFile implements AutoCloseable {
  private static final int MAGIC = 0x46554747; // "GGUF"

  private final MappedFile file;
  private final MemorySegment data;
  private final SequencedMap<String, Object> metadata = new LinkedHashMap<>();
  private final SequencedMap<String, Entry> tensors = new LinkedHashMap<>();

  /// @param info shape with the outermost dimension first, unlike the file
  record Entry(TensorInfo info, GgufType type, long offset) {}

  static GgufFile open(Path path) {
    MappedFile file = new MappedFile(path);
    try {
      return new GgufFile(file);
    } catch (RuntimeException e) {
      file.close();
      throw e;
    }
  }

  private GgufFile(MappedFile file) {
    this.file = file;
    GgufReader in = new GgufReader(file.bytes(), file.path().toString());
    if (in.int32("the magic number") != MAGIC) {
      throw error("it is no GGUF file; download or copy it again");
    }
    int version = in.int32("the version");
    if (version != 2 && version != 3) {
      throw error(
          Integer.reverseBytes(version) == 3 || Integer.reverseBytes(version) == 2
              ? "big-endian GGUF is not supported; convert it for little-endian machines"
              : "GGUF version %d is not supported, only 2 and 3; convert the model again"
                  .formatted(version));
    }
    int tensorCount = in.count("the number of tensors", 24);
    int keyCount = in.count("the number of metadata keys", 13);
    for (int i = 0; i < keyCount; i++) {
      String key = in.string("metadata key " + (i + 1));
      if (metadata.put(key, in.value(in.int32(key), key)) != null) {
        throw error("metadata key '%s' occurs twice: the file is damaged".formatted(key));
      }
    }
    List<Entry> entries = new ArrayList<>();
    for (int i = 0; i < tensorCount; i++) {
      entries.add(entry(in, i));
    }
    long alignment = metadata.get("general.alignment") instanceof Long n ? n : 32;
    if (alignment < 1 || alignment > 1 << 20 || Long.bitCount(alignment) != 1) {
      throw error(
          "general.alignment is %d, not a power of two: the file is damaged".formatted(alignment));
    }
    long dataStart = (in.position() + alignment - 1) & -alignment;
    this.data = file.bytes().asSlice(Math.min(dataStart, file.bytes().byteSize()));
    checkLayout(entries, alignment);
    for (Entry e : entries) {
      if (tensors.put(e.info().name(), e) != null) {
        throw error("tensor '%s' occurs twice: the file is damaged".formatted(e.info().name()));
      }
    }
  }

  private Entry entry(GgufReader in, int index) {
    String name = in.string("the name of tensor " + (index + 1));
    int dimensions = in.int32(name);
    if (dimensions < 0 || dimensions > 4) {
      throw error("tensor '%s' has %d dimensions: the file is damaged".formatted(name, dimensions));
    }
    List<Long> shape = new ArrayList<>();
    for (int d = 0; d < dimensions; d++) {
      shape.addFirst(in.int64(name));
    }
    int typeId = in.int32(name);
    long offset = in.int64(name);
    GgufType type = GgufType.byId(typeId);
    if (type == null || !type.readable()) {
      throw error(
          "tensor '%s' has the type %s, which is not supported; use a file in F32, F16, BF16, Q8_0, Q6_K, Q5_K, Q4_K, Q3_K, Q2_K, IQ4_XS, IQ4_NL, Q5_1, Q5_0, Q4_1 or Q4_0"
              .formatted(name, type == null ? "number " + typeId : type));
    }
    return new Entry(
        new TensorInfo(name, type.name(), shape, bytes(name, type, shape)), type, offset);
  }

  private long bytes(String name, GgufType type, List<Long> shape) {
    try {
      long elements = 1;
      for (long n : shape) {
        if (n < 0) {
          throw new ArithmeticException();
        }
        elements = Math.multiplyExact(elements, n);
      }
      int length = type.blockLength();
      if (length > 1 && (shape.isEmpty() || shape.getLast() % length != 0)) {
        throw error(
            "tensor '%s' has rows of %s elements, not whole %s blocks: the file is damaged"
                .formatted(name, shape.isEmpty() ? 1 : shape.getLast(), type));
      }
      return Math.multiplyExact(elements / length, type.blockBytes());
    } catch (ArithmeticException e) {
      throw new UserException(
          "%s: tensor '%s' has the impossible shape %s: the file is damaged"
              .formatted(path(), name, shape),
          e);
    }
  }

  private void checkLayout(List<Entry> entries, long alignment) {
    List<Entry> byOffset = new ArrayList<>(entries);
    byOffset.sort(Comparator.comparingLong(Entry::offset));
    long end = 0;
    for (Entry e : byOffset) {
      if (e.offset() < end || e.offset() % alignment != 0) {
        throw error(
            "the data of tensor '%s' is not aligned or overlaps another: the file is damaged"
                .formatted(e.info().name()));
      }
      if (e.offset() > data.byteSize() || e.info().bytes() > data.byteSize() - e.offset()) {
        throw error(
            "the data of tensor '%s' ends beyond the file's %d bytes: the file is truncated; download or copy it again"
                .formatted(e.info().name(), file.bytes().byteSize()));
      }
      end = e.offset() + e.info().bytes();
    }
  }

  Path path() {
    return file.path();
  }

  SequencedMap<String, Object> metadata() {
    return metadata;
  }

  SequencedMap<String, Entry> tensors() {
    return tensors;
  }

  /// The stored bytes of a tensor.
  MemorySegment stored(Entry entry) {
    return data.asSlice(entry.offset(), entry.info().bytes());
  }

  /// A tensor of a type that kernels know, as a view of this file.
  Tensor view(Entry entry) {
    DType dtype = entry.type().dtype();
    if (dtype == null) {
      throw new IllegalArgumentException(entry.info().name() + " is " + entry.type());
    }
    return Tensor.host(dtype, entry.info().rows(), entry.info().cols(), stored(entry));
  }

  // ---- metadata by type; a wrong type is an error, an absent key is null or the default

  @Nullable String text(String key) {
    return scalar(key, String.class, "a string");
  }

  @Nullable Long integer(String key) {
    return scalar(key, Long.class, "one integer");
  }

  boolean flag(String key, boolean otherwise) {
    Boolean value = scalar(key, Boolean.class, "a boolean");
    return value == null ? otherwise : value;
  }

  @Nullable Double number(String key) {
    return switch (metadata.get(key)) {
      case null -> null;
      // The shortest decimal that is the same float, so that 1e-5 does not become
      // 9.999999747378752e-06.
      case Float f -> Double.valueOf(f.toString());
      case Double d -> d;
      case Long n -> (double) n;
      default -> throw wrong(key, "a number");
    };
  }

  private <T> @Nullable T scalar(String key, Class<T> type, String wanted) {
    Object value = metadata.get(key);
    if (value != null && !type.isInstance(value)) {
      throw wrong(key, wanted);
    }
    return type.cast(value);
  }

  /// An array of `type`; empty when absent.
  <T> List<T> list(String key, Class<T> type) {
    Object value = metadata.getOrDefault(key, List.of());
    if (!(value instanceof List<?> values) || !values.stream().allMatch(type::isInstance)) {
      throw wrong(key, "an array of " + type.getSimpleName());
    }
    return values.stream().map(type::cast).toList();
  }

  private UserException wrong(String key, String wanted) {
    return error(
        "metadata key '%s' is not %s: this kind of file is not supported or it is damaged"
            .formatted(key, wanted));
  }

  UserException error(String what) {
    return new UserException(path() + ": " + what);
  }

  @Override
  public void close() {
    file.close();
  }
}
