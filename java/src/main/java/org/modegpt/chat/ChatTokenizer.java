package org.modegpt.chat;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.OptionalInt;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.modegpt.io.Json;
import org.modegpt.text.HfTokenizer;
import org.modegpt.text.Tokenizer;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/// Tokenises prompts so that special tokens are what the template writes, and plain text what
/// people write: a user who types `<|im_end|>` does not end his turn.
///
/// A marker inside of the special tokens that contents hold keeps them apart while the template
/// works. Then those of the template get names that no text has, and the tokenizer runs on the
/// whole prompt with its special tokens so renamed; ids, and what happens between texts and special
/// tokens, stay the same. The marker and the names use characters that Unicode reserves for such
/// ends (noncharacters).
public final class ChatTokenizer {
  private static final String MARKER = "\uFDD0";
  private static final String OPEN = "\uFDD1";
  private static final String CLOSE = "\uFDD2";

  private final @Nullable Pattern special;
  private final Tokenizer renamed;

  /// @param tokenizerJson the content of `tokenizer.json`
  /// @param origin names it in errors
  public ChatTokenizer(byte[] tokenizerJson, String origin) {
    ObjectNode root = Json.object(tokenizerJson, origin);
    List<String> tokens = new ArrayList<>();
    for (JsonNode token : root.path("added_tokens").values()) {
      String content = token.path("content").stringValue("");
      if (token.path("special").asBoolean() && content.length() > 1) {
        tokens.add(content);
        ((ObjectNode) token).put("content", renamed(content));
      }
    }
    tokens.sort(Comparator.comparingInt(String::length).reversed());
    special =
        tokens.isEmpty()
            ? null
            : Pattern.compile(String.join("|", tokens.stream().map(Pattern::quote).toList()));
    root.putNull("post_processor");
    if (root.path("model") instanceof ObjectNode model) {
      rename(model, tokens);
    }
    renamed =
        HfTokenizer.of(Json.MAPPER.writeValueAsBytes(root), origin, OptionalInt.empty(), List.of());
  }

  private static String renamed(String token) {
    return OPEN + token + CLOSE;
  }

  private static void rename(ObjectNode model, List<String> tokens) {
    if (model.path("vocab") instanceof ObjectNode vocab) {
      for (String token : tokens) {
        JsonNode id = vocab.remove(token);
        if (id != null) {
          vocab.set(renamed(token), id);
        }
      }
    } else {
      for (JsonNode piece : model.path("vocab").values()) {
        if (piece instanceof ArrayNode pair && tokens.contains(pair.get(0).stringValue(""))) {
          pair.set(0, renamed(pair.get(0).stringValue()));
        }
      }
    }
    if (model.path("merges") instanceof ArrayNode merges) {
      ArrayNode kept = Json.MAPPER.createArrayNode();
      for (JsonNode merge : merges.values()) {
        String joined =
            merge.isArray()
                ? merge.get(0).stringValue("") + merge.get(1).stringValue("")
                : merge.stringValue("").replaceFirst("(?<=.) ", "");
        if (!tokens.contains(joined)) {
          kept.add(merge);
        }
      }
      model.set("merges", kept);
    }
  }

  /// A message whose content no longer spells special tokens; {@link #encode} undoes it.
  public Message guarded(Message message) {
    String content = message.content().replace(MARKER, "").replace(OPEN, "").replace(CLOSE, "");
    if (special != null) {
      content =
          special
              .matcher(content)
              .replaceAll(m ->
                  Matcher.quoteReplacement(
                      m.group().substring(0, 1) + MARKER + m.group().substring(1)));
    }
    return new Message(message.role(), content);
  }

  /// Ids of a prompt that a template has made of guarded messages.
  public int[] encode(String prompt) {
    String named =
        special == null
            ? prompt
            : special.matcher(prompt).replaceAll(m -> Matcher.quoteReplacement(renamed(m.group())));
    return renamed.encode(named.replace(MARKER, ""));
  }
}
