package org.modegpt.chat.jinja;

/// The value of a name or attribute that does not exist: empty as a text, a list and a condition,
/// an error in all else.
///
/// @param name what was asked for
record Undefined(String name) {}
