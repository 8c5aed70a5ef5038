package org.modegpt.jinja;

import org.modegpt.UserException;

/// A template is wrong, uses something that is not supported, or cannot do with its variables.
public final class TemplateException extends UserException {
  private static final long serialVersionUID = 1L;

  public TemplateException(String message) {
    super(message);
  }

  TemplateException(String message, Throwable cause) {
    super(message, cause);
  }
}
