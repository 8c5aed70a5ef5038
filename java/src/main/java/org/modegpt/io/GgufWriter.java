package org.modegpt.io;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.SequencedMap;
import java.util.function.Consumer;
import org.modegpt.tensor.Tensor;

/// Writes one GGUF file, version 3. All tensors are declared first, so the header is written at
/// once and every tensor goes straight to its place, in any order. The bytes of the file depend
/// only on the metadata, the declarations and the data.
///
/// The file appears under its name with {@link #commit()}; closing before that leaves nothing.
public final class GgufWriter implements AutoCloseable {
  private static final int ALIGNMENT = 32;

  private final Path path;
  private final AtomicFile file;
  private final TensorPlaces places = new TensorPlaces();

  /// Starts the file: checks the space on disk and writes the header.
  ///
  /// @param metadata in the order of the file. Integer becomes a uint32, Long a uint64, Float a
  ///   float32; further Boolean and String, and arrays: `List<String>`, `int[]` (int32), `float[]`
  /// @param tensors under llama.cpp's names, the outermost dimension first; types that GGUF has
  public GgufWriter(
      Path path, SequencedMap<String, Object> metadata, Collection<TensorInfo> tensors) {
    this.path = path;
    Bytes header = new Bytes();
    header.raw("GGUF".getBytes(StandardCharsets.US_ASCII));
    header.int32(3).int64(tensors.size()).int64(metadata.size());
    metadata.forEach((key, value) -> header.string(key).value(value));
    long at = 0;
    for (TensorInfo tensor : tensors) {
      places.declare(tensor, at);
      header.string(tensor.name()).int32(tensor.shape().size());
      tensor.shape().reversed().forEach(header::int64);
      header.int32(GgufType.valueOf(tensor.dtype()).id()).int64(at);
      at = aligned(at + tensor.bytes());
    }
    long start = aligned(header.size());
    places.moveBehind(start);
    file = new AtomicFile(path, start + at);
    file.write(0, ByteBuffer.wrap(header.toByteArray()));
    // The end of the last tensor is padded too; this makes the file as long as readers expect.
    if (start + at > header.size()) {
      file.write(start + at - 1, ByteBuffer.wrap(new byte[1]));
    }
  }

  private static long aligned(long offset) {
    return (offset + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }

  /// Writes a declared tensor: a contiguous host tensor of the declared type and number of
  /// elements. Each may be written once.
  public void write(String name, Tensor tensor) {
    file.write(places.take(name, tensor), tensor.asBytes());
  }

  /// Completes the file.
  ///
  /// @throws IllegalStateException if a declared tensor was not written
  public void commit() {
    places.requireAllWritten(path);
    file.commit();
  }

  @Override
  public void close() {
    file.close();
  }

  /// Little-endian values of a header.
  private static final class Bytes extends ByteArrayOutputStream {

    void raw(byte[] bytes) {
      write(bytes, 0, bytes.length);
    }

    private Bytes little(int size, Consumer<ByteBuffer> fill) {
      byte[] bytes = new byte[size];
      fill.accept(ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN));
      raw(bytes);
      return this;
    }

    Bytes int32(int value) {
      return little(4, b -> b.putInt(value));
    }

    Bytes int64(long value) {
      return little(8, b -> b.putLong(value));
    }

    Bytes string(String value) {
      byte[] utf8 = value.getBytes(StandardCharsets.UTF_8);
      int64(utf8.length).raw(utf8);
      return this;
    }

    /// The number of the type, then the value.
    void value(Object value) {
      switch (value) {
        case Integer n -> int32(4).int32(n);
        case Float x -> int32(6).int32(Float.floatToRawIntBits(x));
        case Boolean b -> int32(7).write(b ? 1 : 0);
        case String s -> int32(8).string(s);
        case Long n -> int32(10).int64(n);
        case List<?> strings -> {
          int32(9).int32(8).int64(strings.size());
          strings.forEach(s -> string((String) s));
        }
        case int[] numbers -> {
          int32(9).int32(5).int64(numbers.length);
          little(4 * numbers.length, b -> b.asIntBuffer().put(numbers));
        }
        case float[] numbers -> {
          int32(9).int32(6).int64(numbers.length);
          little(4 * numbers.length, b -> b.asFloatBuffer().put(numbers));
        }
        default ->
            throw new IllegalArgumentException("no metadata value: " + value.getClass().getName());
      }
    }
  }
}
