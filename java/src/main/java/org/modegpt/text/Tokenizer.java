package org.modegpt.text;

import java.util.List;
import java.util.OptionalInt;

/// Text to token ids and back. Thread-safe.
///
/// Special tokens that are spelled out in a text (`<|endoftext|>`) become their ids, as in
/// `transformers`; none are added unless asked for.
public interface Tokenizer {

  /// Ids of `text`, without the special tokens that the tokenizer would put around it.
  default int[] encode(String text) {
    return encode(text, false);
  }

  /// Ids of `text`; with `addSpecialTokens` the tokenizer's template is applied (for many models: a
  /// leading BOS).
  int[] encode(String text, boolean addSpecialTokens);

  /// Text of `ids`, special tokens included; bytes that are not UTF-8 become U+FFFD.
  String decode(int... ids);

  /// One more than the largest id, added tokens included. A model's embedding may have more rows.
  int vocabSize();

  OptionalInt bosId();

  /// Tokens that end a text, the usual one first; chat models often have several.
  List<Integer> endIds();

  /// The first of {@link #endIds}.
  default OptionalInt eosId() {
    return endIds().isEmpty() ? OptionalInt.empty() : OptionalInt.of(endIds().getFirst());
  }

  /// A decoder for a stream of generated tokens.
  default StreamDecoder streamDecoder() {
    return new StreamDecoder(this);
  }
}
