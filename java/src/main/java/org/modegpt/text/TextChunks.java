package org.modegpt.text;

import java.util.ArrayList;
import java.util.List;
import tools.jackson.databind.JsonNode;

/// Cuts a long text so that tokenising the pieces gives the same ids as tokenising the whole.
///
/// A cut stands after a line feed between a character that is not white space and a letter or
/// digit. Byte-level BPE merges only inside the words that its pre-tokenizer cuts, and with the
/// patterns checked here no word holds a line feed followed by a letter or digit, and the line feed
/// before the cut is the same word whether or not a letter follows. Tokenizers that see the text as
/// one word (SentencePiece) are not cut.
final class TextChunks {
  private static final int CHUNK = 1 << 15;

  private TextChunks() {}

  /// Whether the cuts are safe for the tokenizer that a `tokenizer.json` describes.
  static boolean safe(JsonNode tokenizer) {
    for (JsonNode token : tokenizer.path("added_tokens").values()) {
      if (token.path("content").stringValue("").contains("\n")
          || token.path("lstrip").asBoolean()
          || token.path("rstrip").asBoolean()) {
        return false;
      }
    }
    JsonNode normalizer = tokenizer.path("normalizer");
    boolean plain =
        normalizer.isNull() || normalizer.isMissingNode() || type(normalizer).equals("NFC");
    return plain
        && type(tokenizer.path("model")).equals("BPE")
        && safeWords(tokenizer.path("pre_tokenizer"));
  }

  private static boolean safeWords(JsonNode pre) {
    if (!type(pre).equals("Sequence")) {
      return safeStep(pre) && pre.path("use_regex").asBoolean(true);
    }
    boolean cutsWords = false;
    for (JsonNode step : pre.path("pretokenizers").values()) {
      if (!safeStep(step)) {
        return false;
      }
      cutsWords |=
          type(step).equals("Split")
              ? pattern(step).contains("\\s+(?!\\S)")
              : type(step).equals("ByteLevel") && step.path("use_regex").asBoolean(true);
    }
    return cutsWords;
  }

  private static boolean safeStep(JsonNode step) {
    return switch (type(step)) {
      case "ByteLevel" -> !step.path("add_prefix_space").asBoolean(true);
      case "Digits" -> true;
      case "Split" ->
          step.path("behavior").stringValue("").equals("Isolated")
              && PreTokenizer.cutsAtLineFeeds(pattern(step));
      default -> false;
    };
  }

  private static String pattern(JsonNode split) {
    return split.path("pattern").path("Regex").stringValue("");
  }

  private static String type(JsonNode node) {
    return node.path("type").stringValue("");
  }

  static List<String> split(String text) {
    List<String> chunks = new ArrayList<>();
    int start = 0;
    for (int at = CHUNK; at < text.length() - 1; at++) {
      boolean cut =
          text.charAt(at - 1) == '\n'
              && !space(text.charAt(at - 2))
              && Character.isLetterOrDigit(text.charAt(at));
      if (cut) {
        chunks.add(text.substring(start, at));
        start = at;
        at += CHUNK;
      }
    }
    chunks.add(text.substring(start));
    return chunks;
  }

  /// White space of any of Java's and Unicode's definitions.
  private static boolean space(char c) {
    return Character.isWhitespace(c) || Character.isSpaceChar(c) || Character.isISOControl(c);
  }
}
