package org.modegpt.model;

import java.lang.foreign.Arena;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.jspecify.annotations.Nullable;
import org.modegpt.Futures;
import org.modegpt.backend.Backend;
import org.modegpt.model.Transformer.Residence;

/// Loads the blocks of a model one after another. On a device with memory of its own the next block
/// is uploaded, by a thread and a stream of its own, while the caller computes with this one; so
/// two blocks are resident. One serial stream.
public final class BlockLoader implements AutoCloseable {
  private final Backend backend;
  private final Transformer model;
  private final @Nullable Backend side;
  private final @Nullable ExecutorService thread;
  private @Nullable Future<Loaded> next;
  private int nextLayer = -1;

  /// Weights of one block, until closed. What uses them must be done by then.
  public final class Loaded implements AutoCloseable {
    private final Arena arena = Arena.ofShared();
    private final BlockWeights weights;

    private Loaded(Backend by, int layer) {
      try {
        weights = model.block(by, arena, layer, Residence.F32);
        by.sync();
      } catch (RuntimeException e) {
        arena.close();
        throw e;
      }
    }

    public BlockWeights weights() {
      return weights;
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

  public BlockLoader(Backend backend, Transformer model) {
    this.backend = backend;
    this.model = model;
    this.side = backend.sideStream();
    this.thread =
        side == null
            ? null
            : Executors.newSingleThreadExecutor(Thread.ofPlatform().daemon().factory());
  }

  /// The weights of a block; the caller closes them. Begins to load the block after it.
  public Loaded get(int layer) {
    if (thread == null || side == null) {
      return new Loaded(backend, layer);
    }
    Future<Loaded> asked = next;
    if (asked == null || nextLayer != layer) {
      discard();
      asked = thread.submit(() -> new Loaded(side, layer));
    }
    next = null;
    Loaded loaded = await(asked);
    if (layer + 1 < model.config().layers()) {
      nextLayer = layer + 1;
      next = thread.submit(() -> new Loaded(side, layer + 1));
    }
    return loaded;
  }

  private static Loaded await(Future<Loaded> future) {
    return Futures.await(future, "loading a block");
  }

  /// Forgets a block that was loaded for nothing.
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
