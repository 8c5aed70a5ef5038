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
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.io.SafetensorsFile;
import org.modegpt.io.SafetensorsWriter;
import org.modegpt.io.TensorInfo;
import org.modegpt.model.Residents;
import org.modegpt.model.StreamingPass;
import org.modegpt.tensor.Tensor;

/// The folder `<output>.partial` of a calibration in progress: a file of statistics per finished
/// layer and now and then the residual stream, so that a killed run loses little. One process at a
/// time, guarded by a file lock.
final class PartialCalibration implements AutoCloseable {
  /// The residual stream is large; writing it may take at most this share of the time.
  private static final double CHECKPOINT_SHARE = 0.05;

  private static final long MIN_CHECKPOINT_NANOS = 10_000_000_000L;

  private static final String NEXT_LAYER = "next_layer";

  private final Path output;
  private final Path folder;
  private final Map<String, String> metadata;
  private final FileChannel lockFile;
  private long lastCheckpoint = System.nanoTime();
  private long checkpointCost;

  private PartialCalibration(
      Path output, Path folder, Map<String, String> metadata, FileChannel lockFile) {
    this.output = output;
    this.folder = folder;
    this.metadata = metadata;
    this.lockFile = lockFile;
  }

  /// Opens or creates the folder. What is there from another model, text or seed is thrown away.
  static PartialCalibration open(Path output, Map<String, String> metadata) {
    if (Files.exists(output)) {
      throw new UserException(output + " exists already; remove it or name another file");
    }
    Path folder = output.resolveSibling(output.getFileName() + ".partial");
    try {
      Files.createDirectories(folder);
      FileChannel channel =
          FileChannel.open(
              folder.resolve("lock"), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
      lock(channel, folder);
      PartialCalibration partial = new PartialCalibration(output, folder, metadata, channel);
      partial.dropForeignFiles();
      return partial;
    } catch (IOException e) {
      throw new UserException("cannot write to " + folder + ": " + e.getMessage(), e);
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

  private void dropForeignFiles() throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      for (Path file : files.toList()) {
        if (!file.getFileName().toString().equals("lock") && !belongs(file)) {
          Files.delete(file);
        }
      }
    }
  }

  private boolean belongs(Path file) {
    if (!file.getFileName().toString().endsWith(".safetensors")) {
      return false;
    }
    try (SafetensorsFile part = SafetensorsFile.open(file)) {
      return metadata.entrySet().stream()
          .allMatch(e -> e.getValue().equals(part.metadata().get(e.getKey())));
    } catch (UserException damaged) {
      return false; // It is made again: files appear under their final name only when complete.
    }
  }

  private Path layerFile(int layer) {
    return folder.resolve("layer-%04d.safetensors".formatted(layer));
  }

  private Path streamFile() {
    return folder.resolve("stream.safetensors");
  }

  boolean has(int layer) {
    return Files.exists(layerFile(layer));
  }

  void save(int layer, LayerStatistics statistics) {
    try (Arena arena = Arena.ofConfined()) {
      write(layerFile(layer), metadata, StatisticsFile.stored(layer, statistics, arena));
    }
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

  /// Writes the stream before layer `next`, if the last time is long enough ago for what it costs.
  void checkpoint(Backend backend, StreamingPass pass, int next) {
    long now = System.nanoTime();
    if (now - lastCheckpoint
        < Math.max(MIN_CHECKPOINT_NANOS, (long) (checkpointCost / CHECKPOINT_SHARE))) {
      return;
    }
    try (Arena arena = Arena.ofShared()) {
      Map<String, String> described = new java.util.LinkedHashMap<>(metadata);
      described.put(NEXT_LAYER, Integer.toString(next));
      write(
          streamFile(),
          described,
          Map.of("stream", Residents.download(backend, arena, pass.stream())));
    }
    lastCheckpoint = System.nanoTime();
    checkpointCost = lastCheckpoint - now;
  }

  /// Joins the layers to the output file and removes the folder.
  void finish(int layers) {
    List<SafetensorsFile> parts = new ArrayList<>();
    try {
      List<TensorInfo> declarations = new ArrayList<>();
      for (int layer = 0; layer < layers; layer++) {
        SafetensorsFile part = SafetensorsFile.open(layerFile(layer));
        parts.add(part);
        declarations.addAll(StatisticsFile.declarations(part));
      }
      try (SafetensorsWriter writer = SafetensorsWriter.create(output, metadata, declarations);
          Arena arena = Arena.ofConfined()) {
        for (SafetensorsFile part : parts) {
          part.names().forEach(n -> writer.write(n, part.get(n, arena)));
        }
        writer.commit();
      }
    } finally {
      parts.forEach(SafetensorsFile::close);
    }
    discard();
  }

  /// Removes the folder: there is nothing to go on with.
  void discard() {
    try (Stream<Path> files = Files.list(folder)) {
      for (Path file : files.toList()) {
        Files.delete(file);
      }
      Files.delete(folder);
    } catch (IOException e) {
      throw new UserException("cannot remove " + folder + ": " + e.getMessage(), e);
    }
  }

  private static void write(Path path, Map<String, String> metadata, Map<String, Tensor> tensors) {
    List<TensorInfo> declarations =
        tensors.entrySet().stream().map(e -> TensorInfo.of(e.getKey(), e.getValue())).toList();
    try (SafetensorsWriter writer = SafetensorsWriter.create(path, metadata, declarations)) {
      tensors.forEach(writer::write);
      writer.commit();
    }
  }

  @Override
  public void close() {
    try {
      lockFile.close();
    } catch (IOException e) {
      throw new UserException("cannot release the lock in " + folder + ": " + e.getMessage(), e);
    }
  }
}
