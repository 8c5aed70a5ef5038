package org.modegpt.runs;

import org.modegpt.UserException;

/// The database of runs could not be read or written; the message names the store and carries the
/// driver's own reason.
public final class StoreException extends UserException {
  private static final long serialVersionUID = 1L;

  StoreException(String message, Throwable cause) {
    super(message, cause);
  }
}
