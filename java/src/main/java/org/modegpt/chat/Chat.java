package org.modegpt.chat;

import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.modegpt.io.Json;
import org.modegpt.io.ModelDirectory;
import org.modegpt.text.Tokenizer;
import tools.jackson.databind.JsonNode;

/// Conversations with a model: messages to token ids. Thread-safe.
public final class Chat {
  private static final String TOKENIZER = "tokenizer.json";

  /// How the families that are in use end a turn, for models whose files do not say.
  private static final Set<String> TURN_ENDS =
      Set.of("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "<|endoftext|>");

  private final ChatTemplate template;
  private final ChatTokenizer tokenizer;
  private final Set<Integer> ends;

  private Chat(ChatTemplate template, ChatTokenizer tokenizer, Set<Integer> ends) {
    this.template = template;
    this.tokenizer = tokenizer;
    this.ends = ends;
  }

  /// @throws org.modegpt.UserException if the model has no chat template or no tokenizer
  public static Chat of(ModelDirectory model) {
    Map<String, byte[]> files = model.tagAlongFiles();
    ChatTemplate template = ChatTemplate.of(files, model.path().toString());
    Tokenizer plain = model.tokenizer(); // says so if there is none
    byte[] json = files.get(TOKENIZER);
    Set<Integer> ends = new TreeSet<>(plain.endIds());
    for (JsonNode token : Json.object(json, TOKENIZER).path("added_tokens").values()) {
      if (TURN_ENDS.contains(token.path("content").stringValue(""))) {
        ends.add(token.path("id").asInt());
      }
    }
    return new Chat(
        template, new ChatTokenizer(json, model.path().resolve(TOKENIZER).toString()), ends);
  }

  /// Ids of the prompt for the assistant's next answer.
  ///
  /// @throws org.modegpt.UserException if the template refuses the conversation
  public int[] encode(List<Message> messages) {
    return tokenizer.encode(template.render(messages.stream().map(tokenizer::guarded).toList()));
  }

  /// Tokens that end an answer.
  public Set<Integer> endIds() {
    return Set.copyOf(ends);
  }
}
