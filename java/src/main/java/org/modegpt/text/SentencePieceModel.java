package org.modegpt.text;

import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.io.Json;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/// A SentencePiece model (`tokenizer.model`, a protocol buffer of type `ModelProto`): unigram or
/// byte-pair. It is turned into the `tokenizer.json` that gives the same ids.
final class SentencePieceModel {
  private static final int NORMAL = 1;
  private static final int UNKNOWN = 2;
  private static final int CONTROL = 3;
  private static final int USER_DEFINED = 4;
  private static final int UNIGRAM = 1;
  private static final int BYTE_PAIR = 2;

  private final String origin;
  private final List<String> pieces = new ArrayList<>();
  private final List<Float> scores = new ArrayList<>();
  private final List<Integer> types = new ArrayList<>();

  // trainer_spec and normalizer_spec, with the defaults of the format
  private int modelType = UNIGRAM;
  private boolean byteFallback;
  private boolean spaceAsSuffix;
  private int bosId = 1;
  private int eosId = 2;
  private byte[] characterMap = {};
  private boolean addDummyPrefix = true;
  private boolean removeExtraSpaces = true;
  private boolean escapeSpaces = true;

  /// Reads a model.
  ///
  /// @throws UserException if it is damaged or of another kind
  SentencePieceModel(byte[] model, String origin) {
    this.origin = origin;
    try {
      fields(
          ByteBuffer.wrap(model),
          (field, value) -> {
            switch (field) {
              case 1 -> piece(value.bytes());
              case 2 -> fields(value.bytes(), this::trainer);
              case 3 -> fields(value.bytes(), this::normalizer);
              default -> {}
            }
          });
    } catch (BufferUnderflowException | IndexOutOfBoundsException | IllegalArgumentException e) {
      throw new UserException(origin + " is no SentencePiece model, or damaged", e);
    }
    if (pieces.isEmpty() || !types.contains(UNKNOWN)) {
      throw new UserException(origin + " is no SentencePiece model, or damaged");
    }
    if ((modelType != UNIGRAM && modelType != BYTE_PAIR) || spaceAsSuffix || !escapeSpaces) {
      throw new UserException(
          origin
              + " is a SentencePiece model of a kind that is not supported; a tokenizer.json is needed");
    }
  }

  /// @param addBos whether encoding with special tokens begins with BOS
  /// @param more further tokens by content, with their ids, from the files beside the model
  ObjectNode tokenizer(boolean addBos, boolean addEos, Map<String, Integer> more) {
    Map<String, Integer> ids = TokenizerJson.ids(pieces, origin);
    ArrayNode added = Json.MAPPER.createArrayNode();
    for (int id = 0; id < pieces.size(); id++) {
      int type = types.get(id);
      if (type == CONTROL || type == UNKNOWN) {
        TokenizerJson.addToken(added, id, pieces.get(id), true);
      } else if (type == USER_DEFINED) {
        String text = pieces.get(id).replace('▁', ' ');
        if (!(removeExtraSpaces && text.isBlank())) { // runs of spaces never get that far
          TokenizerJson.addToken(added, id, text, false);
        }
      }
    }
    more.entrySet().stream()
        .filter(e -> e.getValue() >= pieces.size())
        .sorted(Map.Entry.comparingByValue())
        .forEach(e -> TokenizerJson.addToken(added, e.getValue(), e.getKey(), true));
    return TokenizerJson.of(
        added,
        normalizers(),
        null,
        TokenizerJson.template(addBos ? piece(bosId) : null, addEos ? piece(eosId) : null, ids),
        TokenizerJson.pieceDecoder(addDummyPrefix),
        modelType == UNIGRAM ? unigram() : bytePair(ids));
  }

  /// Contents of the tokens `bos`, `eos` and `unk`, as far as there are.
  Map<String, String> specialTokens() {
    Map<String, String> tokens = new TreeMap<>();
    tokens.put("unk", pieces.get(types.indexOf(UNKNOWN)));
    Map.of("bos", bosId, "eos", eosId)
        .forEach((kind, id) -> {
          String content = piece(id);
          if (content != null) {
            tokens.put(kind, content);
          }
        });
    return tokens;
  }

