package org.modegpt.model;

import java.util.ArrayList;
import java.util.List;
import org.modegpt.UserException;
import org.modegpt.backend.Activation;
import tools.jackson.databind.JsonNode;

/// Sizes and constants of a decoder-only transformer, from a Hugging Face `config.json` (llama
/// keys) or one written by this engine, whose `modegpt` object adds the per-layer shapes.
///
/// @param modelType the family's `model_type`; for a compressed model that of its base
/// @param headDim size of one head in the original model: the softmax scale is `1 / sqrt(headDim)`
///   also after compression
/// @param mlpWidth inner size of the MLP in the original model
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
    float normEps,
    Activation activation,
    Rope rope,
    boolean tiedEmbeddings,
    List<LayerShape> shapes,
    boolean compressed) {

  /// The `model_type` of compressed models in the compact format.
  public static final String COMPACT_TYPE = "modegpt";

  /// Version of the compact format.
  public static final int FORMAT_VERSION = 1;

  public static ModelConfig of(JsonNode config) {
    boolean compressed = config.path("model_type").asString("").equals(COMPACT_TYPE);
    JsonNode compact = config.path("modegpt");
    if (compressed && compact.path("format_version").asInt(0) != FORMAT_VERSION) {
      throw new UserException(
          "config.json: this program reads compact format version " + FORMAT_VERSION + " only");
    }
    String modelType =
        (compressed ? compact.path("base_model_type") : config.path("model_type")).asString("");
    if (modelType.isEmpty()) {
      throw new UserException("config.json has no model_type");
    }
    Architecture.of(modelType);
    int hidden = size(config, "hidden_size");
    int heads = size(config, "num_attention_heads");
    int kvHeads = config.path("num_key_value_heads").asInt(heads);
    int headDim = config.path("head_dim").asInt(hidden / heads);
    int layers = size(config, "num_hidden_layers");
    int width = size(config, "intermediate_size");
    if (kvHeads <= 0 || heads % kvHeads != 0) {
      throw new UserException(
          "config.json: " + heads + " heads cannot share " + kvHeads + " key/value heads");
    }
    if (headDim <= 0 || headDim % 2 != 0) {
      throw new UserException(
          "config.json: head_dim " + headDim + " is not a positive even number");
    }
    return new ModelConfig(
        modelType,
        hidden,
        layers,
        heads,
        kvHeads,
        headDim,
        width,
        size(config, "vocab_size"),
        config.path("max_position_embeddings").asInt(2048),
        (float) config.path("rms_norm_eps").asDouble(1e-6),
        activation(config.path("hidden_act").asString("silu")),
        Rope.of(config, headDim),
        config.path("tie_word_embeddings").asBoolean(false),
        shapes(
            compressed ? compact : null, layers, LayerShape.full(width, headDim, kvHeads), kvHeads),
        compressed);
  }

  public float attentionScale() {
    return (float) (1.0 / Math.sqrt(headDim));
  }

  /// Parameters of the compressible matrices of all blocks: what ratios and targets count.
  public long matrixParameters() {
    return shapes.stream().mapToLong(s -> s.matrixParameters(hiddenSize, heads, kvHeads)).sum();
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
      case Q_BIAS -> (long) heads * shape.qkDim();
      case K_BIAS -> (long) kvHeads * shape.qkDim();
      case V_BIAS -> (long) kvHeads * shape.voDim();
      default -> hiddenSize;
    };
  }

  private static int size(JsonNode config, String key) {
    int value = config.path(key).asInt(0);
    if (value <= 0) {
      throw new UserException("config.json: " + key + " is missing or not a positive number");
    }
    return value;
  }

  private static Activation activation(String name) {
    return switch (name) {
      case "silu", "swish" -> Activation.SILU;
      case "gelu" -> Activation.GELU;
      case "gelu_new", "gelu_fast", "gelu_pytorch_tanh" -> Activation.GELU_TANH;
      case "relu" -> Activation.RELU;
      default -> throw new UserException("config.json: activation '" + name + "' is not supported");
    };
  }

  private static List<LayerShape> shapes(
      JsonNode compact, int layers, LayerShape full, int kvHeads) {
    List<LayerShape> shapes = new ArrayList<>();
    if (compact != null && compact.path("layers").size() != layers) {
      throw new UserException("config.json: modegpt.layers must have " + layers + " entries");
    }
    for (int i = 0; i < layers; i++) {
      shapes.add(compact == null ? full : shape(compact.get("layers").get(i), i, full, kvHeads));
    }
    return List.copyOf(shapes);
  }

  private static LayerShape shape(JsonNode json, int layer, LayerShape full, int kvHeads) {
    List<List<Integer>> pairs = new ArrayList<>();
    for (JsonNode head : json.path("rotary_pairs").values()) {
      pairs.add(head.values().stream().map(JsonNode::asInt).toList());
    }
    int width = json.path("mlp_width").asInt(0);
    int qk = json.path("qk_dim").asInt(0);
    int vo = json.path("vo_dim").asInt(0);
    boolean sane =
        width > 0
            && width <= full.mlpWidth()
            && qk > 0
            && qk <= full.qkDim()
            && vo > 0
            && vo <= full.voDim();
    boolean pairsMatch =
        pairs.size() == kvHeads
            && pairs.stream()
                .allMatch(p ->
                    2 * p.size() == qk && p.stream().allMatch(t -> t >= 0 && t < full.qkDim() / 2));
    if (!sane || !pairsMatch) {
      throw new UserException(
          "config.json: modegpt.layers[" + layer + "] does not fit the model's sizes");
    }
    return new LayerShape(width, qk, vo, pairs);
  }
}
