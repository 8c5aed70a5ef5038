package org.modegpt.text;

import java.util.Arrays;

/// Turns tokens that arrive one at a time into text: the pieces it returns add up to the text of
/// all tokens, and a character whose UTF-8 bytes are spread over several tokens comes out whole
/// with the last of them. Not thread-safe.
public final class StreamDecoder {
  /// More pending tokens than this cannot be one unfinished character: they are bytes that are not
  /// UTF-8.
  private static final int MAX_PENDING = 16;

  private final Tokenizer tokenizer;

  /// Tokens already shown (context: how a token reads can depend on the one before), then pending
  /// ones.
  private int[] ids = {};

  private int shown;
  private String shownText = "";

  public StreamDecoder(Tokenizer tokenizer) {
    this.tokenizer = tokenizer;
  }

  /// The text that `id` completes, or an empty string when it ends inside a character.
  public String next(int id) {
    ids = Arrays.copyOf(ids, ids.length + 1);
    ids[ids.length - 1] = id;
    String text = tokenizer.decode(ids);
    boolean unfinished = text.endsWith("\uFFFD") && ids.length - shown < MAX_PENDING;
    return unfinished || text.length() <= shownText.length() ? "" : show(text);
  }

  /// What is still pending, at the end of the stream: an unfinished character as U+FFFD.
  public String finish() {
    String text = tokenizer.decode(ids);
    return text.length() <= shownText.length() ? "" : show(text);
  }

  private String show(String text) {
    String piece = text.substring(shownText.length());
    ids = Arrays.copyOfRange(ids, shown, ids.length);
    shown = ids.length;
    shownText = tokenizer.decode(ids);
    return piece;
  }
}
