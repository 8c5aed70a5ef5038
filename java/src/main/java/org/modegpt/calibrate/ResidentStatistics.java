package org.modegpt.calibrate;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.modegpt.backend.Backend;
import org.modegpt.model.Ahead;
import org.modegpt.model.ModelConfig;
import org.modegpt.model.Residents;
import org.modegpt.tensor.Tensor;

/// {@link Statistics} that stay on the device they were gathered on, owned until closed. For use
/// with that back-end only. Of the large Gram matrices the lower triangles are kept; a layer's are
/// put together again when it is asked for.
final class ResidentStatistics extends Statistics {
  private final Backend backend;
  private final Arena arena = Arena.ofShared();
  private final List<Layer> sums = new ArrayList<>();

  /// Of one layer.
  private record Layer(Map<String, TriangleBands> triangles, Map<String, Tensor> others) {}

  ResidentStatistics(Path path, Map<String, String> metadata, Backend backend) {
    super(path, metadata);
    this.backend = backend;
  }

  /// Adds the sums of the next layer, zero above the diagonals; they are not needed afterwards.
  void add(LayerStatistics layer) {
    Map<String, TriangleBands> triangles = new LinkedHashMap<>();
    Map<String, Tensor> others = new LinkedHashMap<>();
    layer
        .named()
        .forEach((name, sum) -> {
          if (LayerStatistics.TRIANGLES.contains(name)) {
            triangles.put(name, TriangleBands.of(backend, arena, sum));
          } else {
            Tensor copy = backend.allocate(arena, sum.dtype(), sum.rows(), sum.cols());
            backend.copy(sum, copy);
            others.put(name, copy);
          }
        });
    sums.add(new Layer(triangles, others));
  }

  /// Bytes of the sums of all layers, and of the largest layer put together.
  static long bytes(ModelConfig config, boolean gradients) {
    long kept = 0;
    long largest = 0;
    for (int layer = 0; layer < config.layers(); layer++) {
      long whole = 0;
      for (Map.Entry<String, LayerStatistics.Size> sum :
          LayerStatistics.sizes(config, layer, gradients).entrySet()) {
        LayerStatistics.Size size = sum.getValue();
        boolean triangle = LayerStatistics.TRIANGLES.contains(sum.getKey());
        kept += triangle ? TriangleBands.bytes(size.rows()) : size.bytes();
        whole += size.bytes();
      }
      largest = Math.max(largest, whole);
    }
    return kept + largest;
  }

  @Override
  public LayerStatistics layer(int index, Arena owner) {
    Layer layer = sums.get(index);
    Map<String, Tensor> named = new LinkedHashMap<>(layer.others);
    layer.triangles.forEach((name, bands) -> named.put(name, bands.square(backend, owner)));
    return LayerStatistics.of(named);
  }

  @Override
  public Ahead<LayerStatistics> ahead(Backend unused) {
    return new Ahead<>(backend, null, layers(), (_, owner, index) -> layer(index, owner));
  }

  @Override
  public double[] blockInfluence() {
    return sums.stream()
        .mapToDouble(layer -> {
          double[] influence = Residents.doubles(backend, layer.others.get("influence"));
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
