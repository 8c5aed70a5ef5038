package org.modegpt.calibrate;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.LongStream;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Bands;
import org.modegpt.io.SafetensorsFile;
import org.modegpt.io.SafetensorsWriter;
import org.modegpt.io.TensorInfo;
import org.modegpt.model.Ahead;
import org.modegpt.model.Background;
import org.modegpt.model.ModelConfig;
import org.modegpt.model.Residents;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// {@link Statistics} mapped from a safetensors file. Tensors are named `layers.<i>.<sum>` after
/// {@link LayerStatistics#named}; the two large Gram matrices are stored as packed lower triangles
/// (row 0, row 1, …). Thread-safe.
final class StatisticsFile extends Statistics {
  /// A large matrix passes through the host in so many bands of rows.
  private static final int BANDS = 16;

  private final SafetensorsFile file;

  private StatisticsFile(Path path, SafetensorsFile file) {
    super(path, file.metadata());
    this.file = file;
  }

  static StatisticsFile map(Path path) {
    SafetensorsFile file = SafetensorsFile.open(path);
    try {
      if (!FORMAT_VERSION.equals(file.metadata().get(FORMAT))) {
        throw new UserException(
            path + " is no statistics file of this program; make one with: modegpt calibrate");
      }
      return new StatisticsFile(path, file);
    } catch (RuntimeException e) {
      file.close();
      throw e;
    }
  }

  /// In host memory, lower triangles unpacked.
  @Override
  public LayerStatistics layer(int index, Arena arena) {
    return layer(
        index,
        arena,
        (stored, packed) -> {
          if (!packed) {
            return stored;
          }
          long size = size(stored);
          Tensor square = Tensor.allocate(arena, DType.F64, size, size);
          unpack(stored, square, 0);
          return square;
        });
  }

  @Override
  public Ahead<LayerStatistics> ahead(Backend backend) {
    return new Ahead<>(
        backend,
        backend.sideStream(),
        layers(),
        (by, arena, index) ->
            backend.unifiedMemory() ? layer(index, arena) : upload(by, arena, index));
  }

  /// On a device with memory of its own. Large matrices pass through pinned memory of the host,
  /// some rows at a time.
  private LayerStatistics upload(Backend backend, Arena arena, int index) {
    try (Arena call = Arena.ofShared()) {
      return layer(
          index,
          arena,
          (stored, packed) -> {
            if (!packed) {
              return Residents.upload(backend, arena, stored);
            }
            long size = size(stored);
            long most = Math.ceilDiv(size, BANDS);
            MemorySegment stage = backend.hostMemory(call, DType.F64.bytes(most * size));
            Tensor square = backend.allocate(arena, DType.F64, size, size);
            Bands.each(
                size,
                BANDS,
                (from, to) -> {
                  Tensor band = Tensor.host(DType.F64, to - from, size, stage);
                  unpack(stored, band, from);
                  rows(from, to)
                      .forEach(i ->
                          band.rows(i - from, i - from + 1)
                              .columns(i + 1, size)
                              .asBytes()
                              .fill((byte) 0));
                  backend.copy(band, square.rows(from, to));
                  backend.sync();
                });
            return square;
          });
    }
  }

  /// What becomes of a stored sum.
  private interface Reading {
    Tensor of(Tensor stored, boolean packed);
  }

  private LayerStatistics layer(int index, Arena arena, Reading reading) {
    Map<String, Tensor> named = new LinkedHashMap<>();
    for (String name : names(index)) {
      String sum = name.substring(name.lastIndexOf('.') + 1);
      boolean packed = LayerStatistics.TRIANGLES.contains(sum);
      named.put(sum, reading.of(file.get(name, arena), packed));
    }
    return LayerStatistics.of(named);
  }

  private List<String> names(int layer) {
    String prefix = prefix(layer);
    return file.names().stream().filter(n -> n.startsWith(prefix)).toList();
  }

  @Override
  public double[] blockInfluence() {
    double[] influence = new double[layers()];
    try (Arena arena = Arena.ofConfined()) {
      for (int i = 0; i < layers(); i++) {
        Tensor sums = file.get(prefix(i) + "influence", arena);
        influence[i] = 1 - sums.get(0, 0) / sums.get(0, 2);
      }
    }
    return influence;
  }

