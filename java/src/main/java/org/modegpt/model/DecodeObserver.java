package org.modegpt.model;

/// Is told what a {@link Decoder} does, on the decoder's thread; returns at once. Arrays are
/// borrowed until the method returns.
public interface DecodeObserver {
  /// Looks at nothing.
  DecodeObserver NONE = new DecodeObserver() {};

  /// A prompt was read, in `nanos` nanoseconds.
  default void prompt(int[] ids, long nanos) {}

  /// Token `id` was chosen from `logits`, `nanos` nanoseconds after the one before it (the first:
  /// after the prompt was read).
  default void token(int id, float[] logits, long nanos) {}
}
