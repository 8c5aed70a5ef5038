package org.modegpt.model;

/// A prompt to continue, and who is told its new tokens, on the decoder's thread.
public interface Continuation {
  /// At least one token.
  int[] prompt();

  /// A new token, which is no end token.
  ///
  /// @return false to stop
  boolean token(int id);

  /// No more tokens come.
  default void end() {}
}
