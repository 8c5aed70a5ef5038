package org.modegpt;

/// Something the user can put right: a missing file, a wrong value, a model of an unknown kind. The
/// message is one clear line that says what is wrong and what to do; the command line prints that
/// line alone and exits with 1.
public class UserException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public UserException(String message) {
    super(message);
  }

  public UserException(String message, Throwable cause) {
    super(message, cause);
  }
}
