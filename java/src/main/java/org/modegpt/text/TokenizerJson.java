package org.modegpt.text;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntPredicate;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.io.Json;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/// The parts of a `tokenizer.json`, for tokenizers that come in other files. Special pieces keep
/// their ids.
public final class TokenizerJson {
  private static final String SPACE = "▁";

  /// Two pieces that join.
  public record Merge(String left, String right) {}

  private TokenizerJson() {}

  /// A whole file; the parts may be null where a tokenizer has none.
  public static ObjectNode of(
      ArrayNode added,
      @Nullable ObjectNode normalizer,
      @Nullable ObjectNode preTokenizer,
      @Nullable ObjectNode postProcessor,
      ObjectNode decoder,
      ObjectNode model) {
    ObjectNode root = Json.MAPPER.createObjectNode();
    root.put("version", "1.0");
    root.putNull("truncation");
    root.putNull("padding");
    root.set("added_tokens", added);
    root.set("normalizer", normalizer);
    root.set("pre_tokenizer", preTokenizer);
    root.set("post_processor", postProcessor);
    root.set("decoder", decoder);
    root.set("model", model);
    return root;
  }

  /// Appends a token that is found in a text before anything else is done with it.
  ///
  /// @param special whether it stands for something that is no text
  public static void addToken(ArrayNode added, int id, String content, boolean special) {
    ObjectNode token = added.addObject();
    token.put("id", id);
    token.put("content", content);
    token.put("single_word", false);
    token.put("lstrip", false);
    token.put("rstrip", false);
    token.put("normalized", false);
    token.put("special", special);
  }

  /// Ids by token; the position in the list is the id.
  ///
  /// @throws UserException if one occurs twice
  public static Map<String, Integer> ids(List<String> tokens, String origin) {
    Map<String, Integer> ids = new HashMap<>();
    for (int id = 0; id < tokens.size(); id++) {
      if (ids.put(tokens.get(id), id) != null) {
        throw new UserException(
            "%s: token %d, '%s', occurs twice in its tokenizer: the file is damaged"
                .formatted(origin, id, tokens.get(id)));
      }
    }
    return ids;
  }

  /// A byte-pair model.
  ///
  /// @param pieces whether it is SentencePiece's, with a token for what is unknown and tokens for
  ///   single bytes, rather than one on bytes
  public static ObjectNode bpe(
      List<String> tokens,
      List<Merge> merges,
      boolean pieces,
      @Nullable String unknown,
      boolean byteFallback,
      boolean ignoreMerges) {
    ObjectNode model = Json.MAPPER.createObjectNode();
    model.put("type", "BPE");
    model.putNull("dropout");
    model.put("unk_token", unknown);
    model.putNull("continuing_subword_prefix");
    model.putNull("end_of_word_suffix");
    model.put("fuse_unk", pieces);
    model.put("byte_fallback", byteFallback);
    model.put("ignore_merges", ignoreMerges);
    ObjectNode vocab = model.putObject("vocab");
    for (int id = 0; id < tokens.size(); id++) {
      vocab.put(tokens.get(id), id);
    }
    ArrayNode list = model.putArray("merges");
    merges.forEach(merge -> list.addArray().add(merge.left).add(merge.right));
    return model;
  }

  /// The merges of SentencePiece's byte-pair model: two pieces join where their concatenation is a
  /// piece, best score first. SentencePiece takes the leftmost of equal scores, which a list of
  /// merges cannot say; longer left parts first come closest, and are what transformers takes.
  ///
  /// @param buildable whether the piece of an id may come about by merging
  public static List<Merge> mergesByScore(
      List<String> tokens, Map<String, Integer> ids, List<Float> scores, IntPredicate buildable) {
    record Scored(Merge merge, float score, int id, int leftId) {}
    List<Scored> merges = new ArrayList<>();
    for (int id = 0; id < tokens.size(); id++) {
      if (!buildable.test(id)) {
        continue;
      }
      String token = tokens.get(id);
      for (int cut = token.offsetByCodePoints(0, token.isEmpty() ? 0 : 1);
          cut < token.length();
          cut = token.offsetByCodePoints(cut, 1)) {
        Integer left = ids.get(token.substring(0, cut));
        Integer right = ids.get(token.substring(cut));
        if (left != null && right != null) {
          Merge merge = new Merge(token.substring(0, cut), token.substring(cut));
          merges.add(new Scored(merge, scores.get(id), id, left));
        }
      }
    }
    merges.sort(
        Comparator.comparingDouble((Scored m) -> -m.score)
            .thenComparingInt(m -> -length(m.merge.left))
            .thenComparingInt(m -> -length(m.merge.right))
            .thenComparingInt(Scored::id)
            .thenComparingInt(Scored::leftId));
    return merges.stream().map(Scored::merge).toList();
  }

  private static int length(String piece) {
    return piece.codePointCount(0, piece.length());
  }

  static ObjectNode typed(String type) {
    return Json.MAPPER.createObjectNode().put("type", type);
  }

  static ObjectNode replace(String kind, String from, String to) {
    ObjectNode replace = typed("Replace");
    replace.putObject("pattern").put(kind, from);
    return replace.put("content", to);
  }

  /// SentencePiece's way with spaces: they become `▁`, and one may go in front of the text.
  public static ObjectNode spaces(boolean prefix) {
    ObjectNode sequence = typed("Sequence");
    addSpaces(sequence.putArray("normalizers"), prefix);
    return sequence;
  }

  static void addSpaces(ArrayNode normalizers, boolean prefix) {
    if (prefix) {
      normalizers.add(typed("Prepend").put("prepend", SPACE));
    }
    normalizers.add(replace("String", " ", SPACE));
  }

  /// Undoes {@link #spaces} and joins byte tokens.
  public static ObjectNode pieceDecoder(boolean prefix) {
    ObjectNode sequence = typed("Sequence");
    ArrayNode decoders = sequence.putArray("decoders");
    decoders.add(replace("String", SPACE, " ")).add(typed("ByteFallback")).add(typed("Fuse"));
    if (prefix) {
      decoders.add(typed("Strip").put("content", " ").put("start", 1).put("stop", 0));
    }
    return sequence;
  }

  /// Puts tokens before and after a text; null if there is none.
  ///
  /// @param ids must know the tokens
  public static @Nullable ObjectNode template(
      @Nullable String before, @Nullable String after, Map<String, Integer> ids) {
    if (before == null && after == null) {
      return null;
    }
    ObjectNode template = typed("TemplateProcessing");
    ArrayNode single = template.putArray("single");
    ArrayNode pair = template.putArray("pair");
    ObjectNode specials = Json.MAPPER.createObjectNode();
    for (int part = 0; part < 3; part++) {
      ArrayNode out = part == 0 ? single : pair;
      int typeId = part == 2 ? 1 : 0;
      addSpecial(out, before, typeId, specials, ids);
      out.addObject().putObject("Sequence").put("id", part == 2 ? "B" : "A").put("type_id", typeId);
      addSpecial(out, after, typeId, specials, ids);
    }
    template.set("special_tokens", specials);
    return template;
  }

  private static void addSpecial(
      ArrayNode out,
      @Nullable String token,
      int typeId,
      ObjectNode specials,
      Map<String, Integer> ids) {
    if (token != null) {
      out.addObject().putObject("SpecialToken").put("id", token).put("type_id", typeId);
      ObjectNode special = specials.putObject(token).put("id", token);
      special.putArray("ids").add(ids.get(token));
      special.putArray("tokens").add(token);
    }
  }
}
