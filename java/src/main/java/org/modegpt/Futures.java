package org.modegpt;

import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;

/// Waiting for work of another thread.
public final class Futures {
  private Futures() {}

  /// What the work gives. Its unchecked exceptions are thrown here as they are.
  ///
  /// @param what names the work, for an exception that it cannot have thrown by itself
  /// @throws CancellationException when this thread is interrupted meanwhile
  public static <T> T await(Future<T> work, String what) {
    try {
      return work.get();
    } catch (ExecutionException e) {
      if (e.getCause() instanceof RuntimeException cause) {
        throw cause;
      }
      throw new IllegalStateException(what + " failed", e.getCause());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw (CancellationException) new CancellationException().initCause(e);
    }
  }

  /// Waits for the end of the work whatever it is, interrupts of this thread included; those are
  /// seen afterwards.
  public static void end(Future<?> work) {
    boolean interrupted = false;
    while (!work.isDone()) {
      try {
        work.get();
      } catch (ExecutionException e) {
        break; // who awaits it learns of it
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
