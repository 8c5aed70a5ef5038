package org.modegpt.io;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Comparator;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/// Writes one safetensors file. All tensors are declared first, so the header is written at once
/// and every tensor goes straight to its place: memory holds one tensor at a time, in any order and
/// from several threads. The bytes of the file depend only on the declarations, the metadata and
/// the data.
///
/// The file appears under its name with {@link #commit()}; closing before that leaves nothing. A
/// full disk or any other trouble with the file is a {@link org.modegpt.UserException}.
public final class SafetensorsWriter implements AutoCloseable {
  private static final Set<DType> TYPES =
      EnumSet.of(DType.F64, DType.F32, DType.F16, DType.BF16, DType.I32);

  /// Larger elements first, so that every tensor is aligned; then names.
  private static final Comparator<TensorInfo> ORDER =
      Comparator.comparingInt((TensorInfo t) -> -dtype(t).blockBytes())
          .thenComparing(TensorInfo::name);

  private final Path path;
  private final AtomicFile file;
  private final TensorPlaces places = new TensorPlaces();

  /// Starts the file: checks the space on disk and writes the header.
  ///
  /// @param metadata goes into `__metadata__`, together with `format: pt`
  /// @param tensors F64, F32, F16, BF16 or I32, each name once
  public static SafetensorsWriter create(
      Path path, Map<String, String> metadata, Collection<TensorInfo> tensors) {
    return new SafetensorsWriter(path, null, metadata, tensors, List.of());
  }

  /// The same over several runs of the program: the file is `temporary` until it is complete, and
  /// stays when this is closed before.
  ///
  /// @param temporary on the file system of `path`; made for the same metadata and tensors, or
  ///   missing
  /// @param there names of the tensors that it holds already
  public static SafetensorsWriter goOn(
      Path path,
      Path temporary,
      Map<String, String> metadata,
      Collection<TensorInfo> tensors,
      Collection<String> there) {
    return new SafetensorsWriter(path, temporary, metadata, tensors, there);
  }

  private SafetensorsWriter(
      Path path,
      @Nullable Path temporary,
      Map<String, String> metadata,
      Collection<TensorInfo> tensors,
      Collection<String> there) {
    this.path = path;
    SortedMap<String, String> all = new TreeMap<>(metadata);
    all.put("format", "pt");
    ObjectNode root = Json.MAPPER.createObjectNode();
    ObjectNode meta = root.putObject("__metadata__");
    all.forEach(meta::put);
    long at = 0;
    for (TensorInfo tensor : tensors.stream().sorted(ORDER).toList()) {
      places.declare(tensor, at);
      ObjectNode entry = root.putObject(tensor.name());
      entry.put("dtype", tensor.dtype());
      ArrayNode shape = entry.putArray("shape");
      tensor.shape().forEach(shape::add);
      entry.putArray("data_offsets").add(at).add(at + tensor.bytes());
      at += tensor.bytes();
    }
    byte[] header = header(root);
    places.moveBehind(header.length);
    long size = header.length + at;
    long missing = size;
    for (String name : there) {
      places.take(name);
      missing -= places.declared(name).bytes();
    }
    this.file =
        temporary == null
            ? new AtomicFile(path, size)
            : AtomicFile.goOn(path, temporary, size, missing);
    try {
      file.write(0, ByteBuffer.wrap(header));
    } catch (RuntimeException e) {
      file.close();
      throw e;
    }
  }

  private static DType dtype(TensorInfo tensor) {
    for (DType type : TYPES) {
      if (type.name().equals(tensor.dtype())) {
        return type;
      }
    }
    throw new IllegalArgumentException(
        "cannot write "
            + tensor.dtype()
            + " ("
            + tensor.name()
            + ") to safetensors: cast it first");
  }

  /// Length and JSON, padded with spaces so that the data starts at a multiple of 8.
  private static byte[] header(ObjectNode root) {
    byte[] json = Json.MAPPER.writeValueAsString(root).getBytes(StandardCharsets.UTF_8);
    int padded = (json.length + 7) & -8;
    ByteBuffer header =
        ByteBuffer.allocate(8 + padded).order(ByteOrder.LITTLE_ENDIAN).putLong(padded).put(json);
    while (header.hasRemaining()) {
      header.put((byte) ' ');
    }
    return header.array();
  }

  /// Writes a declared tensor: a host tensor of the declared type and number of elements. Each may
  /// be written once.
  public void write(String name, Tensor tensor) {
    long at = places.take(name, tensor);
    if (tensor.contiguous()) {
      file.write(at, tensor.asBytes());
    } else {
      long rowBytes = tensor.dtype().bytes(tensor.cols());
      for (long i = 0; i < tensor.rows(); i++) {
        file.write(at + i * rowBytes, tensor.rows(i, i + 1).asBytes());
      }
    }
  }

  /// A declared tensor that is written in pieces, of which none may be left out. Pieces may come in
  /// any order and from several threads.
  public final class Pieces {
    private final TensorInfo declaration;
    private final long at;

    private Pieces(String name) {
      this.at = places.take(name);
      this.declaration = places.declared(name);
    }

    /// Writes the elements from `first` on: a contiguous host tensor of the declared type.
    public void write(long first, Tensor piece) {
      Objects.checkFromIndexSize(first, piece.elements(), declaration.elements());
      if (piece.dtype() != dtype(declaration)) {
        throw new IllegalArgumentException(declaration + " cannot hold " + piece.describe());
      }
      file.write(at + piece.dtype().bytes(first), piece.asBytes());
    }
  }

  /// Begins a declared tensor that is written in pieces.
  public Pieces pieces(String name) {
    return new Pieces(name);
  }

  /// Makes durable what has been written.
  public void force() {
    file.force();
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
}
