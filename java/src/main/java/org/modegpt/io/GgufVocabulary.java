package org.modegpt.io;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.text.PreTokenizer;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/// The tokenizer of a model as GGUF metadata (`tokenizer.*`): the counterpart of {@link
/// GgufTokenizer}.
///
/// A byte-level BPE becomes `gpt2`: vocabulary, merges and llama.cpp's name of the pre-tokenizer. A
/// BPE with byte fallback (SentencePiece) becomes `llama`: vocabulary with scores. llama.cpp joins
/// the pair whose result has the best score, `tokenizer.json` the pair whose merge comes first, so
/// the score of a piece is minus the place of the first merge that makes it.
public final class GgufVocabulary {
  private static final int NORMAL = 1;
  private static final int UNKNOWN = 2;
  private static final int CONTROL = 3;
  private static final int USER_DEFINED = 4;
  private static final int UNUSED = 5;
  private static final int BYTE = 6;

  private final ModelDirectory model;
  private final ObjectNode tokenizer;
  private final ObjectNode settings;
  private final int size;
  private final SequencedMap<String, Object> metadata = new LinkedHashMap<>();

  private GgufVocabulary(ModelDirectory model, int size) {
    this.model = model;
    this.size = size;
    byte[] json = model.tagAlongFiles().get("tokenizer.json");
    if (json == null) {
      throw new UserException(
          "%s has no tokenizer.json, which a GGUF file needs: copy the one of the original model into the folder"
              .formatted(model.path()));
    }
    this.tokenizer = Json.object(json, "tokenizer.json");
    byte[] config = model.tagAlongFiles().get("tokenizer_config.json");
    this.settings =
        config == null
            ? Json.MAPPER.createObjectNode()
            : Json.object(config, "tokenizer_config.json");
  }

  /// @param size rows of the embedding: where the tokenizer has fewer tokens, unused ones follow
  /// @throws UserException if llama.cpp has no such tokenizer
  public static SequencedMap<String, Object> metadata(ModelDirectory model, int size) {
    GgufVocabulary vocabulary = new GgufVocabulary(model, size);
    vocabulary.fill();
    return vocabulary.metadata;
  }

  private void fill() {
    JsonNode bpe = tokenizer.path("model");
    if (!bpe.path("type").asString("BPE").equals("BPE")) {
      throw unsupported("its model is " + bpe.path("type").asString() + ", not BPE");
    }
    boolean pieces = bpe.path("byte_fallback").asBoolean(false);
    metadata.put("tokenizer.ggml.model", pieces ? "llama" : "gpt2");
    metadata.put("tokenizer.ggml.pre", pieces ? "default" : preTokenizer());
    String[] tokens = tokens(bpe.path("vocab"));
    metadata.put("tokenizer.ggml.tokens", Arrays.asList(tokens));
    List<String[]> merges = merges(bpe.path("merges"));
    if (pieces) {
      metadata.put("tokenizer.ggml.scores", scores(tokens, merges));
    }
    metadata.put("tokenizer.ggml.token_type", types(tokens, pieces));
    if (!pieces) {
      metadata.put("tokenizer.ggml.merges", merges.stream().map(m -> m[0] + " " + m[1]).toList());
    }
    specialTokens(bpe);
    if (pieces) {
      metadata.put("tokenizer.ggml.add_space_prefix", addsPrefix());
    }
    String template = chatTemplate();
    if (template != null) {
      metadata.put("tokenizer.chat_template", template);
    }
  }

  private String preTokenizer() {
    PreTokenizer found =
        PreTokenizer.of(
            tokenizer.path("pre_tokenizer"),
            tokenizer.path("normalizer").path("type").asString("").equals("NFC"),
            tokenizer.path("model").path("ignore_merges").asBoolean(false));
    if (found == null) {
      throw unsupported("it cuts text in a way that llama.cpp has no name for");
    }
    return found.ggufName();
  }

  /// Tokens by id.
  private String[] tokens(JsonNode vocab) {
    String[] tokens = new String[size];
    vocab.properties().forEach(entry -> put(tokens, entry.getValue().asInt(), entry.getKey()));
    for (JsonNode added : tokenizer.path("added_tokens").values()) {
      put(tokens, added.path("id").asInt(), added.path("content").asString());
    }
    for (int id = 0; id < size; id++) {
      if (tokens[id] == null) {
        tokens[id] = "[PAD" + id + "]";
      }
    }
    return tokens;
  }

  private void put(String[] tokens, int id, String token) {
    if (id < 0 || id >= size) {
      throw unsupported(
          "token '%s' has the id %d, but the embedding has %d rows".formatted(token, id, size));
    }
    tokens[id] = token;
  }

