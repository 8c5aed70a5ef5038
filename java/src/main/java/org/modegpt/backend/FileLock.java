package org.modegpt.backend;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;

/// An exclusive lock between processes and threads by `flock(2)`, which is what Python programs
/// take; {@link java.nio.channels.FileChannel#lock} takes a lock of another kind that they do not
/// see. The lock file stays when the lock is released. Where the file system knows no such locks
/// (some network mounts) it locks nothing, so what it protects must be safe without it.
public final class FileLock implements AutoCloseable {
  private static final int O_RDWR = 2;
  private static final int LOCK_EXCLUSIVE = 2;
  private static final int LOCK_NON_BLOCKING = 4;

  private static final MethodHandle OPEN = bind("open", ADDRESS, JAVA_INT);
  private static final MethodHandle FLOCK = bind("flock", JAVA_INT, JAVA_INT);
  private static final MethodHandle CLOSE = bind("close", JAVA_INT);

  private final int descriptor;

  /// Takes the lock, waiting as long as somebody else has it.
  ///
  /// @param path the lock file, made with its folders where it is missing
  /// @param waiting run once if the lock is not free at once
  public FileLock(Path path, Runnable waiting) throws IOException {
    Files.createDirectories(path.toAbsolutePath().getParent());
    if (!Files.exists(path)) {
      Files.write(path, new byte[0]);
    }
    try (Arena arena = Arena.ofConfined()) {
      descriptor = (int) OPEN.invokeExact(arena.allocateFrom(path.toString()), O_RDWR);
      if (descriptor < 0) {
        throw new IOException("cannot open the lock file " + path);
      }
      if ((int) FLOCK.invokeExact(descriptor, LOCK_EXCLUSIVE | LOCK_NON_BLOCKING) != 0) {
        waiting.run();
        int _ = (int) FLOCK.invokeExact(descriptor, LOCK_EXCLUSIVE);
      }
    } catch (IOException e) {
      throw e;
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }

  private static MethodHandle bind(String name, MemoryLayout... arguments) {
    return Downcalls.bind(Downcalls.libc(), name, FunctionDescriptor.of(JAVA_INT, arguments));
  }

  /// Closing the file releases the lock.
  @Override
  public void close() {
    try {
      int _ = (int) CLOSE.invokeExact(descriptor);
    } catch (Throwable e) {
      throw Downcalls.failed(e);
    }
  }
}
