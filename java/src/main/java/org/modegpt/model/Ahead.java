package org.modegpt.model;

import java.lang.foreign.Arena;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.jspecify.annotations.Nullable;
import org.modegpt.Futures;
import org.modegpt.backend.Backend;

/// Loads what is wanted one after another to a device, by number. On a device with memory of its
/// own the next is loaded, by a thread and a stream of its own, while the caller computes with this
/// one; so two are resident. One serial stream.
///
/// @param <T> what is loaded
public final class Ahead<T> implements AutoCloseable {
  private final Backend backend;
  private final int count;
  private final Source<T> source;
  private final @Nullable Backend side;
  private final @Nullable ExecutorService thread;
  private @Nullable Future<Loaded> next;
  private int nextIndex = -1;

  /// Where things come from.
  @FunctionalInterface
  public interface Source<T> {
    /// Loads one of them with the given back-end; it lives as long as `arena`.
    T load(Backend by, Arena arena, int index);
  }

  /// One of them, until closed. What uses it must be done by then.
  public final class Loaded implements AutoCloseable {
    private final Arena arena = Arena.ofShared();
    private final T value;

    private Loaded(Backend by, int index) {
      try {
        value = source.load(by, arena, index);
        by.sync();
      } catch (RuntimeException e) {
        arena.close();
        throw e;
      }
    }

    public T value() {
      return value;
    }

    @Override
    public void close() {
      if (thread == null) {
        arena.close();
      } else {
        thread.execute(arena::close); // it is the side stream's memory
      }
    }
  }

  /// @param side of `backend`, which loads the next one; closed with this. With null nothing is
  ///   loaded before it is asked for.
  /// @param count of all; numbers begin with 0
  public Ahead(Backend backend, @Nullable Backend side, int count, Source<T> source) {
    this.backend = backend;
    this.side = side;
    this.count = count;
    this.source = source;
    this.thread =
        side == null
            ? null
            : Executors.newSingleThreadExecutor(
                Thread.ofPlatform().daemon().name("ahead").factory());
  }

  /// Loads one, which the caller closes. Begins to load the one after it.
  public Loaded get(int index) {
    if (thread == null || side == null) {
      return new Loaded(backend, index);
    }
    Future<Loaded> asked = next;
    if (asked == null || nextIndex != index) {
      discard();
      asked = thread.submit(() -> new Loaded(side, index));
    }
    next = null;
    Loaded loaded = await(asked);
    if (index + 1 < count) {
      nextIndex = index + 1;
      next = thread.submit(() -> new Loaded(side, index + 1));
    }
    return loaded;
  }

  private Loaded await(Future<Loaded> future) {
    return Futures.await(future, "loading ahead");
  }

  /// Forgets what was loaded for nothing.
  private void discard() {
    Future<Loaded> unwanted = next;
    next = null;
    if (unwanted != null) {
      await(unwanted).close();
    }
  }

  @Override
  public void close() {
    try {
      discard();
    } finally {
      if (thread != null) {
        thread.close();
      }
      if (side != null) {
        side.close();
      }
    }
  }
}
