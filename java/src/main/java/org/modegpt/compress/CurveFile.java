package org.modegpt.compress;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.io.AtomicFile;

/// Removal curves kept beside a statistics file as `<statistics>.curves.json`, so that every later
/// ratio starts from them. Each entry states what it was measured with; curves of other statistics,
/// text or decompositions are not used.
public record CurveFile(List<Entry> entries) {

  /// What curves depend on.
  ///
  /// @param statistics the metadata of the statistics: model, text and sequences
  /// @param probe hash of the probe's tokens
  public record Key(
      Map<String, String> statistics,
      AllocationRule source,
      QueryKeyRule queryKey,
      ValueOutputRule valueOutput,
      MlpRule mlp,
      double ridge,
      String probe) {}

  /// @param curves per layer: query/key, value/output, MLP
  public record Entry(Key key, List<RemovalCurve> curves) {}

  public CurveFile {
    entries = List.copyOf(entries);
  }

  /// The file that belongs to a statistics file.
  public static Path beside(Path statistics) {
    return statistics.resolveSibling(statistics.getFileName() + ".curves.json");
  }

  /// The curves of `key`, or null when they have not been measured.
  static @Nullable List<RemovalCurve> find(Path file, Key key) {
    return read(file).entries.stream()
        .filter(entry -> entry.key.equals(key))
        .map(Entry::curves)
        .findFirst()
        .orElse(null);
  }

  /// Adds curves to the file.
  static synchronized void add(Path file, Key key, List<RemovalCurve> curves) {
    List<Entry> entries = new ArrayList<>(read(file).entries);
    entries.removeIf(entry -> entry.key.equals(key));
    entries.add(new Entry(key, curves));
    AtomicFile.write(
        file, RecordJson.write(new CurveFile(entries)).getBytes(StandardCharsets.UTF_8));
  }

  private static CurveFile read(Path file) {
    if (!Files.exists(file)) {
      return new CurveFile(List.of());
    }
    try {
      return RecordJson.read(Files.readString(file), file.toString(), CurveFile.class);
    } catch (IOException e) {
      throw new UserException("cannot read " + file + ": " + e.getMessage(), e);
    }
  }
}
