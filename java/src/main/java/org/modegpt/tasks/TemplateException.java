package org.modegpt.tasks;

/// A template that cannot be parsed, or not be filled in for an item; the message says why.
public final class TemplateException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public TemplateException(String message) {
    super(message);
  }
}
