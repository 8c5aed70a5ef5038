package org.modegpt.io;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.modegpt.text.PreTokenizer;
import org.modegpt.text.TokenizerJson;
import org.modegpt.text.TokenizerJson.Merge;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/// Writes the tokenizer inside a GGUF file as the Hugging Face files of the original model, so that
/// one tokenizer serves all.
///
/// `tokenizer.ggml.model` is `gpt2` (byte-level BPE: vocabulary, merges and the name of the
/// pre-tokenizer) or `llama` (SentencePiece BPE: vocabulary with scores; a merge of two pieces
/// exists where their concatenation is a piece, best score first).
final class GgufTokenizer {
  private static final int NORMAL = 1;
  private static final int UNKNOWN = 2;
  private static final int CONTROL = 3;
  private static final int USER_DEFINED = 4;

  private static final List<String> ENDS_OF_TURN =
      List.of("<end_of_turn>", "<|im_end|>", "<|eot_id|>", "<|end|>");

  private final GgufFile file;
  private final boolean sentencePiece;
  private final List<String> tokens;
  private final List<Long> types;
  private final PreTokenizer pre;

  private GgufTokenizer(GgufFile file) {
    this.file = file;
    String model = file.text("tokenizer.ggml.model");
    if (model == null || !(model.equals("gpt2") || model.equals("llama"))) {
      throw file.error(
          model == null
              ? "it has no tokenizer; use the Hugging Face folder of the model"
              : "the tokenizer model '%s' is not supported, only gpt2 and llama; use the Hugging Face folder of the model"
                  .formatted(model));
    }
    this.sentencePiece = model.equals("llama");
    this.tokens = file.list("tokenizer.ggml.tokens", String.class);
    List<Long> stated = file.list("tokenizer.ggml.token_type", Long.class);
    if (tokens.isEmpty() || !(stated.isEmpty() || stated.size() == tokens.size())) {
      throw file.error(
          "its tokenizer has %d tokens and %d token types: the file is damaged"
              .formatted(tokens.size(), stated.size()));
    }
    this.types = stated.isEmpty() ? tokens.stream().map(_ -> 1L).toList() : stated;
    this.pre = sentencePiece ? PreTokenizer.GPT2 : preTokenizer();
  }

  /// The files of {@link GgufModel#tagAlong()}.
  static Map<String, ObjectNode> files(GgufFile file) {
    GgufTokenizer tokenizer = new GgufTokenizer(file);
    Map<String, ObjectNode> files = new LinkedHashMap<>();
    files.put("tokenizer.json", tokenizer.tokenizer());
    files.put("tokenizer_config.json", tokenizer.configuration());
    files.put("generation_config.json", tokenizer.generation());
    return files;
  }

  /// Generation ends at EOS and, for models that chat, at the end of a turn.
  private ObjectNode generation() {
    ObjectNode generation = Json.MAPPER.createObjectNode();
    Map<String, Integer> ids = specialIds(file);
    ids.forEach((kind, id) -> generation.put(kind + "_token_id", id));
    int turn = endOfTurn();
    Integer eos = ids.get("eos");
    if (turn >= 0 && eos != null && turn != eos) {
      generation.putArray("eos_token_id").add(eos).add(turn);
    }
    return generation;
  }

  /// The token that ends a turn, as the file says or, as llama.cpp does, by its usual names; -1
  /// without.
  private int endOfTurn() {
    Long stated = file.integer("tokenizer.ggml.eot_token_id");
    if (stated != null) {
      return stated.intValue();
    }
    return ENDS_OF_TURN.stream()
        .mapToInt(tokens::indexOf)
        .filter(id -> id >= 0)
        .findFirst()
        .orElse(-1);
  }

  /// Ids of `bos`, `eos` and `pad`, as far as the file has them.
  static Map<String, Integer> specialIds(GgufFile file) {
    Map<String, Integer> ids = new LinkedHashMap<>();
    Map.of("bos", "bos", "eos", "eos", "pad", "padding").entrySet().stream()
        .sorted(Map.Entry.comparingByKey())
        .forEach(kind -> {
          Long id = file.integer("tokenizer.ggml." + kind.getValue() + "_token_id");
          if (id != null && id >= 0 && id <= Integer.MAX_VALUE) {
            ids.put(kind.getKey(), id.intValue());
          }
        });
    return ids;
  }

