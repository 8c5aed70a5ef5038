package org.modegpt.chat;

import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.io.Json;
import org.modegpt.jinja.Environment;
import org.modegpt.jinja.Template;
import org.modegpt.jinja.TemplateException;
import org.modegpt.text.TokenizerFiles;
import tools.jackson.databind.JsonNode;

/// The chat template of a model: `chat_template.jinja`, else `chat_template` in
/// `chat_template.json` or `tokenizer_config.json`. Immutable and thread-safe.
public final class ChatTemplate {
  /// As transformers has it.
  static final Environment JINJA =
      new Environment(false, true, "variable", ChatFunctions.ALL, Map.of());

  private static final String FIELD = "chat_template";

  private final Template template;
  private final Map<String, String> specialTokens = new HashMap<>();

  private ChatTemplate(String source, Map<String, byte[]> files, String folder) {
    this.template = usable(() -> Template.parse(source, JINJA));
    for (String kind : List.of("bos", "eos", "unk", "pad", "sep", "cls", "mask")) {
      String token = TokenizerFiles.special(files, kind, folder);
      if (token != null) {
        specialTokens.put(kind + "_token", token);
      }
    }
  }

  /// The template among the files of a model.
  ///
  /// @param files contents by name
  /// @param folder names the files' place in errors
  /// @throws UserException if there is none, or it cannot be used
  public static ChatTemplate of(Map<String, byte[]> files, String folder) {
    byte[] own = files.get("chat_template.jinja");
    String source = own == null ? null : new String(own, StandardCharsets.UTF_8);
    for (String name : List.of("chat_template.json", "tokenizer_config.json")) {
      if (source == null && files.containsKey(name)) {
        source = source(Json.object(files.get(name), folder + "/" + name).path(FIELD));
      }
    }
    if (source == null) {
      throw new UserException(
          "%s has no chat template, so it is no chat model: leave --chat out".formatted(folder));
    }
    return new ChatTemplate(source, files, folder);
  }

  /// A template, or the one named `default` of several.
  private static @Nullable String source(JsonNode node) {
    for (JsonNode named : node.values()) {
      if (named.path("name").stringValue("").equals("default")) {
        return named.path("template").stringValue(null);
      }
    }
    return node.stringValue(null);
  }

  /// The prompt of a conversation, up to where the assistant's answer begins.
  ///
  /// @throws UserException if the template refuses the conversation, for example a system message
  public String render(List<Message> messages) {
    Map<String, Object> variables = new HashMap<>(specialTokens);
    variables.put(
        "messages",
        messages.stream().map(m -> Map.of("role", m.role(), "content", m.content())).toList());
    variables.put("add_generation_prompt", true);
    variables.put("tools", null);
    variables.put("documents", null);
    return usable(() -> template.render(variables));
  }

  private static <T> T usable(Supplier<T> work) {
    try {
      return work.get();
    } catch (TemplateException e) {
      throw new UserException("the chat template cannot be used: " + e.getMessage(), e);
    }
  }
}
