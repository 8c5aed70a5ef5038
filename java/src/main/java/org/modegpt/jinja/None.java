package org.modegpt.jinja;

/// Python's None, the null of templates.
public enum None {
  NONE;

  @Override
  public String toString() {
    return "None";
  }
}
