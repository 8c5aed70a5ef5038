package org.modegpt.model;

import java.util.function.Consumer;
import org.modegpt.text.StreamDecoder;
import org.modegpt.text.Tokenizer;

/// A {@link Continuation} as text.
public final class TextContinuation implements Continuation {
  private final int[] prompt;
  private final StreamDecoder decoder;
  private final Consumer<TextContinuation> done;
  private final StringBuilder text = new StringBuilder();
  private int tokens;

  /// @param done is given this when it has ended
  public TextContinuation(Tokenizer tokenizer, int[] prompt, Consumer<TextContinuation> done) {
    this.prompt = prompt;
    this.decoder = tokenizer.streamDecoder();
    this.done = done;
  }

  @Override
  public int[] prompt() {
    return prompt;
  }

  @Override
  public boolean token(int id) {
    tokens++;
    text.append(decoder.next(id));
    return true;
  }

  @Override
  public void end() {
    text.append(decoder.finish());
    done.accept(this);
  }

  /// The new text so far.
  public String text() {
    return text.toString();
  }

  /// The number of new tokens so far.
  public int tokens() {
    return tokens;
  }
}
