package org.modegpt.text;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.io.Json;
import org.modegpt.text.TokenizerJson.Merge;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/// Finds the tokenizer among the files of a model: `tokenizer.json`, else what gives one -
/// SentencePiece (`tokenizer.model`, `spiece.model`), else GPT-2's `vocab.json` and `merges.txt`.
public final class TokenizerFiles {
  private static final String JSON = "tokenizer.json";
  private static final String CONFIG = "tokenizer_config.json";

  private static final List<String> PIECES = List.of("tokenizer.model", "spiece.model");

  private TokenizerFiles() {}

  /// The content of a `tokenizer.json`, or null if there is no tokenizer.
  ///
  /// @param files contents by name
  /// @param folder names the files' place in errors
  /// @throws UserException if a file is damaged or of a kind that is not known
  public static byte @Nullable [] tokenizerJson(Map<String, byte[]> files, String folder) {
    if (files.containsKey(JSON)) {
      return files.get(JSON);
    }
    ObjectNode built = null;
    for (String name : PIECES) {
      if (built == null && files.containsKey(name)) {
        built = sentencePiece(files, name, folder);
      }
    }
    if (built == null && files.containsKey("vocab.json") && files.containsKey("merges.txt")) {
      built = bytePair(files, folder);
    }
    return built == null ? null : Json.pretty(built).getBytes(StandardCharsets.UTF_8);
  }

  /// Adds a `tokenizer.json` where the tokenizer comes in other files. Beside one made of
  /// SentencePiece, the configuration then names the class that takes the file as it is: the class
  /// for the original files would build another one.
  ///
  /// @param files contents by name; changed
  public static void complete(Map<String, byte[]> files, String folder) {
    byte[] built = files.containsKey(JSON) ? null : tokenizerJson(files, folder);
    if (built == null) {
      return;
    }
    for (String name : PIECES) {
      if (files.containsKey(name)) {
        ObjectNode config = object(files, CONFIG, folder);
        config.put("tokenizer_class", "PreTrainedTokenizerFast");
        new SentencePieceModel(files.get(name), folder + "/" + name)
            .specialTokens()
            .forEach((kind, token) -> {
              if (special(files, kind, folder) == null) {
                config.put(kind + "_token", token);
              }
            });
        files.put(CONFIG, Json.pretty(config).getBytes(StandardCharsets.UTF_8));
        break;
      }
    }
    files.put(JSON, built);
  }

  private static ObjectNode sentencePiece(Map<String, byte[]> files, String name, String folder) {
    ObjectNode config = object(files, CONFIG, folder);
    return new SentencePieceModel(files.get(name), folder + "/" + name)
        .tokenizer(
            config.path("add_bos_token").asBoolean(true),
            config.path("add_eos_token").asBoolean(false),
            addedTokens(files, folder));
  }

  /// Tokens that were added after training, by the two files that can tell.
  private static Map<String, Integer> addedTokens(Map<String, byte[]> files, String folder) {
    Map<String, Integer> added = new LinkedHashMap<>();
    object(files, "added_tokens.json", folder)
        .properties()
        .forEach(e -> added.put(e.getKey(), e.getValue().asInt(-1)));
    object(files, CONFIG, folder)
        .path("added_tokens_decoder")
        .properties()
        .forEach(e -> {
          String content = e.getValue().path("content").stringValue("");
          if (!content.isEmpty() && e.getKey().matches("\\d{1,9}")) {
            added.put(content, Integer.parseInt(e.getKey()));
          }
        });
    return added;
  }

  private static ObjectNode bytePair(Map<String, byte[]> files, String folder) {
    ObjectNode config = object(files, CONFIG, folder);
    TreeMap<Integer, String> byId = new TreeMap<>();
    object(files, "vocab.json", folder)
        .properties()
        .forEach(e -> byId.put(e.getValue().asInt(-1), e.getKey()));
    if (byId.isEmpty() || byId.firstKey() != 0 || byId.lastKey() != byId.size() - 1) {
      throw new UserException(
          folder + "/vocab.json does not number its tokens from 0 on: the file is damaged");
    }
    List<String> tokens = List.copyOf(byId.values());
    Map<String, Integer> ids = TokenizerJson.ids(tokens, folder);
    Map<String, Integer> special = new TreeMap<>(addedTokens(files, folder));
    for (String kind : List.of("bos", "eos", "unk", "pad")) {
      String content = special(files, kind, folder);
      if (content != null && ids.containsKey(content)) {
        special.put(content, ids.get(content));
      }
    }
    String end = "<|endoftext|>"; // GPT-2's only special token, where no file names any
    if (special.isEmpty() && ids.containsKey(end)) {
      special.put(end, ids.get(end));
    }
    ArrayNode added = Json.MAPPER.createArrayNode();
    special.entrySet().stream()
        .sorted(Map.Entry.comparingByValue())
        .forEach(e -> TokenizerJson.addToken(added, e.getValue(), e.getKey(), true));
    boolean qwen = config.path("tokenizer_class").stringValue("").startsWith("Qwen2Tokenizer");
    PreTokenizer pre = qwen ? PreTokenizer.QWEN2 : PreTokenizer.GPT2;
    ObjectNode words = pre.json();
    if (!qwen && config.path("add_prefix_space").asBoolean(false)) {
      words.put("add_prefix_space", true);
    }
    String bos =
        config.path("add_bos_token").asBoolean(false) ? special(files, "bos", folder) : null;
    return TokenizerJson.of(
        added,
        pre.normalizer(),
        words,
        TokenizerJson.template(
            special.containsKey(bos == null ? "" : bos) ? bos : null, null, special),
        PreTokenizer.byteLevel(true),
        TokenizerJson.bpe(
            tokens, merges(files.get("merges.txt"), ids, folder), false, null, false, false));
  }

  private static List<Merge> merges(byte[] file, Map<String, Integer> ids, String folder) {
    List<Merge> merges = new ArrayList<>();
    for (String line : new String(file, StandardCharsets.UTF_8).split("\n", -1)) {
      String merge = line.stripTrailing();
      if (merge.isEmpty() || (merges.isEmpty() && merge.startsWith("#version"))) {
        continue;
      }
      int space = merge.indexOf(' ');
      String left = space < 0 ? merge : merge.substring(0, space);
      String right = merge.substring(space + 1);
      if (space < 0 || !ids.containsKey(left + right)) {
        throw new UserException(
            "%s/merges.txt: '%s' joins no two tokens: the file is damaged"
                .formatted(folder, merge));
      }
      merges.add(new Merge(left, right));
    }
    return merges;
  }

  /// The token that is `bos`, `eos`, ... by the configuration or the special tokens map, or null.
  public static @Nullable String special(Map<String, byte[]> files, String kind, String folder) {
    for (String name : List.of(CONFIG, "special_tokens_map.json")) {
      JsonNode token = object(files, name, folder).path(kind + "_token");
      String content =
          token.isObject() ? token.path("content").stringValue("") : token.stringValue("");
      if (!content.isEmpty()) {
        return content;
      }
    }
    return null;
  }

  private static ObjectNode object(Map<String, byte[]> files, String name, String folder) {
    byte[] content = files.get(name);
    return content == null
        ? Json.MAPPER.createObjectNode()
        : Json.object(content, folder + "/" + name);
  }
}
