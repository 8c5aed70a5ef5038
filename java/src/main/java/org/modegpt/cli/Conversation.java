package org.modegpt.cli;

import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import org.modegpt.UserException;
import org.modegpt.chat.Chat;
import org.modegpt.chat.Message;
import org.modegpt.model.Decoder;
import org.modegpt.model.Sampling;
import org.modegpt.text.StreamDecoder;
import org.modegpt.text.Tokenizer;

/// A conversation with a model. Each turn's prompt is the whole conversation; what of it the
/// decoder has already read is not read again.
final class Conversation {
  private final Decoder decoder;
  private final Chat template;
  private final Tokenizer tokenizer;
  private final Sampling sampling;
  private final int maxTokens;
  private final List<Message> messages;

  /// Tokens in the decoder's cache.
  private int[] read = {};

  /// @param messages what was said before; turns are added
  Conversation(
      Decoder decoder,
      Chat template,
      Tokenizer tokenizer,
      Sampling sampling,
      int maxTokens,
      List<Message> messages) {
    this.decoder = decoder;
    this.template = template;
    this.tokenizer = tokenizer;
    this.sampling = sampling;
    this.maxTokens = maxTokens;
    this.messages = messages;
  }

  /// Answers a message of the user's, telling the text piece by piece.
  void answer(String message, Consumer<String> piece) {
    messages.add(new Message("user", message));
    int[] ids = template.encode(messages);
    if (ids.length >= decoder.cache().capacity()) {
      throw new UserException(
          "the conversation has become longer than the context of %d tokens: start anew, or give --ctx-size"
              .formatted(decoder.cache().capacity()));
    }
    int mismatch = Arrays.mismatch(ids, read);
    int known = Math.min(mismatch < 0 ? ids.length : mismatch, ids.length - 1);
    decoder.cache().truncate(known);
    StreamDecoder text = tokenizer.streamDecoder();
    StringBuilder whole = new StringBuilder();
    Consumer<String> both =
        part -> {
          whole.append(part);
          piece.accept(part);
        };
    read = ids;
    decoder.generate(
        Arrays.copyOfRange(ids, known, ids.length),
        maxTokens,
        sampling,
        template.endIds(),
        id -> {
          read = Arrays.copyOf(read, read.length + 1);
          read[read.length - 1] = id;
          both.accept(text.next(id));
          return true;
        });
    both.accept(text.finish());
    read = Arrays.copyOf(read, decoder.cache().length());
    messages.add(new Message("assistant", whole.toString()));
  }
}
