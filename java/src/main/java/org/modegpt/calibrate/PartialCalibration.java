package org.modegpt.calibrate;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.io.AtomicFile;
import org.modegpt.io.SafetensorsFile;
import org.modegpt.io.SafetensorsWriter;
import org.modegpt.io.TensorInfo;
import org.modegpt.model.Background;
import org.modegpt.model.ModelConfig;
import org.modegpt.model.StreamingPass;
import org.modegpt.tensor.Tensor;

/// The folder `<output>.partial` of a calibration in progress: the file that is being made, a mark
/// for each layer that is in it, and now and then the residual stream, so that a killed run loses
/// little. One process at a time, guarded by a file lock.
final class PartialCalibration implements AutoCloseable {
  /// The residual stream is large; writing it may take at most this share of the time.
  private static final double CHECKPOINT_SHARE = 0.05;

  private static final long MIN_CHECKPOINT_NANOS = 10_000_000_000L;

  /// Rows of the residual stream that pass through the host together.
  private static final long CHECKPOINT_ROWS = 4096;

  private static final String NEXT_LAYER = "next_layer";
  private static final String LOCK = "lock";

  private final Path folder;
  private final Map<String, String> metadata;
  private final FileChannel lockFile;
  private final SafetensorsWriter writer;
  private long lastCheckpoint = System.nanoTime();
  private long checkpointCost;

  private PartialCalibration(
      Path output,
      Path folder,
      Map<String, String> metadata,
      FileChannel lockFile,
      ModelConfig config) {
    this.folder = folder;
    this.metadata = metadata;
    this.lockFile = lockFile;
    List<TensorInfo> declarations =
        StatisticsFile.declarations(
            config, Boolean.parseBoolean(metadata.get(Statistics.GRADIENTS)));
    dropForeignFiles(declarations);
    List<String> there = new ArrayList<>();
    for (int layer = 0; layer < config.layers(); layer++) {
      if (has(layer)) {
        String prefix = StatisticsFile.prefix(layer);
        declarations.stream()
            .map(TensorInfo::name)
            .filter(name -> name.startsWith(prefix))
            .forEach(there::add);
      }
    }
    this.writer = SafetensorsWriter.goOn(output, sumsFile(folder), metadata, declarations, there);
  }

