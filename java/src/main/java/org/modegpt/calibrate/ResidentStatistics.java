package org.modegpt.calibrate;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.modegpt.backend.Backend;
import org.modegpt.model.ModelConfig;
import org.modegpt.model.Residents;

/// {@link Statistics} that stay on the device they were gathered on, owned until closed. For use
/// with that back-end only.
final class ResidentStatistics extends Statistics {
  private final Backend backend;
  private final Arena arena;
  private final List<LayerStatistics> sums;

  /// @param arena owns `sums`; closed with this
  ResidentStatistics(
      Path path,
      Map<String, String> metadata,
      Backend backend,
      Arena arena,
      List<LayerStatistics> sums) {
    super(path, metadata);
    this.backend = backend;
    this.arena = arena;
    this.sums = List.copyOf(sums);
  }

  /// Bytes of the sums of all layers.
  static long bytes(ModelConfig config) {
    long d = config.hiddenSize();
    long f = config.mlpWidth();
    long h = config.headDim();
    long heads = 2 * (long) config.heads() * h * h;
    return 8L * config.layers() * (d * d + f * f + heads);
  }

  @Override
  public LayerStatistics layer(int index, Arena unused) {
    return sums.get(index);
  }

  @Override
  public double[] blockInfluence() {
    return sums.stream()
        .mapToDouble(layer -> {
          double[] influence = Residents.doubles(backend, layer.influence());
          return 1 - influence[0] / influence[2];
        })
        .toArray();
  }

  @Override
  public void close() {
    backend.sync();
    arena.close();
  }
}
