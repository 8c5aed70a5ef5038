package org.modegpt.backend;

/// A device, driver or native library failed. The message names the operation and says what to do where that is known.
public class BackendException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public BackendException(String message) {
    super(message);
  }

  public BackendException(String message, Throwable cause) {
    super(message, cause);
  }
}