  private int[] types(String[] tokens, boolean pieces) {
    int[] types = new int[size];
    for (int id = 0; id < size; id++) {
      boolean padding = tokens[id].equals("[PAD" + id + "]");
      boolean isByte = pieces && tokens[id].matches("<0x[0-9A-F]{2}>");
      types[id] = padding ? UNUSED : isByte ? BYTE : NORMAL;
    }
    for (JsonNode added : tokenizer.path("added_tokens").values()) {
      types[added.path("id").asInt()] =
          added.path("special").asBoolean(false) ? CONTROL : USER_DEFINED;
    }
    String unknown = tokenizer.path("model").path("unk_token").asString("");
    int id = Arrays.asList(tokens).indexOf(unknown);
    if (pieces && id >= 0) {
      types[id] = UNKNOWN;
    }
    return types;
  }

  /// Pairs; the file has them as arrays or as text with one space.
  private static List<String[]> merges(JsonNode stated) {
    List<String[]> merges = new ArrayList<>();
    for (JsonNode merge : stated.values()) {
      merges.add(
          merge.isArray()
              ? new String[] {merge.get(0).asString(), merge.get(1).asString()}
              : merge.asString().split(" ", 2));
    }
    return merges;
  }

  private static float[] scores(String[] tokens, List<String[]> merges) {
    Map<String, Integer> rank = new HashMap<>();
    for (int i = 0; i < merges.size(); i++) {
      rank.putIfAbsent(merges.get(i)[0] + merges.get(i)[1], i);
    }
    float[] scores = new float[tokens.length];
    for (int id = 0; id < tokens.length; id++) {
      // What no merge makes is never the result of a join, and comes after everything.
      scores[id] = -rank.getOrDefault(tokens[id], merges.size());
    }
    return scores;
  }

  private void specialTokens(JsonNode bpe) {
    Map<String, String> kinds = new LinkedHashMap<>();
    kinds.put("bos", "bos");
    kinds.put("eos", "eos");
    kinds.put("unk", "unknown");
    kinds.put("pad", "padding");
    Map<String, Integer> ids = new HashMap<>();
    kinds.forEach((kind, key) -> {
      Integer id = specialId(kind, bpe);
      if (id != null && id >= 0 && id < size) {
        ids.put(kind, id);
        metadata.put("tokenizer.ggml." + key + "_token_id", id);
      }
    });
    int[] wrapped = model.tokenizer().encode("a", true);
    int[] plain = model.tokenizer().encode("a", false);
    boolean longer = wrapped.length > plain.length;
    metadata.put(
        "tokenizer.ggml.add_bos_token",
        longer && ids.containsKey("bos") && wrapped[0] == ids.get("bos"));
    metadata.put(
        "tokenizer.ggml.add_eos_token",
        longer && ids.containsKey("eos") && wrapped[wrapped.length - 1] == ids.get("eos"));
  }

  /// By `tokenizer_config.json`, else by the configurations.
  private @Nullable Integer specialId(String kind, JsonNode bpe) {
    JsonNode named = settings.path(kind + "_token");
    String content = named.isObject() ? named.path("content").asString("") : named.asString("");
    if (kind.equals("unk") && content.isEmpty()) {
      content = bpe.path("unk_token").asString("");
    }
    if (!content.isEmpty()) {
      for (JsonNode added : tokenizer.path("added_tokens").values()) {
        if (added.path("content").asString().equals(content)) {
          return added.path("id").asInt();
        }
      }
      JsonNode id = bpe.path("vocab").path(content);
      if (id.isInt()) {
        return id.asInt();
      }
    }
    for (JsonNode config : List.of(model.generationConfig(), model.config())) {
      JsonNode id = config.path(kind + "_token_id");
      JsonNode first = id.isArray() && !id.isEmpty() ? id.get(0) : id;
      if (first.isInt()) {
        return first.asInt();
      }
    }
    return null;
  }

  /// Whether a text gets a space in front: said by the normalizer, or by a Metaspace pre-tokenizer.
  private boolean addsPrefix() {
    JsonNode metaspace = tokenizer.path("pre_tokenizer");
    if (metaspace.path("type").asString("").equals("Metaspace")) {
      return !metaspace.path("prepend_scheme").asString("always").equals("never");
    }
    return tokenizer.path("normalizer").toString().contains("\"Prepend\"");
  }

  private @Nullable String chatTemplate() {
    byte[] file = model.tagAlongFiles().get("chat_template.jinja");
    if (file != null) {
      return new String(file, StandardCharsets.UTF_8);
    }
    JsonNode template = settings.path("chat_template");
    if (template.isArray()) { // several by name
      for (JsonNode one : template.values()) {
        if (one.path("name").asString("").equals("default")) {
          return one.path("template").asString(null);
        }
      }
      return null;
    }
    return template.isString() ? template.asString() : null;
  }

  private UserException unsupported(String why) {
    return new UserException(
        "the tokenizer of %s cannot be written to GGUF: %s".formatted(model.path(), why));
  }
}
