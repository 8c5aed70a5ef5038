/// Conversations: the prompt a chat model has learned, by the template that comes with it.
package org.modegpt.chat;
