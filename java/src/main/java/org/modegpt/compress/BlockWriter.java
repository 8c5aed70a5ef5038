package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.jspecify.annotations.Nullable;
import org.modegpt.Futures;
import org.modegpt.backend.Backend;
import org.modegpt.io.CheckpointWriter;
import org.modegpt.tensor.Tensor;

/// Writes blocks to a checkpoint. On a device with memory of its own a block is downloaded and
/// written by a thread and a stream of its own while the next is decomposed.
final class BlockWriter implements AutoCloseable {
  private final CheckpointWriter writer;
  private final @Nullable Backend side;
  private final @Nullable ExecutorService thread;
  private final Arena memory = Arena.ofShared();

  /// Where tensors pass through the host, one after the other.
  private MemorySegment stage = memory.allocate(64);

  private @Nullable Future<?> writing;
  private @Nullable Runnable release;

  BlockWriter(Backend backend, CheckpointWriter writer) {
    this.writer = writer;
    this.side = backend.sideStream();
    this.thread =
        side == null
            ? null
            : Executors.newSingleThreadExecutor(Thread.ofPlatform().daemon().factory());
  }

  /// Writes tensors that are ready on the back-end's device.
  ///
  /// @param done gives their memory back; it runs once, in a later call of this thread
  void write(Map<String, Tensor> tensors, Runnable done) {
    finish();
    release = done;
    if (thread == null || side == null) {
      tensors.forEach(writer::write);
      finish();
      return;
    }
    Backend from = side;
    writing = thread.submit(() -> tensors.forEach((name, tensor) -> write(from, name, tensor)));
  }

  private void write(Backend from, String name, Tensor tensor) {
    if (!tensor.onDevice()) {
      writer.write(name, tensor);
      return;
    }
    if (stage.byteSize() < tensor.bytes()) {
      stage = from.hostMemory(memory, Math.max(2 * stage.byteSize(), tensor.bytes()));
    }
    Tensor host = Tensor.host(tensor.dtype(), tensor.rows(), tensor.cols(), stage);
    from.copy(tensor, host);
    writer.write(name, host);
  }

  /// Waits for the block that is being written.
  void finish() {
    Future<?> running = writing;
    Runnable done = release;
    writing = null;
    release = null;
    try {
      if (running != null) {
        Futures.await(running, "writing a block");
      }
    } finally {
      if (done != null) {
        done.run();
      }
    }
  }

  @Override
  public void close() {
    try {
      finish();
    } finally {
      if (thread != null) {
        thread.close();
      }
      memory.close();
      if (side != null) {
        side.close();
      }
    }
  }
}
