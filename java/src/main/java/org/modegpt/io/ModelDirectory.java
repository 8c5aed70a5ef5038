package org.modegpt.io;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import java.util.SortedMap;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.text.HfTokenizer;
import org.modegpt.text.Tokenizer;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/// A checkpoint the user named: a Hugging Face folder (`config.json` and safetensors), a `.gguf`
/// file, or a folder with exactly one `.gguf` file. Both look the same from here on: a Hugging Face
/// configuration, Hugging Face tensor names, and the small files that travel with the weights.
/// Thread-safe; close it when no tensor of it is in use any more.
public final class ModelDirectory implements AutoCloseable {
  private static final String TOKENIZER = "tokenizer.json";

  /// Files copied beside new weights. Configuration, weights, model card and recipe are written
  /// anew.
  private static final List<String> TAG_ALONG =
      List.of(
          "generation_config.json",
          TOKENIZER,
          "tokenizer_config.json",
          "special_tokens_map.json",
          "added_tokens.json",
          "vocab.json",
          "merges.txt",
          "vocab.txt",
          "tokenizer.model",
          "spiece.model",
          "chat_template.jinja",
          "chat_template.json",
          "LICENSE",
          "LICENSE.txt",
          "LICENSE.md",
          "NOTICE",
          "NOTICE.txt",
          "USE_POLICY.md");

  private final Path path;
  private final ObjectNode config;
  private final TensorSource tensors;
  private final SortedMap<String, byte[]> tagAlongFiles;
  private @Nullable Tokenizer tokenizer;

  private ModelDirectory(
      Path path, ObjectNode config, TensorSource tensors, SortedMap<String, byte[]> tagAlongFiles) {
    this.path = path;
    this.config = config;
    this.tensors = tensors;
    this.tagAlongFiles = tagAlongFiles;
  }

  /// Opens a checkpoint and checks its configuration and the tensor directory; weights are read
  /// when used.
  ///
  /// @throws UserException if nothing is there, or what is there is not a sound checkpoint
  public static ModelDirectory open(Path path) {
    if (!Files.exists(path)) {
      throw new UserException(
          "there is no model at " + path + ": name a Hugging Face folder or a .gguf file");
    }
    return openFolder(path);
  }

  private static ModelDirectory openFolder(Path folder) {
    if (!Files.isRegularFile(folder.resolve("config.json"))) {
      throw new UserException(
          folder + " has no config.json: name a Hugging Face folder or a .gguf file");
    }
    if (!SafetensorsDirectory.present(folder)) {
      throw new UserException(
          folder
              + " has no model.safetensors or model.safetensors.index.json; older formats (.bin) must be converted first");
    }
    ObjectNode config = Json.object(folder.resolve("config.json"));
    SortedMap<String, byte[]> files = new TreeMap<>();
    for (String name : TAG_ALONG) {
      Path file = folder.resolve(name);
      if (Files.isRegularFile(file)) {
        files.put(name, read(file));
      }
    }
    return new ModelDirectory(folder, config, SafetensorsDirectory.open(folder), files);
  }

  private static byte[] read(Path file) {
    try {
      return Files.readAllBytes(file);
    } catch (IOException e) {
      throw IoErrors.reading(file, e);
    }
  }

  /// The path it was opened with.
  public Path path() {
    return path;
  }

  /// The last part of the path, for titles and cards.
  public String name() {
    return path.toAbsolutePath().normalize().getFileName().toString();
  }

  /// A copy of the configuration (`config.json`), which the caller may change.
  public ObjectNode config() {
    return config.deepCopy();
  }

  public TensorSource tensors() {
    return tensors;
  }

  /// Content of the files that go unchanged beside new weights, by name: tokenizer, generation
  /// settings, licence.
  public SortedMap<String, byte[]> tagAlongFiles() {
    return tagAlongFiles;
  }

  /// The generation settings (`generation_config.json`), or an empty object.
  public ObjectNode generationConfig() {
    return tagAlong("generation_config.json");
  }

  private ObjectNode tagAlong(String name) {
    byte[] content = tagAlongFiles.get(name);
    return content == null
        ? Json.MAPPER.createObjectNode()
        : Json.object(content, path.resolve(name).toString());
  }

  /// The tokenizer, loaded on first use.
  ///
  /// @throws UserException if the checkpoint has none that can be used
  public synchronized Tokenizer tokenizer() {
    if (tokenizer == null) {
      byte[] json = tagAlongFiles.get(TOKENIZER);
      if (json == null) {
        throw new UserException(
            path + " has no " + TOKENIZER + ": copy the one of the original model into the folder");
      }
      tokenizer =
          HfTokenizer.of(
              json,
              path.resolve(TOKENIZER).toString(),
              specialId("bos", json),
              specialId("eos", json));
    }
    return tokenizer;
  }

  /// The id of `bos` or `eos`: by the configurations, else by the token that
  /// `tokenizer_config.json` names.
  private OptionalInt specialId(String kind, byte[] tokenizerJson) {
    for (JsonNode root : List.of(generationConfig(), config)) {
      JsonNode id = root.path(kind + "_token_id");
      JsonNode first = id.isArray() && !id.isEmpty() ? id.get(0) : id;
      if (first.isInt()) {
        return OptionalInt.of(first.intValue());
      }
    }
    JsonNode named = tagAlong("tokenizer_config.json").path(kind + "_token");
    String content =
        named.isObject() ? named.path("content").stringValue("") : named.stringValue("");
    for (JsonNode token : Json.object(tokenizerJson, TOKENIZER).path("added_tokens").values()) {
      if (!content.isEmpty() && token.path("content").stringValue("").equals(content)) {
        return OptionalInt.of(token.path("id").intValue());
      }
    }
    return OptionalInt.empty();
  }

  @Override
  public void close() {
    tensors.close();
  }
}
