package org.modegpt.io;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.modegpt.UserException;

/// A whole file mapped read-only until it is closed.
final class MappedFile implements AutoCloseable {
  private final Path path;
  private final Arena arena;
  private final MemorySegment bytes;

  @SuppressWarnings("MustBeClosedChecker") // this object owns the arena
  MappedFile(Path path) {
    this.path = path;
    this.arena = Arena.ofShared();
    boolean mapped = false;
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      this.bytes = channel.map(MapMode.READ_ONLY, 0, channel.size(), arena);
      mapped = true;
    } catch (IOException e) {
      throw Files.isDirectory(path)
          ? new UserException("cannot read " + path + ": it is a folder, not a file")
          : IoErrors.reading(path, e);
    } finally {
      if (!mapped) {
        arena.close();
      }
    }
  }

  Path path() {
    return path;
  }

  MemorySegment bytes() {
    return bytes;
  }

  @Override
  public void close() {
    if (arena.scope().isAlive()) {
      arena.close();
    }
  }
}
