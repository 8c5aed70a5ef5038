package org.modegpt.model;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.modegpt.Futures;
import org.modegpt.backend.Backend;
import org.modegpt.tensor.Tensor;

/// Downloads, and writing of what they give, beside the computation: one piece of work at a time,
/// by a thread and, on a device with memory of its own, a stream of its own.
public final class Background implements AutoCloseable {
  private final @Nullable Backend side;
  private final ExecutorService thread =
      Executors.newSingleThreadExecutor(Thread.ofPlatform().daemon().name("background").factory());
  private final Arena memory = Arena.ofShared();

  /// Where tensors pass through the host, one after the other.
  private MemorySegment stage = memory.allocate(64);

  private @Nullable Future<?> working;
  private @Nullable Runnable release;

  /// Gives the work what is on the device.
  @FunctionalInterface
  public interface Downloads {
    /// A tensor of the host as it is; one of the device as a copy on the host, without gaps and
    /// good until the next call.
    Tensor host(Tensor tensor);
  }

  public Background(Backend backend) {
    this.side = backend.sideStream();
  }

  /// Hands over work on tensors that are ready, once what was handed over before is done. Its
  /// exceptions are thrown by a later call.
  ///
  /// @param done gives back what the work uses; runs once, in a later call of this thread
  public void run(Consumer<Downloads> work, Runnable done) {
    finish();
    release = done;
    working = thread.submit(() -> work.accept(this::host));
  }

  private Tensor host(Tensor tensor) {
    if (side == null || !tensor.onDevice()) {
      return tensor;
    }
    if (stage.byteSize() < tensor.bytes()) {
      stage = side.hostMemory(memory, Math.max(2 * stage.byteSize(), tensor.bytes()));
    }
    Tensor host = Tensor.host(tensor.dtype(), tensor.rows(), tensor.cols(), stage);
    side.copy(tensor, host);
    return host;
  }

  /// Waits for the work that was handed over.
  public void finish() {
    Future<?> running = working;
    Runnable done = release;
    working = null;
    release = null;
    if (running == null || done == null) {
      return;
    }
    try {
      Futures.end(running); // what it uses must not go away under it
    } finally {
      done.run();
    }
    Futures.await(running, "work in the background");
  }

  @Override
  public void close() {
    try {
      finish();
    } finally {
      thread.close();
      memory.close();
      if (side != null) {
        side.close();
      }
    }
  }
}
