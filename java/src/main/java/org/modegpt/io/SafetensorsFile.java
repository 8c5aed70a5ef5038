package org.modegpt.io;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Collections;
import java.util.Map;
import java.util.SequencedSet;
import org.modegpt.UserException;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// One safetensors file, memory-mapped. The header is checked completely when the file is opened;
/// data is read when a tensor is used. F64, F32, F16, BF16 and I32 tensors are views; I64 becomes a
/// copy in I32.
public final class SafetensorsFile implements TensorSource {
  /// The limit of the format's reference implementation.
  private static final long MAX_HEADER_BYTES = 100_000_000;

  private static final ValueLayout.OfLong LENGTH =
      JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final MappedFile file;
  private final MemorySegment data;
  private final SafetensorsHeader header;

  private SafetensorsFile(MappedFile file) {
    MemorySegment all = file.bytes();
    if (all.byteSize() < 8) {
      throw new UserException(
          "%s: %d bytes are too few for a safetensors file; download or copy it again"
              .formatted(file.path(), all.byteSize()));
    }
    long length = all.get(LENGTH, 0);
    if (length < 0 || length > all.byteSize() - 8) {
      throw new UserException(
          "%s: the header length %s is beyond the file's %d bytes: it is truncated or no safetensors file; download or copy it again"
              .formatted(file.path(), Long.toUnsignedString(length), all.byteSize()));
    }
    if (length > MAX_HEADER_BYTES) {
      throw new UserException(
          "%s: the header length %d is above the format's limit of %d bytes; it is no safetensors file"
              .formatted(file.path(), length, MAX_HEADER_BYTES));
    }
    this.file = file;
    this.data = all.asSlice(8 + length);
    byte[] json = all.asSlice(8, length).toArray(JAVA_BYTE);
    this.header = SafetensorsHeader.parse(json, file.path().toString(), data.byteSize());
  }

  /// Maps a file and checks its header.
  ///
  /// @throws UserException if the file cannot be read or is not a sound safetensors file
  public static SafetensorsFile open(Path path) {
    MappedFile file = new MappedFile(path);
    try {
      return new SafetensorsFile(file);
    } catch (RuntimeException e) {
      file.close();
      throw e;
    }
  }

  public Path path() {
    return file.path();
  }

  @Override
  public SequencedSet<String> names() {
    return Collections.unmodifiableSequencedSet(header.tensors().sequencedKeySet());
  }

  @Override
  public TensorInfo info(String name) {
    return entry(name).info();
  }

  @Override
  public Tensor get(String name, Arena copies) {
    TensorInfo info = info(name);
    MemorySegment bytes = stored(name);
    return switch (info.dtype()) {
      case "F64" -> view(DType.F64, info, bytes, copies);
      case "F32" -> view(DType.F32, info, bytes, copies);
      case "F16" -> view(DType.F16, info, bytes, copies);
      case "BF16" -> view(DType.BF16, info, bytes, copies);
      case "I32" -> view(DType.I32, info, bytes, copies);
      case "I64" -> narrow(info, bytes, copies);
      default ->
          throw new UserException(
              file.path()
                  + ": tensor '"
                  + name
                  + "' has dtype "
                  + info.dtype()
                  + ", which is not supported; convert the checkpoint to F32, F16 or BF16");
    };
  }

  @Override
  public MemorySegment stored(String name) {
    SafetensorsHeader.Entry entry = entry(name);
    return data.asSlice(entry.begin(), entry.info().bytes());
  }

  private static Tensor view(DType dtype, TensorInfo info, MemorySegment bytes, Arena copies) {
    if (bytes.address() % dtype.blockBytes() == 0) {
      return Tensor.host(dtype, info.rows(), info.cols(), bytes);
    }
    Tensor copy = Tensor.allocate(copies, dtype, info.rows(), info.cols());
    MemorySegment.copy(bytes, 0, copy.data(), 0, bytes.byteSize());
    return copy;
  }

  private Tensor narrow(TensorInfo info, MemorySegment bytes, Arena copies) {
    Tensor copy = Tensor.allocate(copies, DType.I32, info.rows(), info.cols());
    for (long i = 0; i < info.elements(); i++) {
      long value = bytes.get(LENGTH, i * 8);
      if (value != (int) value) {
        throw new UserException(
            file.path()
                + ": tensor '"
                + info.name()
                + "' holds "
                + value
                + ", which does not fit 32 bits");
      }
      copy.data().set(JAVA_INT_UNALIGNED, i * 4, (int) value);
    }
    return copy;
  }

  private SafetensorsHeader.Entry entry(String name) {
    SafetensorsHeader.Entry entry = header.tensors().get(name);
    if (entry == null) {
      throw new UserException(
          file.path()
              + ": there is no tensor '"
              + name
              + "'; the checkpoint is incomplete or of another architecture");
    }
    return entry;
  }

  @Override
  public Map<String, String> metadata() {
    return Collections.unmodifiableMap(header.metadata());
  }

  @Override
  public void close() {
    file.close();
  }
}
