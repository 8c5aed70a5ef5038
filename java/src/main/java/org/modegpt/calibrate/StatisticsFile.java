package org.modegpt.calibrate;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.modegpt.UserException;
import org.modegpt.io.SafetensorsFile;
import org.modegpt.io.SafetensorsWriter;
import org.modegpt.io.TensorInfo;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// {@link Statistics} mapped from a safetensors file. Tensors are named `layers.<i>.<sum>` after
/// {@link LayerStatistics#named}; the two large Gram matrices are stored as packed lower triangles
/// (row 0, row 1, …). Thread-safe.
final class StatisticsFile extends Statistics {
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
    Map<String, Tensor> named = new LinkedHashMap<>();
    for (String name : names(index)) {
      String sum = name.substring(name.lastIndexOf('.') + 1);
      Tensor stored = file.get(name, arena);
      named.put(sum, LayerStatistics.TRIANGLES.contains(sum) ? unpack(stored, arena) : stored);
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

  /// The tensors of one layer as stored: names with prefix, large Gram matrices packed.
  static Map<String, Tensor> stored(int layer, LayerStatistics statistics, Arena arena) {
    Map<String, Tensor> stored = new LinkedHashMap<>();
    statistics
        .named()
        .forEach((sum, t) ->
            stored.put(
                prefix(layer) + sum, LayerStatistics.TRIANGLES.contains(sum) ? pack(t, arena) : t));
    return stored;
  }

  private static Tensor pack(Tensor square, Arena arena) {
    long n = square.rows();
    Tensor packed = Tensor.allocate(arena, DType.F64, 1, n * (n + 1) / 2);
    long at = 0;
    for (long i = 0; i < n; i++) {
      MemorySegment.copy(
          square.data(), i * square.stride() * 8, packed.data(), at * 8, (i + 1) * 8);
      at += i + 1;
    }
    return packed;
  }

  private static Tensor unpack(Tensor packed, Arena arena) {
    long n = (long) ((Math.sqrt(8.0 * packed.cols() + 1) - 1) / 2);
    Tensor square = Tensor.allocate(arena, DType.F64, n, n);
    long at = 0;
    for (long i = 0; i < n; i++) {
      MemorySegment.copy(packed.data(), at * 8, square.data(), i * n * 8, (i + 1) * 8);
      at += i + 1;
    }
    return square;
  }

  @Override
  public void close() {
    file.close();
  }
}
