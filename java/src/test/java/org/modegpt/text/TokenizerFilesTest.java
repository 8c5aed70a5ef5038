package org.modegpt.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.modegpt.TestData;
import org.modegpt.TinyModel;
import org.modegpt.UserException;
import org.modegpt.io.Json;
import org.modegpt.io.ModelDirectory;
import tools.jackson.databind.JsonNode;

/// Tokenizers in all their files give the ids of the libraries they belong to.
class TokenizerFilesTest {
  private static final Path RESOURCES = TestData.golden("../tokenizers");

  @TempDir private Path folder;

  private static Map<String, byte[]> files(Path from) throws IOException {
    Map<String, byte[]> files = new HashMap<>();
    try (Stream<Path> all = Files.list(from)) {
      for (Path file : all.toList()) {
        files.put(file.getFileName().toString(), Files.readAllBytes(file));
      }
    }
    return files;
  }

  private static Tokenizer tokenizer(Map<String, byte[]> files) {
    byte[] json = TokenizerFiles.tokenizerJson(files, "test");
    assertThat(json).isNotNull();
    return HfTokenizer.of(json, "test", OptionalInt.empty(), List.of());
  }

  private static Tokenizer tokenizer(String name) throws IOException {
    return switch (name) {
      case "qwen3" -> tokenizer(files(TestData.shared("data/tokenizers/qwen3")));
      case "mistral-v3" ->
          tokenizer(
              Map.of(
                  "tokenizer.model",
                  Files.readAllBytes(
                      TestData.shared(
                          "data/tokenizers/mistral/mistral_instruct_tokenizer_240323.model.v3"))));
      default -> tokenizer(files(RESOURCES.resolve(name)));
    };
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"gpt2", "mistral-v1", "mistral-v3", "unigram", "unigram-nfkc", "bpe", "qwen3"})
  void idsOfTheLibraries(String name) throws IOException {
    JsonNode golden = Json.object(RESOURCES.resolve("golden.json"));
    Tokenizer tokenizer = tokenizer(name);
    for (int i = 0; i < golden.path("texts").size(); i++) {
      String text = golden.path("texts").get(i).stringValue();
      int[] expected =
          golden.path("ids").path(name).get(i).values().stream()
              .mapToInt(JsonNode::intValue)
              .toArray();
      assertThat(tokenizer.encode(text)).as("%s: '%s'", name, text).isEqualTo(expected);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"gpt-2 gpt2", "qwen2 qwen3"})
  void publishedVectors(String names) throws IOException {
    String[] name = names.split(" ", -1);
    Path vectors = RESOURCES.resolve("vectors/ggml-vocab-" + name[0] + ".gguf.inp");
    String[] texts = Files.readString(vectors).split("\n__ggml_vocab_test__\n", -1);
    List<String> lines = Files.readAllLines(Path.of(vectors.toString().replace(".inp", ".out")));
    Tokenizer tokenizer = tokenizer(name[1]);
    for (int i = 0; i < lines.size(); i++) {
      String[] ids =
          Arrays.stream(tokenizer.encode(texts[i]))
              .mapToObj(String::valueOf)
              .toArray(String[]::new);
      assertThat(String.join(" ", ids)).as("'%s'", texts[i]).isEqualTo(lines.get(i).strip());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"gpt2", "mistral-v1", "bpe"})
  void decodingGivesTheTextBack(String name) throws IOException {
    Tokenizer tokenizer = tokenizer(name);
    for (String text : List.of("Hello world", "naïve 🙂 日本語", "a\n\n  b\t1234")) {
      assertThat(tokenizer.decode(tokenizer.encode(text))).isEqualTo(text);
    }
  }

  @Test
  void specialTokensBySettings() throws IOException {
    Map<String, byte[]> files = files(RESOURCES.resolve("mistral-v1"));
    assertThat(tokenizer(files).encode("Hi", true)).startsWith(1);
    files.put(
        "tokenizer_config.json", bytes("{\"add_bos_token\": false, \"add_eos_token\": true}"));
    assertThat(tokenizer(files).encode("Hi", true)).doesNotContain(1).endsWith(2);
    files.put("added_tokens.json", bytes("{\"<|pad|>\": 32000}"));
    assertThat(tokenizer(files).encode("x<|pad|>")).endsWith(32000);
    Map<String, byte[]> gpt2 = files(RESOURCES.resolve("gpt2"));
    assertThat(tokenizer(gpt2).encode("a<|endoftext|>")).containsExactly(64, 50256);
  }

  @Test
  void damagedFiles() throws IOException {
    Random random = new Random(7);
    byte[] model = files(RESOURCES.resolve("unigram")).get("tokenizer.model");
    for (int i = 0; i < 300; i++) {
      byte[] damaged =
          random.nextInt(3) == 0
              ? Arrays.copyOf(model, random.nextInt(model.length))
              : model.clone();
      for (int n = random.nextInt(4); n >= 0 && damaged.length > 0; n--) {
        damaged[random.nextInt(damaged.length)] = (byte) random.nextInt(256);
      }
      try {
        assertThat(TokenizerFiles.tokenizerJson(Map.of("tokenizer.model", damaged), "test"))
            .isNotEmpty();
      } catch (UserException expected) {
        assertThat(expected.getMessage()).isNotBlank().doesNotContain("\n");
      }
    }
    assertThatThrownBy(() ->
            TokenizerFiles.tokenizerJson(
                Map.of("vocab.json", bytes("{\"a\": 0}"), "merges.txt", bytes("a b\n")), "test"))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("joins no two tokens");
    assertThatThrownBy(() ->
            TokenizerFiles.tokenizerJson(
                Map.of("vocab.json", bytes("{\"a\": 3}"), "merges.txt", bytes("")), "test"))
        .hasMessageContaining("vocab.json");
    assertThat(TokenizerFiles.tokenizerJson(Map.of(), "test")).isNull();
  }

  /// A folder with SentencePiece alone hands on a tokenizer.json, so that every tool reads the
  /// same.
  @Test
  void foldersWithoutTokenizerJson() throws IOException {
    Path model = new TinyModel().write(folder.resolve("m"));
    Files.delete(model.resolve("tokenizer.json"));
    try (ModelDirectory directory = ModelDirectory.open(model)) {
      assertThatThrownBy(directory::tokenizer).hasMessageContaining("has no tokenizer");
    }
    Files.copy(RESOURCES.resolve("bpe/tokenizer.model"), model.resolve("tokenizer.model"));
    try (ModelDirectory directory = ModelDirectory.open(model)) {
      assertThat(directory.tagAlongFiles()).containsKeys("tokenizer.json", "tokenizer.model");
      assertThat(directory.tokenizer().encode("the", true)).startsWith(1);
      assertThat(
              new String(
                  directory.tagAlongFiles().get("tokenizer_config.json"), StandardCharsets.UTF_8))
          .contains("PreTrainedTokenizerFast", "\"bos_token\": \"<s>\"");
    }
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }
}