  /// Opens or creates the folder. What is there from another model, text or seed is thrown away.
  @SuppressWarnings("MustBeClosedChecker") // the instance closes the lock's file
  static PartialCalibration open(Path output, Map<String, String> metadata, ModelConfig config) {
    if (Files.exists(output)) {
      throw new UserException(output + " exists already; remove it or name another file");
    }
    Path folder = output.resolveSibling(output.getFileName() + ".partial");
    FileChannel channel;
    try {
      Files.createDirectories(folder);
      channel =
          FileChannel.open(
              folder.resolve(LOCK), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
      lock(channel, folder);
    } catch (IOException e) {
      throw new UserException("cannot write to " + folder + ": " + e.getMessage(), e);
    }
    try {
      return new PartialCalibration(output, folder, metadata, channel, config);
    } catch (RuntimeException e) {
      release(channel, folder);
      if (!Files.exists(sumsFile(folder))) {
        discard(folder);
      }
      throw e;
    }
  }

  private static void lock(FileChannel channel, Path folder) throws IOException {
    FileLock lock;
    try {
      lock = channel.tryLock();
    } catch (OverlappingFileLockException e) {
      lock = null;
    }
    if (lock == null) {
      channel.close();
      throw new UserException(
          "another run is calibrating into " + folder + "; wait for it or name another output");
    }
  }

  private void dropForeignFiles(List<TensorInfo> declarations) {
    if (belongs(declarations)) {
      return;
    }
    try (Stream<Path> files = Files.list(folder)) {
      for (Path file : files.filter(f -> !f.endsWith(LOCK)).toList()) {
        Files.delete(file);
      }
    } catch (IOException e) {
      throw new UserException("cannot write to " + folder + ": " + e.getMessage(), e);
    }
  }

  /// Whether the file of sums is one that this run goes on with; what is beside it then is, too.
  private boolean belongs(List<TensorInfo> declarations) {
    if (!Files.exists(sumsFile(folder))) {
      return false;
    }
    try (SafetensorsFile file = SafetensorsFile.open(sumsFile(folder))) {
      return file.metadata().entrySet().containsAll(metadata.entrySet())
          && Set.copyOf(StatisticsFile.declarations(file)).equals(Set.copyOf(declarations));
    } catch (UserException damaged) {
      return false; // killed before it was begun as a whole
    }
  }

  private static Path sumsFile(Path folder) {
    return folder.resolve("statistics.safetensors");
  }

  /// There when the layer is in the file of sums, and on disk.
  private Path mark(int layer) {
    return folder.resolve("layer-%04d".formatted(layer));
  }

  private Path streamFile() {
    return folder.resolve("stream.safetensors");
  }

  boolean has(int layer) {
    return Files.exists(mark(layer));
  }

  void save(int layer, LayerStatistics statistics, Background.Downloads downloads) {
    try (Arena arena = Arena.ofShared()) {
      StatisticsFile.write(writer, layer, statistics, downloads, arena);
    }
    writer.force();
    AtomicFile.write(mark(layer), new byte[0]);
  }

  /// Fills the stream from the last checkpoint and returns the layer to go on with, 0 when there is
  /// none.
  int restore(Backend backend, StreamingPass pass) {
    if (!Files.exists(streamFile())) {
      return 0;
    }
    try (SafetensorsFile file = SafetensorsFile.open(streamFile());
        Arena arena = Arena.ofShared()) {
      backend.copy(file.get("stream", arena), pass.stream());
      backend.sync();
      return Integer.parseInt(file.metadata().get(NEXT_LAYER));
    }
  }

  /// Whether the last checkpoint is long enough ago for what it costs.
  boolean wantsCheckpoint() {
    double wait = Math.max(MIN_CHECKPOINT_NANOS, checkpointCost / CHECKPOINT_SHARE);
    return System.nanoTime() - lastCheckpoint >= wait;
  }

  /// Writes the stream before layer `next`; all layers before it are saved.
  void checkpoint(Tensor stream, int next, Background.Downloads downloads) {
    long start = System.nanoTime();
    Map<String, String> described = new LinkedHashMap<>(metadata);
    described.put(NEXT_LAYER, Integer.toString(next));
    try (SafetensorsWriter file =
        SafetensorsWriter.create(
            streamFile(), described, List.of(TensorInfo.of("stream", stream)))) {
      SafetensorsWriter.Pieces pieces = file.pieces("stream");
      for (long from = 0; from < stream.rows(); from += CHECKPOINT_ROWS) {
        long to = Math.min(stream.rows(), from + CHECKPOINT_ROWS);
        pieces.write(from * stream.cols(), downloads.host(stream.rows(from, to)));
      }
      file.commit();
    }
    lastCheckpoint = System.nanoTime();
    checkpointCost = lastCheckpoint - start;
  }

  /// Makes the file appear and removes the folder.
  void finish() {
    writer.commit();
    discard();
  }

  /// Removes the folder: there is nothing to go on with.
  void discard() {
    discard(folder);
  }

  private static void discard(Path folder) {
    try (Stream<Path> files = Files.list(folder)) {
      for (Path file : files.toList()) {
        Files.delete(file);
      }
      Files.delete(folder);
    } catch (IOException e) {
      throw new UserException("cannot remove " + folder + ": " + e.getMessage(), e);
    }
  }

  @Override
  public void close() {
    try {
      writer.close();
    } finally {
      release(lockFile, folder);
    }
  }

  private static void release(FileChannel lockFile, Path folder) {
    try {
      lockFile.close();
    } catch (IOException e) {
      throw new UserException("cannot release the lock in " + folder + ": " + e.getMessage(), e);
    }
  }
}
