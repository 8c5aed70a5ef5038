package org.modegpt.chat;

/// One turn of a conversation.
///
/// @param role `system`, `user` or `assistant`
/// @param content what was said
public record Message(String role, String content) {}
