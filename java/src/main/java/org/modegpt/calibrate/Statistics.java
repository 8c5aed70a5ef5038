package org.modegpt.calibrate;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.model.Ahead;
import org.modegpt.model.Transformer;

/// Calibration statistics of a whole model, in a file or resident in the memory of a device. All
/// are F64 sums, so those of the same model add up. Close it when no layer is being read.
public abstract sealed class Statistics implements AutoCloseable
    permits StatisticsFile, ResidentStatistics {
  static final String FORMAT = "modegpt.statistics";
  static final String FORMAT_VERSION = "1";
  static final String MODEL_HASH = "model_sha256";
  static final String LAYERS = "layers";
  static final String GRADIENTS = "gradients";

  private final Path path;
  private final Map<String, String> metadata;
  private final int layers;

  Statistics(Path path, Map<String, String> metadata) {
    this.path = path;
    this.metadata = Map.copyOf(metadata);
    this.layers = Integer.parseInt(metadata.getOrDefault(LAYERS, "0"));
  }

  /// Maps a file.
  public static Statistics open(Path path) {
    return StatisticsFile.map(path);
  }

  /// Writes the sum of several files of one model to `output`.
  public static void merge(List<Path> inputs, Path output) {
    StatisticsFile.add(inputs, output);
  }

  /// The file, or where it would be.
  public Path path() {
    return path;
  }

  /// Whether there is a file, so that what is derived from it can be kept beside.
  public boolean inFile() {
    return this instanceof StatisticsFile;
  }

  /// Text hash, source, number and length of sequences, seed, model hash.
  public Map<String, String> metadata() {
    return metadata;
  }

  public int layers() {
    return layers;
  }

  /// @throws UserException when these statistics were taken from another model
  public void requireModel(Transformer model) {
    String hash = model.directory().hash();
    if (layers != model.config().layers() || !hash.equals(metadata.get(MODEL_HASH))) {
      throw new UserException(
          path
              + " holds statistics of another model than "
              + model.directory().path()
              + "; calibrate this one with: modegpt calibrate");
    }
  }

  /// Whether sums of gradients are among them.
  public boolean hasGradients() {
    return Boolean.parseBoolean(metadata.get(GRADIENTS));
  }

  /// Statistics of one layer, on the host or on the device they are resident on; they live as long
  /// as `arena`, a shared one, or longer.
  public abstract LayerStatistics layer(int index, Arena arena);

  /// The statistics of layers on the device of `backend`, one after another. They must stay open
  /// meanwhile.
  public abstract Ahead<LayerStatistics> ahead(Backend backend);

  /// Block influence of every layer.
  public abstract double[] blockInfluence();

  @Override
  public abstract void close();
}