  private PreTokenizer preTokenizer() {
    String name = file.text("tokenizer.ggml.pre");
    PreTokenizer found = PreTokenizer.named(name == null ? "default" : name);
    if (found == null) {
      throw file.error(
          "the pre-tokenizer '%s' is not supported; use the Hugging Face folder of the model"
              .formatted(name));
    }
    return found;
  }

  // ---- tokenizer.json

  private ObjectNode tokenizer() {
    boolean prefix = file.flag("tokenizer.ggml.add_space_prefix", true);
    Map<String, Integer> ids = TokenizerJson.ids(tokens, file.path().toString());
    String bos = addsBos() ? special("bos") : null;
    String eos = file.flag("tokenizer.ggml.add_eos_token", false) ? special("eos") : null;
    return TokenizerJson.of(
        addedTokens(),
        sentencePiece ? TokenizerJson.spaces(prefix) : pre.normalizer(),
        sentencePiece ? null : pre.json(),
        TokenizerJson.template(bos, eos, ids),
        sentencePiece ? TokenizerJson.pieceDecoder(prefix) : PreTokenizer.byteLevel(true),
        TokenizerJson.bpe(
            tokens,
            merges(ids),
            sentencePiece,
            sentencePiece ? unknownToken() : null,
            sentencePiece,
            pre.ignoreMerges()));
  }

  private ArrayNode addedTokens() {
    ArrayNode added = Json.MAPPER.createArrayNode();
    for (int id = 0; id < tokens.size(); id++) {
      long type = types.get(id);
      if (type == CONTROL || type == USER_DEFINED || (type == UNKNOWN && sentencePiece)) {
        TokenizerJson.addToken(added, id, tokens.get(id), type != USER_DEFINED);
      }
    }
    return added;
  }

  private List<Merge> merges(Map<String, Integer> ids) {
    List<String> stated = file.list("tokenizer.ggml.merges", String.class);
    if (!stated.isEmpty() || !sentencePiece) {
      return stated.stream().map(merge -> merge(merge, ids)).toList();
    }
    List<Float> scores = file.list("tokenizer.ggml.scores", Float.class);
    if (scores.size() != tokens.size()) {
      throw file.error(
          "its tokenizer has %d tokens and %d scores: the file is damaged"
              .formatted(tokens.size(), scores.size()));
    }
    // SentencePiece never builds control and byte pieces from other pieces.
    return TokenizerJson.mergesByScore(
        tokens, ids, scores, id -> types.get(id) == NORMAL || types.get(id) == USER_DEFINED);
  }

  private Merge merge(String merge, Map<String, Integer> ids) {
    int space = merge.indexOf(' ', 1);
    String left = space < 0 ? merge : merge.substring(0, space);
    String right = space < 0 ? "" : merge.substring(space + 1);
    if (!ids.containsKey(left) || !ids.containsKey(right) || !ids.containsKey(left + right)) {
      throw file.error(
          "the merge '%s' of its tokenizer joins no two tokens: the file is damaged"
              .formatted(merge));
    }
    return new Merge(left, right);
  }

  private @Nullable String unknownToken() {
    Long id = file.integer("tokenizer.ggml.unknown_token_id");
    int at =
        id == null || id < 0 || id >= tokens.size() ? types.indexOf((long) UNKNOWN) : id.intValue();
    return at < 0 ? null : tokens.get(at);
  }

  private boolean addsBos() {
    return file.flag("tokenizer.ggml.add_bos_token", sentencePiece || pre.addsBos());
  }

  private @Nullable String special(String kind) {
    Integer id = specialIds(file).get(kind);
    return id == null || id >= tokens.size() ? null : tokens.get(id);
  }

  // ---- tokenizer_config.json

  private ObjectNode configuration() {
    ObjectNode config = Json.MAPPER.createObjectNode();
    config.put("tokenizer_class", "PreTrainedTokenizerFast");
    for (String kind : List.of("bos", "eos", "pad")) {
      String token = special(kind);
      if (token != null) {
        config.put(kind + "_token", token);
      }
    }
    String unknown = unknownToken();
    if (unknown != null) {
      config.put("unk_token", unknown);
    }
    config.put("add_bos_token", addsBos());
    config.put("add_eos_token", file.flag("tokenizer.ggml.add_eos_token", false));
    config.put("clean_up_tokenization_spaces", false);
    Long context = file.integer(file.text("general.architecture") + ".context_length");
    if (context != null) {
      config.put("model_max_length", context);
    }
    String chat = file.text("tokenizer.chat_template");
    if (chat != null) {
      config.put("chat_template", chat);
    }
    return config;
  }
}
