package org.modegpt.io;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import tools.jackson.databind.JsonNode;

/// Writes a model folder that appears only when it is complete: everything goes to
/// `OUT.modegpt-tmp` beside it, is synchronised to disk, and is renamed to `OUT`. Closing without
/// {@link #commit()} leaves nothing. What a killed program left is removed (or, between the two
/// renames of an overwrite, put back) by the next writer of the same folder; two programs at a time
/// are refused.
///
/// Not thread-safe, but the {@link CheckpointWriter} it hands out is.
public final class ModelWriter implements AutoCloseable {
  private static final String LOCK = ".lock";

  private final Path out;
  private final Path temporary;
  private final Path replaced;
  private final boolean overwrite;
  private final List<Path> madeParents = new ArrayList<>();
  private @Nullable FileChannel lock;
  private @Nullable CheckpointWriter tensors;
  private boolean committed;

  /// Starts a folder.
  ///
  /// @param overwrite whether an existing model folder may be replaced; it stays as it is until the
  ///   new one is complete
  /// @throws UserException if `out` exists and may not be replaced, or its place cannot be written
  public ModelWriter(Path out, boolean overwrite) {
    this.out = out.toAbsolutePath().normalize();
    Path name = this.out.getFileName();
    if (name == null) {
      throw new UserException("cannot write a model to %s: name a folder".formatted(out));
    }
    this.temporary = this.out.resolveSibling(name + ".modegpt-tmp");
    this.replaced = this.out.resolveSibling(name + ".modegpt-old");
    this.overwrite = overwrite;
    boolean started = false;
    try {
      requireFree();
      makeParents(this.out.getParent());
      if (Files.exists(temporary)) {
        takeLock();
        delete(temporary, temporary.resolve(LOCK));
      } else {
        Files.createDirectory(temporary);
        takeLock();
      }
      finishInterruptedReplacement();
      started = true;
    } catch (IOException e) {
      throw IoErrors.writing(out, e);
    } finally {
      if (!started) {
        close();
      }
    }
  }

  private void requireFree() {
    if (Files.exists(out, LinkOption.NOFOLLOW_LINKS)) {
      if (!overwrite) {
        throw new UserException(
            "%s exists already: choose another output folder, or say that it may be overwritten"
                .formatted(out));
      }
      if (!Files.isRegularFile(out.resolve("config.json"))) {
        throw new UserException(
            "%s is not a model folder (it has no config.json), so it will not be overwritten"
                .formatted(out));
      }
    }
  }

  private void makeParents(Path folder) throws IOException {
    if (!Files.exists(folder)) {
      makeParents(folder.getParent());
      Files.createDirectory(folder);
      madeParents.addFirst(folder);
    }
  }

  private void takeLock() throws IOException {
    Path file = temporary.resolve(LOCK);
    FileChannel channel =
        FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
    FileLock held;
    try {
      held = channel.tryLock();
    } catch (OverlappingFileLockException _) {
      held = null; // another writer in this program
    }
    if (held == null) {
      channel.close();
      throw new UserException(
          "%s is being written by another run: wait for it or choose another output folder"
              .formatted(out));
    }
    lock = channel;
  }

  /// A run that was killed while it replaced a folder moved the old one aside: the new one is in
  /// place, or the old comes back.
  private void finishInterruptedReplacement() throws IOException {
    if (Files.exists(replaced)) {
      if (Files.exists(out)) {
        delete(replaced, null);
      } else {
        Files.move(replaced, out, StandardCopyOption.ATOMIC_MOVE);
        requireFree();
      }
    }
  }

  /// The temporary folder. Without a commit what is put there goes away, at the latest when the
  /// next writer of the same folder starts.
  public Path folder() {
    return temporary;
  }

  /// Adds a small file.
  public void write(String name, byte[] content) {
    AtomicFile.write(temporary.resolve(name), content);
  }

  public void write(String name, String content) {
    write(name, content.getBytes(StandardCharsets.UTF_8));
  }

  public void write(String name, JsonNode content) {
    write(name, Json.pretty(content));
  }

  /// Starts the weights; they are completed by {@link #commit()}. Once per folder.
  public CheckpointWriter tensors(List<TensorInfo> declarations, long maxShardBytes) {
    if (tensors != null) {
      throw new IllegalStateException("the weights are already being written");
    }
    tensors = new CheckpointWriter(temporary, declarations, maxShardBytes);
    return tensors;
  }

  /// Completes the weights and makes the folder appear under its name.
  public void commit() {
    if (tensors != null) {
      tensors.commit();
    }
    try {
      Files.delete(temporary.resolve(LOCK));
      AtomicFile.syncFolder(temporary);
      requireFree();
      if (Files.exists(out)) {
        Files.move(out, replaced, StandardCopyOption.ATOMIC_MOVE);
      }
      Files.move(temporary, out, StandardCopyOption.ATOMIC_MOVE);
      committed = true;
      AtomicFile.syncFolder(out.getParent());
      if (Files.exists(replaced)) {
        delete(replaced, null);
      }
    } catch (IOException e) {
      throw IoErrors.writing(out, e);
    }
  }

  @Override
  public void close() {
    try {
      if (tensors != null) {
        tensors.close();
      }
      if (lock != null) {
        if (!committed) {
          delete(temporary, null);
        }
        lock.close();
        lock = null;
      }
      if (!committed) {
        removeEmptyParents();
      }
    } catch (IOException e) {
      throw IoErrors.writing(temporary, e);
    }
  }

  private void removeEmptyParents() throws IOException {
    for (Path folder : madeParents) {
      try (Stream<Path> content = Files.list(folder)) {
        if (content.findAny().isPresent()) {
          break; // something else has been written there
        }
      }
      Files.delete(folder);
    }
    madeParents.clear();
  }

  /// Deletes a tree, or all of it but one file in its top folder.
  private static void delete(Path tree, @Nullable Path keep) throws IOException {
    Files.walkFileTree(
        tree,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes)
              throws IOException {
            if (!file.equals(keep)) {
              Files.delete(file);
            }
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult postVisitDirectory(Path folder, @Nullable IOException e)
              throws IOException {
            if (e != null) {
              throw e;
            }
            if (keep == null || !folder.equals(tree)) {
              Files.delete(folder);
            }
            return FileVisitResult.CONTINUE;
          }
        });
  }
}
