package org.modegpt.io;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.OptionalInt;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.text.HfTokenizer;
import org.modegpt.text.Tokenizer;
import org.modegpt.text.TokenizerFiles;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/// A checkpoint the user named: a Hugging Face folder (`config.json` and safetensors), a `.gguf`
/// file, or a folder with exactly one `.gguf` file. All look the same from here on: a Hugging Face
/// configuration, Hugging Face tensor names, and the small files that travel with the weights.
/// Thread-safe; close it when no tensor of it is in use any more.
public final class ModelDirectory implements AutoCloseable {
  private static final String CONFIG = "config.json";
  private static final String GENERATION_CONFIG = "generation_config.json";
  private static final String TOKENIZER = "tokenizer.json";
  private static final String TOKENIZER_CONFIG = "tokenizer_config.json";

  private static final List<String> LICENCES =
      List.of("LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "NOTICE.txt", "USE_POLICY.md");

  /// Files copied beside new weights. Configuration, weights, model card and recipe are written
  /// anew.
  private static final List<String> TAG_ALONG =
      Stream.concat(
              Stream.of(
                  GENERATION_CONFIG,
                  TOKENIZER,
                  TOKENIZER_CONFIG,
                  "special_tokens_map.json",
                  "added_tokens.json",
                  "vocab.json",
                  "merges.txt",
                  "vocab.txt",
                  "tokenizer.model",
                  "spiece.model",
                  "chat_template.jinja",
                  "chat_template.json"),
              LICENCES.stream())
          .toList();

  private final Path path;
  private final ObjectNode config;
  private final TensorSource tensors;
  private final Supplier<SortedMap<String, byte[]>> readTagAlong;
  private @Nullable SortedMap<String, byte[]> tagAlong;
  private @Nullable Tokenizer tokenizer;
  private @Nullable String hash;

  private ModelDirectory(
      Path path,
      ObjectNode config,
      TensorSource tensors,
      Supplier<SortedMap<String, byte[]>> readTagAlong) {
    this.path = path;
    this.config = config;
    this.tensors = tensors;
    this.readTagAlong = readTagAlong;
  }

  /// Opens a checkpoint and checks its configuration and the directory of its tensors; weights are
  /// read when used.
  ///
  /// @throws UserException if nothing is there, or what is there is not a sound checkpoint
  public static ModelDirectory open(Path path) {
    if (!Files.exists(path)) {
      throw new UserException(
          "there is no model at %s: name a Hugging Face folder or a .gguf file".formatted(path));
    }
    if (Files.isRegularFile(path)) {
      return openGguf(path, path);
    }
    return Files.isRegularFile(path.resolve(CONFIG))
        ? openFolder(path)
        : openGguf(path, onlyGguf(path));
  }

  /// Whether a folder holds a configuration and all files of the weights.
  public static boolean complete(Path folder) {
    return Files.isRegularFile(folder.resolve(CONFIG)) && SafetensorsDirectory.complete(folder);
  }

  private static ModelDirectory openFolder(Path folder) {
    if (!SafetensorsDirectory.present(folder)) {
      throw new UserException(
          "%s has no %s or %s; older formats (.bin) must be converted first"
              .formatted(folder, SafetensorsDirectory.SINGLE, SafetensorsDirectory.INDEX));
    }
    ObjectNode config = Json.object(folder.resolve(CONFIG));
    return new ModelDirectory(
        folder, config, SafetensorsDirectory.open(folder), () -> tagAlong(folder));
  }

  private static ModelDirectory openGguf(Path path, Path file) {
    if (file.toString().endsWith(".safetensors") || file.toString().endsWith(".json")) {
      throw new UserException("%s is one file of a model folder: name the folder".formatted(file));
    }
    GgufModel model = GgufModel.open(file);
    try {
      return new ModelDirectory(
          path,
          model.config(),
          model,
          () -> {
            Path folder = file.toAbsolutePath().getParent();
            SortedMap<String, byte[]> files =
                folder == null ? new TreeMap<>() : read(folder, LICENCES);
            model
                .tagAlong()
                .forEach((name, json) ->
                    files.put(name, Json.pretty(json).getBytes(StandardCharsets.UTF_8)));
            return files;
          });
    } catch (RuntimeException e) {
      model.close();
      throw e;
    }
  }

  /// The files of a folder; a `tokenizer.json` is made where the tokenizer comes in other files.
  private static SortedMap<String, byte[]> tagAlong(Path folder) {
    SortedMap<String, byte[]> files = read(folder, TAG_ALONG);
    TokenizerFiles.complete(files, folder.toString());
    return files;
  }

  private static Path onlyGguf(Path folder) {
    List<Path> files;
    try (Stream<Path> all = Files.list(folder)) {
      files = all.filter(f -> f.toString().endsWith(".gguf")).sorted().toList();
    } catch (IOException e) {
      throw IoErrors.reading(folder, e);
    }
    if (files.size() == 1) {
      return files.getFirst();
    }
    throw new UserException(
        files.isEmpty()
            ? "%s has neither a config.json nor a .gguf file: name a Hugging Face folder or a .gguf file"
                .formatted(folder)
            : "%s has %d .gguf files: name one of them, for example %s"
                .formatted(folder, files.size(), files.getFirst()));
  }

  private static SortedMap<String, byte[]> read(Path folder, List<String> names) {
    SortedMap<String, byte[]> files = new TreeMap<>();
    for (String name : names) {
      Path file = folder.resolve(name);
      if (Files.isRegularFile(file)) {
        try {
          files.put(name, Files.readAllBytes(file));
        } catch (IOException e) {
          throw IoErrors.reading(file, e);
        }
      }
    }
    return files;
  }

  /// The path it was opened with.
  public Path path() {
    return path;
  }

  /// The last part of the path without `.gguf`, for titles and cards. In the cache of the hub
  /// (`models--org--name/snapshots/COMMIT`) that is `name`.
  public String name() {
    return name(path);
  }

  /// What {@link #name()} says of the model at `path`.
  public static String name(Path path) {
    Path whole = path.toAbsolutePath().normalize();
    Path last = whole.getFileName();
    Path parent = whole.getParent();
    if (parent != null && parent.endsWith("snapshots") && parent.getNameCount() > 1) {
      return parent.getParent().getFileName().toString().replaceFirst("^models--(.*--)?", "");
    }
    return last == null ? "model" : last.toString().replaceFirst("\\.gguf$", "");
  }

  /// A copy of the configuration (`config.json`), which the caller may change.
  public ObjectNode config() {
    return config.deepCopy();
  }

  public TensorSource tensors() {
    return tensors;
  }

  /// Whether the tensors have the engine's own names and layout (those of the compact format)
  /// instead of the family's: so in GGUF files and compact models.
  public boolean neutral() {
    return tensors instanceof GgufModel || config.path("modegpt").isObject();
  }

  /// Content of the files that go unchanged beside new weights, by name: tokenizer, generation
  /// settings, licence.
  ///
  /// @throws UserException if the tokenizer inside a GGUF file is of an unknown kind
  public synchronized SortedMap<String, byte[]> tagAlongFiles() {
    if (tagAlong == null) {
      tagAlong = Collections.unmodifiableSortedMap(readTagAlong.get());
    }
    return tagAlong;
  }

  /// The generation settings (`generation_config.json`), or an empty object.
  public ObjectNode generationConfig() {
    return tagAlong(GENERATION_CONFIG);
  }

  private ObjectNode tagAlong(String name) {
    byte[] content = tagAlongFiles().get(name);
    return content == null
        ? Json.MAPPER.createObjectNode()
        : Json.object(content, path.resolve(name).toString());
  }

  /// The tokenizer, loaded on first use.
  ///
  /// @throws UserException if the checkpoint has none that can be used
  public synchronized Tokenizer tokenizer() {
    if (tokenizer == null) {
      byte[] json = tagAlongFiles().get(TOKENIZER);
      if (json == null) {
        throw new UserException(
            "%s has no tokenizer (%s, tokenizer.model, or vocab.json and merges.txt): copy the one of the original model into the folder"
                .formatted(path, TOKENIZER));
      }
      tokenizer =
          HfTokenizer.of(
              json,
              path.resolve(TOKENIZER).toString(),
              first(specialIds("bos", json)),
              specialIds("eos", json));
    }
    return tokenizer;
  }

  private static OptionalInt first(List<Integer> ids) {
    return ids.isEmpty() ? OptionalInt.empty() : OptionalInt.of(ids.getFirst());
  }

  /// The ids of `bos` or `eos`: by the configurations, else by the token that the tokenizer's files
  /// name.
  private List<Integer> specialIds(String kind, byte[] tokenizerJson) {
    for (JsonNode root : List.of(generationConfig(), config)) {
      JsonNode stated = root.path(kind + "_token_id");
      List<Integer> ids =
          (stated.isArray() ? stated.values() : List.of(stated))
              .stream().filter(JsonNode::isInt).map(JsonNode::intValue).toList();
      if (!ids.isEmpty()) {
        return ids;
      }
    }
    String content = TokenizerFiles.special(tagAlongFiles(), kind, path.toString());
    for (JsonNode token : Json.object(tokenizerJson, TOKENIZER).path("added_tokens").values()) {
      if (content != null && token.path("content").stringValue("").equals(content)) {
        return List.of(token.path("id").intValue());
      }
    }
    return List.of();
  }

  /// Identifies the weights, see {@link ModelHash}; computed on first use.
  public synchronized String hash() {
    if (hash == null) {
      hash = ModelHash.of(config, tensors);
    }
    return hash;
  }

  @Override
  public void close() {
    tensors.close();
  }
}
