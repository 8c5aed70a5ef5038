package org.modegpt.evaluate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import org.modegpt.UserException;
import org.modegpt.model.ModelConfig;
import org.modegpt.model.Packing;
import org.modegpt.tasks.Item.Request;
import org.modegpt.text.Tokenizer;

/// Turns requests into tokens as lm-evaluation-harness's Hugging Face model does: spaces at the end
/// of the context move to the continuation, the continuation's tokens are those of both together
/// without those of the context alone, the tokenizer adds the special tokens it adds by default, an
/// empty context stands for the first token, and what does not fit the model is cut from the left.
///
/// Thread-safe.
final class RequestEncoder {

  /// A continuation to score, in tokens.
  ///
  /// @param sequence what goes into the model, and the position whose prediction is the first of
  ///   the continuation
  /// @param targets the continuation
  /// @param cut tokens that were left out at the beginning
  record Encoded(Packing.Sequence sequence, int[] targets, int cut) {}

  private final Tokenizer tokenizer;
  private final int contextLength;
  private final int vocabSize;
  private final OptionalInt first;
  private final String firstText;

  RequestEncoder(Tokenizer tokenizer, ModelConfig config) {
    this.tokenizer = tokenizer;
    this.contextLength = config.contextLength();
    this.vocabSize = config.vocabSize();
    OptionalInt bos = tokenizer.bosId();
    this.first = bos.isPresent() ? bos : tokenizer.eosId();
    this.firstText = first.isPresent() ? tokenizer.decode(first.getAsInt()) : "";
  }

  /// The token that stands before a text without context.
  private int first() {
    return first.orElseThrow(() ->
        new UserException(
            "the model has neither a BOS nor an EOS token to start with; name one in tokenizer_config.json"));
  }

  /// Continuations after their contexts; a context that several share is turned into tokens once.
  List<Encoded> pairs(List<Request> requests) {
    Map<String, int[]> contexts = new HashMap<>();
    return requests.stream().map(r -> pair(r.context(), r.continuation(), contexts)).toList();
  }

  /// @param contexts in tokens, as far as they are known
  private Encoded pair(String context, String continuation, Map<String, int[]> contexts) {
    if (context.isEmpty()) {
      int[] ids = requireTokens(tokenizer.encode(continuation), continuation);
      return ids[0] == first() && ids.length > 1
          ? fit(new int[] {first()}, Arrays.copyOfRange(ids, 1, ids.length))
          : fit(new int[] {first()}, ids);
    }
    String stripped = context.stripTrailing();
    String rest = context.substring(stripped.length()) + continuation;
    int[] whole = encode(stripped + rest);
    int[] before = contexts.computeIfAbsent(stripped, this::encode);
    if (before.length == 0) {
      return fit(new int[] {first()}, requireTokens(whole, rest));
    }
    return fit(
        before,
        requireTokens(
            Arrays.copyOfRange(whole, Math.min(before.length, whole.length), whole.length), rest));
  }

  private int[] requireTokens(int[] ids, String text) {
    if (ids.length == 0) {
      throw new UserException("the continuation '" + text + "' has no tokens of its own");
    }
    return ids;
  }

  /// A whole document, in windows that together predict every token once.
  List<Encoded> rolling(String document) {
    int[] ids = requireTokens(encode(document), document);
    List<Encoded> windows = new ArrayList<>();
    for (int from = 0; from < ids.length; from += contextLength) {
      int to = Math.min(ids.length, from + contextLength);
      // A later window is as long as the model allows, like the first, so the last one overlaps.
      int start = from == 0 ? 0 : Math.max(1, to - contextLength);
      int[] input = new int[to - start];
      input[0] = start == 0 ? first() : ids[start - 1];
      System.arraycopy(ids, start, input, 1, to - start - 1);
      windows.add(encoded(input, from - start, Arrays.copyOfRange(ids, from, to), 0));
    }
    return windows;
  }

  /// The tokens of a prompt, at most `room` of them.
  Encoded prompt(String text, int room) {
    int[] ids = encode(text);
    int[] kept = ids.length > room ? Arrays.copyOfRange(ids, ids.length - room, ids.length) : ids;
    return encoded(kept, kept.length - 1, new int[0], ids.length - kept.length);
  }

  private Encoded fit(int[] context, int[] continuation) {
    if (continuation.length > contextLength) {
      throw new UserException(
          "the continuation has %d tokens, more than the model's context of %d"
              .formatted(continuation.length, contextLength));
    }
    int[] all =
        IntStream.concat(
                Arrays.stream(context), Arrays.stream(continuation).limit(continuation.length - 1L))
            .toArray();
    int cut = Math.max(0, all.length - contextLength);
    int[] input = Arrays.copyOfRange(all, cut, all.length);
    return encoded(input, input.length - continuation.length, continuation, cut);
  }

  private Encoded encoded(int[] input, int scoredFrom, int[] targets, int cut) {
    for (int id : input) {
      requireKnown(id);
    }
    for (int id : targets) {
      requireKnown(id);
    }
    return new Encoded(new Packing.Sequence(input, scoredFrom), targets, cut);
  }

  private void requireKnown(int id) {
    if (id >= vocabSize) {
      throw new UserException(
          "the tokenizer gives token %d, outside the model's vocabulary of %d: it belongs to another model"
              .formatted(id, vocabSize));
    }
  }

  /// With special tokens, unless the text has its own.
  private int[] encode(String text) {
    boolean own = !firstText.isEmpty() && text.startsWith(firstText);
    return tokenizer.encode(text, !own);
  }
}
