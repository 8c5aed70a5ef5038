package org.modegpt.model;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.DoubleStream;
import org.modegpt.UserException;
import org.modegpt.io.Json;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/// Sizes and design of a decoder-only transformer, from the `config.json` of a known family (see
/// {@link FamilyConfig}) or one written by this engine, whose object `modegpt` has everything.
///
/// @param modelType the family's `model_type`; for a compressed model that of its base
/// @param headDim size of one head in the original model
/// @param mlpWidth inner size of the MLP in the original model
/// @param ropes sets of rotary frequencies; a layer uses the one its {@link LayerAttention} names.
///   Empty for a model without rotary embedding
/// @param shapes one per layer
/// @param compressed whether the model was written by this engine in the compact format
public record ModelConfig(
    String modelType,
    int hiddenSize,
    int layers,
    int heads,
    int kvHeads,
    int headDim,
    int mlpWidth,
    int vocabSize,
    int contextLength,
    Design design,
    List<Rope> ropes,
    boolean tiedEmbeddings,
    List<LayerShape> shapes,
    boolean compressed) {

  /// The `model_type` of compressed models in the compact format.
  public static final String COMPACT_TYPE = "modegpt";

  /// Version of the compact format.
  public static final int FORMAT_VERSION = 1;

  public ModelConfig {
    ropes = List.copyOf(ropes);
    shapes = List.copyOf(shapes);
    if (heads <= 0 || kvHeads <= 0 || heads % kvHeads != 0) {
      throw new UserException(
          "config.json: " + heads + " heads cannot share " + kvHeads + " key/value heads");
    }
    if (headDim <= 0 || headDim % 2 != 0) {
      throw new UserException(
          "config.json: head_dim " + headDim + " is not a positive even number");
    }
  }

  public static ModelConfig of(JsonNode config) {
    String type = config.path("model_type").asString("");
    if (type.isEmpty()) {
      throw new UserException("config.json has no model_type");
    }
    return type.equals(COMPACT_TYPE) || config.path("modegpt").isObject()
        ? ofCompact(config, config.path("modegpt"))
        : FamilyConfig.of(Architecture.of(type), config);
  }

  private static ModelConfig ofCompact(JsonNode config, JsonNode compact) {
    if (compact.path("format_version").asInt(0) != FORMAT_VERSION) {
      throw new UserException(
          "config.json: this program reads compact format version " + FORMAT_VERSION + " only");
    }
    List<Rope> ropes = new ArrayList<>();
    for (JsonNode set : compact.path("rotary_frequencies").values()) {
      ropes.add(
          Rope.of(
              set.values().stream().flatMapToDouble(n -> DoubleStream.of(n.asDouble())).toArray()));
    }
    Design design = Design.of(compact);
    int heads = size(config, "num_attention_heads");
    int kvHeads = config.path("num_key_value_heads").asInt(heads);
    int headDim = size(compact, "head_dim");
    int width = size(compact, "mlp_width");
    int layers = size(config, "num_hidden_layers");
    if (compact.path("layers").size() != layers) {
      throw new UserException("config.json: modegpt.layers must have " + layers + " entries");
    }
    LayerShape full = LayerShape.full(width, headDim, kvHeads);
    List<LayerShape> shapes = new ArrayList<>();
    for (int i = 0; i < layers; i++) {
      shapes.add(shape(compact.get("layers").get(i), i, full, ropes, design));
    }
    return new ModelConfig(
        compact.path("base_model_type").asString(""),
        size(config, "hidden_size"),
        layers,
        heads,
        kvHeads,
        headDim,
        width,
        size(config, "vocab_size"),
        size(compact, "context_length"),
        design,
        ropes,
        config.path("tie_word_embeddings").asBoolean(false),
        shapes,
        true);
  }

  private static LayerShape shape(
      JsonNode json, int layer, LayerShape full, List<Rope> ropes, Design design) {
    List<List<Integer>> pairs = new ArrayList<>();
    for (JsonNode head : json.path("rotary_pairs").values()) {
      pairs.add(head.values().stream().map(JsonNode::asInt).toList());
    }
    int width = json.path("mlp_width").asInt(0);
    int qk = json.path("qk_dim").asInt(0);
    int vo = json.path("vo_dim").asInt(0);
    int set = json.path("rotary").asInt(0);
    int window = json.path("window").asInt(0);
    int known = set >= 0 && set < ropes.size() ? ropes.get(set).inverseFrequencies().length : 0;
    boolean sane =
        width > 0
            && width <= full.mlpWidth()
            && qk > 0
            && qk <= full.qkDim()
            && vo > 0
            && vo <= full.voDim()
            && window >= 0;
    boolean pairsMatch =
        pairs.size() == full.rotaryPairs().size()
            && pairs.stream()
                .allMatch(p ->
                    p.size() == pairs.getFirst().size()
                        && 2 * p.size() <= qk
                        && p.stream().allMatch(t -> t >= 0 && t < known));
    if (!sane || !pairsMatch) {
      throw new UserException(
          "config.json: modegpt.layers[" + layer + "] does not fit the model's sizes");
    }
    float eps = design.normEps();
    LayerAttention attention =
        new LayerAttention(
            set,
            window,
            (float) json.path("q_norm_eps").asDouble(eps),
            (float) json.path("k_norm_eps").asDouble(eps));
    return new LayerShape(width, qk, vo, pairs, attention);
  }

  /// The object `modegpt` of the compact format for blocks of these shapes; see ARCHITECTURE.md for
  /// its keys.
  ///
  /// @param biases per layer the names of the projections that have one, among `q`, `k`, `v`, `o`,
  ///   `gate`, `up` and `down`
  public ObjectNode describe(List<LayerShape> compressedShapes, List<List<String>> biases) {
    ObjectNode json = Json.MAPPER.createObjectNode();
    json.put("format_version", FORMAT_VERSION);
    json.put("base_model_type", modelType);
    json.put("context_length", contextLength);
    json.put("head_dim", headDim);
    json.put("mlp_width", mlpWidth);
    design.describe(json);
    ArrayNode sets = json.putArray("rotary_frequencies");
    for (Rope rope : ropes) {
      sets.add(Json.MAPPER.valueToTree(rope.inverseFrequencies()));
    }
    ArrayNode entries = json.putArray("layers");
    for (int i = 0; i < compressedShapes.size(); i++) {
      describe(compressedShapes.get(i), biases.get(i), entries.addObject());
    }
    return json;
  }

  private void describe(LayerShape shape, List<String> biases, ObjectNode json) {
    LayerAttention attention = shape.attention();
    json.put("mlp_width", shape.mlpWidth());
    json.put("qk_dim", shape.qkDim());
    json.put("vo_dim", shape.voDim());
    json.set("rotary_pairs", Json.MAPPER.valueToTree(shape.rotaryPairs()));
    if (!biases.isEmpty()) {
      json.set("biases", Json.MAPPER.valueToTree(biases));
    }
    if (attention.rotary() != 0) {
      json.put("rotary", attention.rotary());
    }
    if (attention.window() != 0) {
      json.put("window", attention.window());
    }
    if (design.qkNorm() != Design.QkNorm.NONE) {
      json.put("q_norm_eps", attention.queryNormEps());
      json.put("k_norm_eps", attention.keyNormEps());
    }
  }

  /// Parameters of the compressible matrices of all blocks: what ratios and targets count.
  public long matrixParameters() {
    return shapes.stream()
        .mapToLong(s ->
            (long) hiddenSize
                * ((long) (heads + kvHeads) * (s.qkDim() + s.voDim())
                    + (design.gated() ? 3L : 2L) * s.mlpWidth()))
        .sum();
  }

  /// Rows of a weight in a block of the given shape; a vector is one row.
  public long rows(Role role, LayerShape shape) {
    return switch (role) {
      case Q -> (long) heads * shape.qkDim();
      case K -> (long) kvHeads * shape.qkDim();
      case V -> (long) kvHeads * shape.voDim();
      case O, DOWN -> hiddenSize;
      case GATE, UP -> shape.mlpWidth();
      default -> 1;
    };
  }

  /// Columns of a weight in a block of the given shape.
  public long cols(Role role, LayerShape shape) {
    return switch (role) {
      case O -> (long) heads * shape.voDim();
      case DOWN, GATE_BIAS, UP_BIAS -> shape.mlpWidth();
      case Q_BIAS, Q_NORM -> (long) heads * shape.qkDim();
      case K_BIAS, K_NORM -> (long) kvHeads * shape.qkDim();
      case V_BIAS -> (long) kvHeads * shape.voDim();
      default -> hiddenSize;
    };
  }

  static int size(JsonNode config, String key) {
    int value = config.path(key).asInt(0);
    if (value <= 0) {
      throw new UserException("config.json: " + key + " is missing or not a positive number");
    }
    return value;
  }
}
