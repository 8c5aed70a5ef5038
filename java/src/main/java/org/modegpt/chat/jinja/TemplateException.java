package org.modegpt.chat.jinja;

import org.modegpt.UserException;

/// A template is wrong, uses something that is not supported, or refuses what it is given.
public final class TemplateException extends UserException {
  private static final long serialVersionUID = 1L;

  TemplateException(String message) {
    super(message);
  }
}
