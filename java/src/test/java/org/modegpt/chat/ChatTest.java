package org.modegpt.chat;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.modegpt.TestData;
import org.modegpt.UserException;
import org.modegpt.io.Json;
import org.modegpt.io.ModelDirectory;
import org.modegpt.text.HfTokenizer;
import org.modegpt.text.Tokenizer;
import org.modegpt.text.TokenizerFiles;
import tools.jackson.databind.JsonNode;

/// Conversations as token ids.
class ChatTest {
  private static final Path RESOURCES = TestData.golden("..");

  private static byte[] json(Map<String, byte[]> files) {
    byte[] json = TokenizerFiles.tokenizerJson(files, "test");
    assertThat(json).isNotNull();
    return json;
  }

  private static byte[] tokenizer(String name) throws IOException {
    Map<String, byte[]> files = new HashMap<>();
    for (String file : List.of("tokenizer.model", "vocab.json", "merges.txt")) {
      Path path = RESOURCES.resolve("tokenizers").resolve(name).resolve(file);
      if (Files.exists(path)) {
        files.put(file, Files.readAllBytes(path));
      }
    }
    return json(files);
  }

  private static Map<String, byte[]> template(String source, String config) {
    return Map.of(
        "chat_template.jinja",
        source.getBytes(StandardCharsets.UTF_8),
        "tokenizer_config.json",
        config.getBytes(StandardCharsets.UTF_8));
  }

  /// The template's special tokens are special; the same characters typed by a user are not.
  @ParameterizedTest
  @ValueSource(strings = {"gpt2 <|endoftext|> 50256", "mistral-v1 </s> 2", "bpe [INST] 3"})
  void typedSpecialTokensAreText(String row) throws IOException {
    String[] parts = row.split(" ", -1);
    int id = Integer.parseInt(parts[2]);
    byte[] json = tokenizer(parts[0]);
    ChatTokenizer chat = new ChatTokenizer(json, "test");
    Tokenizer plain = HfTokenizer.of(json, "test", OptionalInt.empty(), List.of());
    String prompt = "a b" + parts[1] + "c" + parts[1] + " d";
    assertThat(plain.encode(prompt)).contains(id);
    assertThat(chat.encode(prompt)).as("without typed tokens").isEqualTo(plain.encode(prompt));
    Message typed = chat.guarded(new Message("user", "x" + parts[1] + "y"));
    int[] ids = chat.encode(typed.content() + parts[1]);
    assertThat(ids).endsWith(id);
    assertThat(Arrays.stream(ids).filter(i -> i == id).count()).isEqualTo(1);
    assertThat(plain.decode(ids)).isEqualTo("x" + parts[1] + "y" + parts[1]);
  }

  @Test
  void ordinaryConversationsHaveTheIdsOfTransformers() throws IOException {
    Path qwen3 = TestData.shared("data/tokenizers/qwen3");
    Map<String, byte[]> files = new HashMap<>();
    for (String file : List.of("tokenizer.json", "tokenizer_config.json")) {
      files.put(file, Files.readAllBytes(qwen3.resolve(file)));
    }
    ChatTemplate template = ChatTemplate.of(files, "test");
    ChatTokenizer tokenizer = new ChatTokenizer(json(files), "test");
    for (JsonNode golden :
        Json.object(RESOURCES.resolve("chat/golden.json")).path("qwen3").values()) {
      List<Message> messages = new ArrayList<>();
      for (JsonNode m : golden.path("messages").values()) {
        messages.add(
            tokenizer.guarded(
                new Message(m.path("role").stringValue(), m.path("content").stringValue())));
      }
      assertThat(tokenizer.encode(template.render(messages)))
          .isEqualTo(golden.path("ids").values().stream().mapToInt(JsonNode::intValue).toArray());
    }
  }

  @Test
  void smollm2() {
    Path file = TestData.model("smollm2-135m");
    try (ModelDirectory model = ModelDirectory.open(file)) {
      Chat chat = Chat.of(model);
      int[] ids = chat.encode(List.of(new Message("user", "Hi <|im_end|>")));
      String text = model.tokenizer().decode(ids);
      assertThat(text)
          .startsWith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
          .endsWith("<|im_start|>user\nHi <|im_end|><|im_end|>\n<|im_start|>assistant\n");
      int end = model.tokenizer().encode("<|im_end|>")[0];
      assertThat(Arrays.stream(ids).filter(i -> i == end).count()).isEqualTo(2);
      assertThat(chat.endIds()).contains(end);
    }
  }

  @Test
  void whereTemplatesAre() {
    Message hi = new Message("user", "hi");
    String source = "{{ bos_token }}{{ messages[0].content }}";
    String config = "{\"bos_token\": {\"content\": \"<s>\"}, \"chat_template\": \"other\"}";
    assertThat(ChatTemplate.of(template(source, config), "test").render(List.of(hi)))
        .isEqualTo("<s>hi");
    Map<String, byte[]> several =
        Map.of(
            "tokenizer_config.json",
            """
            {"chat_template": [{"name": "rag", "template": "a"}, {"name": "default", "template": "b"}]}
            """
                .getBytes(StandardCharsets.UTF_8));
    assertThat(ChatTemplate.of(several, "test").render(List.of(hi))).isEqualTo("b");
    assertThatThrownBy(() -> ChatTemplate.of(Map.of(), "my-model"))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("my-model has no chat template");
  }
}
