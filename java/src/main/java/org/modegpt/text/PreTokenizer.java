package org.modegpt.text;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.modegpt.io.Json;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/// How byte-level BPE tokenizers cut text into words before merging, by llama.cpp's names
/// (`tokenizer.ggml.pre`). The patterns are those of the published `tokenizer.json` of the model
/// each kind is named after.
@SuppressWarnings("ImmutableEnumChecker") // Set.of and List.of are immutable
public enum PreTokenizer {
  GPT2(
      Set.of(
          "gpt-2",
          "phi-2",
          "jais",
          "trillion",
          "gigachat",
          "exaone4",
          "roberta-bpe",
          "jina-es",
          "jina-de",
          "jina-v2-code",
          "granite-docling"),
      false,
      false),
  /// GPT-2's words after NFC, as GPT-NeoX and its followers have it.
  NEOX(Set.of("gptneox", "gpt-neox", "olmo", "mpt"), false, false),
  DIGITS(
      Set.of("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"),
      false,
      false),
  LLAMA3(
      Set.of(
          "llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"),
      true,
      true,
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"),
  SMAUG(Set.of("smaug-bpe", "dbrx", "olmo2", "glm4", "chatglm-bpe"), false, false, LLAMA3.patterns),
  QWEN2(
      Set.of("qwen2", "deepseek-r1-qwen", "megrez"),
      false,
      false,
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"),
  STABLELM2(Set.of("stablelm2", "hunyuan"), false, false, QWEN2.patterns),
  FALCON(
      Set.of("falcon"),
      false,
      false,
      "[\\p{P}\\$\\+<=>\\^~\\|`]+",
      "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)",
      "[0-9][0-9][0-9]"),
  DEEPSEEK_LLM(
      Set.of("deepseek-llm"),
      false,
      false,
      "[\r\n]",
      "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
      "\\s?[!-/:-~！-／：-～‘-‟　-。]+",
      "\\s+$",
      "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
      "\\p{N}+"),
  DEEPSEEK_CODER(
      Set.of("deepseek-coder"),
      false,
      false,
      "[\r\n]",
      "\\s?\\p{L}+",
      "\\s?\\p{P}+",
      "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
      "\\p{N}"),
  DEEPSEEK_V3(
      Set.of("deepseek-v3", "hunyuan-dense"),
      false,
      false,
      "\\p{N}{1,3}",
      "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
          + "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"),
  TEKKEN(
      Set.of("tekken"),
      true,
      true,
      "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
          + "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"
          + "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"),
  GPT4O(
      Set.of("gpt-4o", "llama4"),
      false,
      false,
      "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
          + "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
          + "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"),
  /// What llama.cpp does for files that name no pre-tokenizer: each pattern cuts the pieces of the
  /// one before.
  DEFAULT(
      Set.of("default"),
      false,
      false,
      "[\\p{P}\\$\\+<=>\\^~\\|]+",
      "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)",
      "\\p{N}+",
      "[0-9][0-9][0-9]");

  private final Set<String> names;
  private final boolean ignoreMerges;
  private final boolean addsBos;
  private final List<String> patterns;

  PreTokenizer(Set<String> names, boolean ignoreMerges, boolean addsBos, String... patterns) {
    this(names, ignoreMerges, addsBos, List.of(patterns));
  }

  PreTokenizer(Set<String> names, boolean ignoreMerges, boolean addsBos, List<String> patterns) {
    this.names = names;
    this.ignoreMerges = ignoreMerges;
    this.addsBos = addsBos;
    this.patterns = patterns;
  }

  /// The kind that llama.cpp gives this name, or null.
  public static @Nullable PreTokenizer named(String name) {
    for (PreTokenizer kind : values()) {
      if (kind.names.contains(name)) {
        return kind;
      }
    }
    return null;
  }

  /// The kind that a `pre_tokenizer` of a `tokenizer.json` is: the same patterns after one another,
  /// digits alone or not.
  ///
  /// @param normalised whether texts are normalised to NFC before
  public static @Nullable PreTokenizer of(JsonNode json, boolean normalised, boolean ignoreMerges) {
    List<JsonNode> steps =
        json.has("pretokenizers")
            ? List.copyOf(json.path("pretokenizers").values())
            : List.of(json);
    List<String> patterns = new ArrayList<>();
    boolean digits = false;
    boolean byteLevel = false;
    for (JsonNode step : steps) {
      switch (step.path("type").asString("")) {
        case "Digits" -> digits = step.path("individual_digits").asBoolean(false);
        case "Split" -> patterns.add(step.path("pattern").path("Regex").asString(""));
        case "ByteLevel" -> {
          byteLevel = true;
          if (step.path("add_prefix_space").asBoolean(false)) {
            return null;
          }
        }
        default -> {
          return null;
        }
      }
    }
    if (patterns.isEmpty()) {
      PreTokenizer plain = normalised ? NEOX : GPT2;
      return !byteLevel ? null : digits ? DIGITS : plain;
    }
    PreTokenizer found = null;
    for (PreTokenizer kind : values()) {
      boolean fits = !digits && kind.patterns.equals(patterns);
      boolean exact =
          kind.ignoreMerges == ignoreMerges && (kind.normalizer() != null) == normalised;
      if (fits && (found == null || exact)) {
        found = kind;
      }
    }
    return found;
  }

  /// What llama.cpp calls this kind.
  public String ggufName() {
    return switch (this) {
      case GPT2 -> "gpt-2";
      case NEOX -> "olmo";
      case DIGITS -> "smollm";
      case LLAMA3 -> "llama-bpe";
      case SMAUG -> "smaug-bpe";
      case QWEN2, STABLELM2, FALCON, DEEPSEEK_LLM, DEEPSEEK_CODER, DEEPSEEK_V3, TEKKEN, DEFAULT ->
          name().toLowerCase(Locale.ROOT).replace('_', '-');
      case GPT4O -> "gpt-4o";
    };
  }

  /// Whether this is one of the patterns here after which no word holds a line feed before a letter
  /// or digit.
  public static boolean cutsAtLineFeeds(String pattern) {
    for (PreTokenizer kind : values()) {
      boolean alone = kind != DEEPSEEK_LLM && kind != DEEPSEEK_CODER;
      if (alone && kind.patterns.contains(pattern)) {
        return true;
      }
    }
    return false;
  }

  /// Whether a word that is in the vocabulary is a token even if the merges would not build it.
  public boolean ignoreMerges() {
    return ignoreMerges;
  }

  /// Whether BOS goes before a text where the file does not say.
  public boolean addsBos() {
    return addsBos;
  }

  /// What is done to the text before, or null.
  public @Nullable ObjectNode normalizer() {
    return this == QWEN2 || this == NEOX ? Json.MAPPER.createObjectNode().put("type", "NFC") : null;
  }

  /// The pre-tokenizer of a `tokenizer.json`.
  public ObjectNode json() {
    if (this == GPT2 || this == NEOX) {
      return byteLevel(true);
    }
    ObjectNode sequence = Json.MAPPER.createObjectNode().put("type", "Sequence");
    ArrayNode steps = sequence.putArray("pretokenizers");
    if (this == DIGITS) {
      steps.addObject().put("type", "Digits").put("individual_digits", true);
    }
    for (String pattern : patterns) {
      ObjectNode split = steps.addObject().put("type", "Split");
      split.putObject("pattern").put("Regex", pattern);
      split.put("behavior", "Isolated").put("invert", false);
    }
    steps.add(byteLevel(patterns.isEmpty()));
    return sequence;
  }

  /// The byte-to-character step of byte-level BPE, alone or after GPT-2's pattern.
  public static ObjectNode byteLevel(boolean useRegex) {
    return Json.MAPPER
        .createObjectNode()
        .put("type", "ByteLevel")
        .put("add_prefix_space", false)
        .put("trim_offsets", true)
        .put("use_regex", useRegex);
  }
}