  private @Nullable String piece(int id) {
    return id >= 0 && id < pieces.size() ? pieces.get(id) : null;
  }

  private ObjectNode normalizers() {
    ObjectNode sequence = TokenizerJson.typed("Sequence");
    ArrayNode steps = sequence.putArray("normalizers");
    if (characterMap.length > 0) {
      steps.add(
          TokenizerJson.typed("Precompiled")
              .put("precompiled_charsmap", Base64.getEncoder().encodeToString(characterMap)));
    }
    if (removeExtraSpaces) {
      steps.add(TokenizerJson.typed("Strip").put("strip_left", true).put("strip_right", true));
      steps.add(TokenizerJson.replace("Regex", " {2,}", " "));
    }
    TokenizerJson.addSpaces(steps, addDummyPrefix);
    return sequence;
  }

  private ObjectNode unigram() {
    ObjectNode model = TokenizerJson.typed("Unigram");
    model.put("unk_id", types.indexOf(UNKNOWN));
    ArrayNode vocab = model.putArray("vocab");
    for (int id = 0; id < pieces.size(); id++) {
      vocab.addArray().add(pieces.get(id)).add((double) scores.get(id));
    }
    return model.put("byte_fallback", byteFallback);
  }

  private ObjectNode bytePair(Map<String, Integer> ids) {
    return TokenizerJson.bpe(
        pieces,
        TokenizerJson.mergesByScore(
            pieces, ids, scores, id -> types.get(id) == NORMAL || types.get(id) == USER_DEFINED),
        true,
        pieces.get(types.indexOf(UNKNOWN)),
        byteFallback,
        false);
  }

  // ---- the protocol buffer

  /// A field's value: a number, or bytes.
  private record Value(long number, ByteBuffer bytes) {
    boolean flag() {
      return number != 0;
    }
  }

  private static void fields(ByteBuffer in, BiConsumer<Integer, Value> each) {
    in.order(ByteOrder.LITTLE_ENDIAN);
    ByteBuffer none = ByteBuffer.allocate(0);
    while (in.hasRemaining()) {
      long key = number(in);
      Value value =
          switch ((int) (key & 7)) {
            case 0 -> new Value(number(in), none);
            case 1 -> new Value(in.getLong(), none);
            case 2 -> {
              int length = Math.toIntExact(Math.min(number(in), Integer.MAX_VALUE));
              ByteBuffer bytes = in.slice(in.position(), length); // checks the bounds
              in.position(in.position() + length);
              yield new Value(0, bytes);
            }
            case 5 -> new Value(in.getInt(), none);
            default -> throw new IllegalArgumentException("wire type " + (key & 7));
          };
      each.accept((int) (key >>> 3), value);
    }
  }

  private static long number(ByteBuffer in) {
    long value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      byte next = in.get();
      value |= (next & 0x7FL) << shift;
      if (next >= 0) {
        return value;
      }
    }
    throw new IllegalArgumentException("number without an end");
  }

  private void piece(ByteBuffer message) {
    String[] text = {""};
    float[] score = {0};
    int[] type = {NORMAL};
    fields(
        message,
        (field, value) -> {
          switch (field) {
            case 1 -> text[0] = StandardCharsets.UTF_8.decode(value.bytes()).toString();
            case 2 -> score[0] = Float.intBitsToFloat((int) value.number());
            case 3 -> type[0] = (int) value.number();
            default -> {}
          }
        });
    pieces.add(text[0]);
    scores.add(score[0]);
    types.add(type[0]);
  }

  private void trainer(int field, Value value) {
    switch (field) {
      case 3 -> modelType = (int) value.number();
      case 24 -> spaceAsSuffix = value.flag();
      case 35 -> byteFallback = value.flag();
      case 41 -> bosId = (int) value.number();
      case 42 -> eosId = (int) value.number();
      default -> {}
    }
  }

  private void normalizer(int field, Value value) {
    switch (field) {
      case 2 -> {
        characterMap = new byte[value.bytes().remaining()];
        value.bytes().get(characterMap);
      }
      case 3 -> addDummyPrefix = value.flag();
      case 4 -> removeExtraSpaces = value.flag();
      case 5 -> escapeSpaces = value.flag();
      default -> {}
    }
  }
}
