package org.modegpt;

/// Something the user gave cannot be used: a path, a file, an option, a text. The message is one
/// line for people that says what is wrong, where, and what to do; programs show it without a stack
/// trace.
public class UserException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public UserException(String message) {
    super(message);
  }

  public UserException(String message, Throwable cause) {
    super(message, cause);
  }
}
