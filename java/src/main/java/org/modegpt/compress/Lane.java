package org.modegpt.compress;

import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.modegpt.backend.Backend;

/// A workspace with a thread and a stream of its own: decompositions of small matrices, which leave
/// a device waiting for the host, run in it beside others.
final class Lane implements AutoCloseable {
  private final Backend side;
  private final Workspace workspace;
  private final ExecutorService thread =
      Executors.newSingleThreadExecutor(Thread.ofPlatform().daemon().name("lane").factory());

  private Lane(Backend side) {
    this.side = side;
    this.workspace = new Workspace(side);
  }

  /// Beside `backend`; null where it has no other streams.
  static @Nullable Lane beside(Backend backend) {
    Backend side = backend.sideStream();
    return side == null ? null : new Lane(side);
  }

  /// See {@link Workspace#keepLasting()}.
  void keepLasting() {
    workspace.keepLasting();
  }

  /// Begins work on tensors that are ready; what it gives is ready too. What it uses must last
  /// until the work has ended.
  <T> Future<T> begin(Function<Workspace, T> work) {
    return thread.submit(() -> {
      T result = work.apply(workspace);
      side.sync();
      return result;
    });
  }

  @Override
  public void close() {
    thread.close();
    workspace.close();
    side.close();
  }
}