  /// Writes the sum of several files of one model to `output`.
  static void add(List<Path> inputs, Path output) {
    List<StatisticsFile> parts = new ArrayList<>();
    try {
      inputs.forEach(p -> parts.add(map(p)));
      StatisticsFile first = parts.getFirst();
      Map<String, String> metadata = new LinkedHashMap<>(first.metadata());
      for (StatisticsFile part : parts.subList(1, parts.size())) {
        if (part.layers() != first.layers()
            || !part.metadata().get(MODEL_HASH).equals(metadata.get(MODEL_HASH))) {
          throw new UserException(
              part.path() + " holds statistics of another model than " + first.path());
        }
        if (part.hasGradients() != first.hasGradients()) {
          throw new UserException(
              "of %s and %s only one holds gradients; calibrate the other again"
                  .formatted(first.path(), part.path()));
        }
        part.metadata().forEach((k, v) -> metadata.merge(k, v, (a, b) -> joined(k, a, b)));
      }
      try (SafetensorsWriter writer =
          SafetensorsWriter.create(output, metadata, declarations(first.file))) {
        for (String name : first.file.names()) {
          writeSum(writer, parts, name);
        }
        writer.commit();
      }
    } finally {
      parts.forEach(StatisticsFile::close);
    }
  }

  static List<TensorInfo> declarations(SafetensorsFile file) {
    return file.names().stream().map(file::info).toList();
  }

  private static String joined(String key, String a, String b) {
    return switch (key) {
      case "sequences" -> Long.toString(Long.parseLong(a) + Long.parseLong(b));
      default -> a.equals(b) ? a : a + "+" + b;
    };
  }

  private static void writeSum(SafetensorsWriter writer, List<StatisticsFile> parts, String name) {
    try (Arena arena = Arena.ofConfined()) {
      Tensor first = parts.getFirst().file.get(name, arena);
      Tensor sum = Tensor.allocate(arena, DType.F64, first.rows(), first.cols());
      for (StatisticsFile part : parts) {
        Tensor addend = part.file.get(name, arena);
        for (long i = 0; i < sum.rows(); i++) {
          for (long j = 0; j < sum.cols(); j++) {
            sum.set(i, j, sum.get(i, j) + addend.get(i, j));
          }
        }
      }
      writer.write(name, sum);
    }
  }

  static String prefix(int layer) {
    return LAYERS + "." + layer + ".";
  }

  /// The tensors of a model's statistics as they are stored.
  static List<TensorInfo> declarations(ModelConfig config, boolean gradients) {
    List<TensorInfo> declarations = new ArrayList<>();
    for (int layer = 0; layer < config.layers(); layer++) {
      String prefix = prefix(layer);
      LayerStatistics.sizes(config, layer, gradients)
          .forEach((sum, size) -> {
            boolean triangle = LayerStatistics.TRIANGLES.contains(sum);
            long rows = triangle ? 1 : size.rows();
            long cols = triangle ? packed(size.rows()) : size.cols();
            declarations.add(TensorInfo.of(prefix + sum, DType.F64, rows, cols));
          });
    }
    return declarations;
  }

  /// Elements of the first `rows` rows of a lower triangle.
  private static long packed(long rows) {
    return rows * (rows + 1) / 2;
  }

  /// Writes the sums of a layer.
  ///
  /// @param arena for memory of the host
  static void write(
      SafetensorsWriter writer,
      int layer,
      LayerStatistics statistics,
      Background.Downloads downloads,
      Arena arena) {
    statistics
        .named()
        .forEach((sum, tensor) -> {
          String name = prefix(layer) + sum;
          if (LayerStatistics.TRIANGLES.contains(sum)) {
            writeTriangle(writer.pieces(name), tensor, downloads, arena);
          } else {
            writer.write(name, downloads.host(tensor));
          }
        });
  }

  /// Some rows at a time, which bounds the memory of the host.
  private static void writeTriangle(
      SafetensorsWriter.Pieces pieces, Tensor square, Background.Downloads downloads, Arena arena) {
    long size = square.rows();
    Tensor memory = Tensor.allocate(arena, DType.F64, 1, Math.ceilDiv(size, BANDS) * size);
    Bands.each(
        size,
        BANDS,
        (from, to) -> {
          Tensor band = downloads.host(square.rows(from, to).columns(0, to));
          Tensor piece = memory.columns(0, packed(to) - packed(from));
          rows(from, to)
              .forEach(i ->
                  piece
                      .columns(packed(i) - packed(from), packed(i + 1) - packed(from))
                      .copyFrom(band.rows(i - from, i - from + 1).columns(0, i + 1)));
          pieces.write(packed(from), piece);
        });
  }

  /// Rows `from` (inclusive) to `to` (exclusive), from several threads.
  private static LongStream rows(long from, long to) {
    return LongStream.range(from, to).parallel();
  }

  /// Rows of the matrix whose lower triangle is stored.
  private static long size(Tensor packed) {
    return (long) ((Math.sqrt(8.0 * packed.cols() + 1) - 1) / 2);
  }

  /// Fills rows up to the diagonal, the first of which is row `from` of the matrix.
  private static void unpack(Tensor packed, Tensor band, long from) {
    rows(from, from + band.rows())
        .forEach(i ->
            band.rows(i - from, i - from + 1)
                .columns(0, i + 1)
                .copyFrom(packed.columns(packed(i), packed(i + 1))));
  }

  @Override
  public void close() {
    file.close();
  }
}
