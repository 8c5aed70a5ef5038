package org.modegpt.io;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.OpenOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.stream.LongStream;
import org.modegpt.UserException;

/// A file that appears under its name only when it is complete and on disk: it is written as
/// `NAME.tmp` beside it, synchronised and renamed. Closing without {@link #commit()} removes it;
/// what a killed program left is overwritten by the next. {@link #goOn} instead keeps what was
/// written.
public final class AtomicFile implements AutoCloseable {
  private static final int CHUNK = 1 << 26;

  /// What one thread copies of a large piece at a time, see {@link #copy}.
  private static final long PART = 1 << 22;

  private final Path target;
  private final Path temporary;
  private final boolean stays;
  private final boolean inMemory;
  private final FileChannel channel;
  private boolean committed;

  /// Opens `NAME.tmp` for writing, after checking that `bytes` fit on the disk.
  ///
  /// @throws UserException if the folder is missing, not writable or too full
  public AtomicFile(Path target, long bytes) {
    this(
        target,
        target.resolveSibling(target.getFileName() + ".tmp"),
        false,
        bytes,
        StandardOpenOption.TRUNCATE_EXISTING);
  }

  private AtomicFile(Path target, Path temporary, boolean stays, long bytes, OpenOption... more) {
    this.target = target;
    this.temporary = temporary;
    this.stays = stays;
    try {
      if (Files.isDirectory(target)) {
        throw new UserException("cannot write %s: it is a folder".formatted(target));
      }
      Path folder = temporary.toAbsolutePath().getParent();
      requireSpace(folder, bytes, target);
      this.inMemory = Files.getFileStore(folder).type().equals("tmpfs");
      Set<OpenOption> options = new HashSet<>(List.of(more));
      options.add(StandardOpenOption.CREATE);
      options.add(StandardOpenOption.READ);
      options.add(StandardOpenOption.WRITE);
      this.channel = FileChannel.open(temporary, options);
    } catch (IOException e) {
      throw IoErrors.writing(target, e);
    }
  }

  /// Opens a file that is written over several runs of the program: what `temporary` (on the same
  /// file system) holds is kept, when it is opened and when it is closed without a commit.
  ///
  /// @param size of the whole file, which it has at once
  /// @param missing bytes that are still to be written, and must fit on the disk
  static AtomicFile goOn(Path target, Path temporary, long size, long missing) {
    AtomicFile file = new AtomicFile(target, temporary, true, missing);
    try {
      if (file.channel.size() < size) {
        file.write(size - 1, ByteBuffer.allocate(1));
      }
      return file;
    } catch (IOException e) {
      file.close();
      throw IoErrors.writing(target, e);
    }
  }

  /// Writes a small file in one go.
  public static void write(Path target, byte[] content) {
    try (AtomicFile file = new AtomicFile(target, content.length)) {
      file.write(0, ByteBuffer.wrap(content));
      file.commit();
    }
  }

  /// Fails early, before hours of work, when `bytes` for `target` will not fit into the folder.
  public static void requireSpace(Path folder, long bytes, Path target) {
    long free;
    try {
      free = Files.getFileStore(folder).getUsableSpace();
    } catch (IOException e) {
      throw IoErrors.writing(target, e);
    }
    if (free < bytes) {
      throw new UserException(
          "cannot write %s: it takes %s and %s are free in %s; free some space or choose another output folder"
              .formatted(target, ByteSize.format(bytes), ByteSize.format(free), folder));
    }
  }

  /// Writes `bytes` at an offset; offsets may come in any order and from several threads.
  public void write(long offset, MemorySegment bytes) {
    if (inMemory && bytes.byteSize() > PART && bytes.isAccessibleBy(new Thread())) {
      copy(offset, bytes);
      return;
    }
    for (long at = 0; at < bytes.byteSize(); at += CHUNK) {
      write(offset + at, bytes.asSlice(at, Math.min(CHUNK, bytes.byteSize() - at)).asByteBuffer());
    }
  }

  /// Writing to a file in memory takes its pages one by one under the file's lock, which is no
  /// faster with several threads. Through a mapping all threads fill pages side by side.
  private void copy(long offset, MemorySegment bytes) {
    long size = bytes.byteSize();
    requireSpace(temporary.toAbsolutePath().getParent(), size, target);
    try (Arena arena = Arena.ofShared()) {
      MemorySegment place = channel.map(FileChannel.MapMode.READ_WRITE, offset, size, arena);
      LongStream.range(0, Math.ceilDiv(size, PART))
          .parallel()
          .map(i -> i * PART)
          .forEach(at -> MemorySegment.copy(bytes, at, place, at, Math.min(PART, size - at)));
    } catch (IOException e) {
      throw IoErrors.writing(target, e);
    } catch (InternalError e) { // a page for which there was no room
      throw IoErrors.writing(target, new IOException("No space left on device", e));
    }
  }

  public void write(long offset, ByteBuffer bytes) {
    long at = offset;
    try {
      while (bytes.hasRemaining()) {
        at += channel.write(bytes, at);
      }
    } catch (IOException e) {
      throw IoErrors.writing(target, e);
    }
  }

  /// Makes durable what has been written.
  void force() {
    try {
      channel.force(false);
    } catch (IOException e) {
      throw IoErrors.writing(target, e);
    }
  }

  /// Makes the file durable and visible under its name, replacing what was there.
  public void commit() {
    try {
      channel.force(true);
      channel.close();
      Files.move(
          temporary, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      committed = true;
      syncFolder(target.toAbsolutePath().getParent());
    } catch (IOException e) {
      throw IoErrors.writing(target, e);
    }
  }

  /// Makes renames inside a folder durable. Windows has no such operation and needs none.
  static void syncFolder(Path folder) throws IOException {
    if (!System.getProperty("os.name").toLowerCase(Locale.ROOT).startsWith("windows")) {
      try (FileChannel directory = FileChannel.open(folder, StandardOpenOption.READ)) {
        directory.force(true);
      }
    }
  }

  @Override
  public void close() {
    if (!committed) {
      try {
        channel.close();
        if (!stays) {
          Files.deleteIfExists(temporary);
        }
      } catch (IOException e) {
        throw IoErrors.writing(temporary, e);
      }
    }
  }
}
