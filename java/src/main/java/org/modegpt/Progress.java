package org.modegpt;

/// Told how far a long operation is. Called from the thread that runs the operation, often enough
/// for a progress bar; it should return quickly. Operations are cancelled by interrupting that
/// thread: they stop between two pieces of work with a {@link
/// java.util.concurrent.CancellationException} and leave nothing half-written.
@FunctionalInterface
public interface Progress {

  Progress SILENT = (phase, done, total, unit) -> {};

  /// Tells that `done` of `total` units of a phase are finished.
  ///
  /// @param phase what is being done, e.g. `calibrate`
  /// @param done finished units, from 0 (start of the phase) to `total` (its end)
  /// @param unit what is counted, e.g. `layer`
  void update(String phase, long done, long total, String unit);

  /// Throws if the current thread has been interrupted; the interrupt flag stays set.
  static void checkCancelled() {
    if (Thread.currentThread().isInterrupted()) {
      throw new java.util.concurrent.CancellationException("cancelled");
    }
  }
}
