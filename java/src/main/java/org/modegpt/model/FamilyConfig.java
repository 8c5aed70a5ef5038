package org.modegpt.model;

import java.util.ArrayList;
import java.util.List;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;
import org.modegpt.UserException;
import org.modegpt.io.Json;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/// Reads the `config.json` of a family by the rules in its architecture file's object `config`:
///
/// * `keys`: the family's names of common keys; `defaults`: values of absent ones; `required`: keys
///   that must have the given value if they are there; `equal`: keys that must equal another one;
/// * `design`: the keys of {@link Design}, each a constant, or `{"key": …, "default": …, "power":
///   …}` for a value of `config.json`;
/// * `rotary`: null without rotary embedding, else `theta_key`, `theta`, `fraction_key`, `fraction`
///   (share of a head that turns) and `local_theta` (layers with a window have frequencies of their
///   own, not scaled);
/// * `window`: which layers have the window of `sliding_window`: `all`, `period` (all but every
///   n-th), `upper` (from `max_window_layers`) or `no_rotary`; `switch` is a key that turns windows
///   on.
final class FamilyConfig {
  private final Architecture architecture;
  private final JsonNode rules;
  private final JsonNode config;

  private FamilyConfig(Architecture architecture, JsonNode config) {
    this.architecture = architecture;
    this.rules = architecture.config();
    this.config = config;
  }

  static ModelConfig of(Architecture architecture, JsonNode config) {
    return new FamilyConfig(architecture, config).read(config.path("model_type").asString());
  }

  private ModelConfig read(String modelType) {
    requireSupported();
    requireEqual();
    int hidden = size("hidden_size");
    int heads = size("num_attention_heads");
    int kvHeads = integer("num_key_value_heads", heads);
    int headDim = integer("head_dim", hidden / heads);
    int layers = size("num_hidden_layers");
    int width = integer("intermediate_size", rules.path("mlp_factor").asInt(0) * hidden);
    if (width <= 0) {
      width = size("intermediate_size");
    }
    JsonNode widths = config.path("layer_intermediate_sizes"); // of a GGUF file of the kind deci
    int context = integer("max_position_embeddings", 2048);
    List<Integer> windows = windows(layers);
    List<Rope> ropes = ropes(headDim, context);
    double logitFactor = ropes.isEmpty() ? 1 : ropes.getFirst().logitFactor();
    Design design = Design.of(design(headDim, logitFactor));
    List<LayerShape> shapes = new ArrayList<>();
    for (int i = 0; i < layers; i++) {
      int window = windows.get(i);
      int set = ropes.size() > 1 && window > 0 ? 1 : 0;
      int pairs = ropes.isEmpty() || !rotates(i) ? 0 : ropes.get(set).inverseFrequencies().length;
      LayerAttention attention =
          new LayerAttention(pairs == 0 ? 0 : set, window, design.normEps(), design.normEps());
      int own = widths.isArray() ? widths.path(i).asInt(0) : width;
      shapes.add(LayerShape.full(own, headDim, kvHeads, pairs, attention));
    }
    int longest = ropes.stream().mapToInt(Rope::longest).min().orElse(Integer.MAX_VALUE);
    return new ModelConfig(
        modelType,
        hidden,
        layers,
        heads,
        kvHeads,
        headDim,
        width,
        size("vocab_size"),
        Math.min(context, longest),
        design,
        ropes,
        get("tie_word_embeddings").asBoolean(false),
        shapes,
        widths.isArray());
  }

  // ---- values of config.json

  /// The value of a common key, by the family's name for it or from the family's defaults; missing
  /// when there is none.
  private JsonNode get(String key) {
    JsonNode value = config.path(rules.path("keys").path(key).asString(key));
    return value.isMissingNode() || value.isNull() ? rules.path("defaults").path(key) : value;
  }

  private int integer(String key, int otherwise) {
    JsonNode value = get(key);
    return value.isNumber() ? value.asInt() : otherwise;
  }

  private int size(String key) {
    int value = integer(key, 0);
    if (value <= 0) {
      throw new UserException(
          "config.json: "
              + rules.path("keys").path(key).asString(key)
              + " is missing or not a positive number");
    }
    return value;
  }

  private void requireSupported() {
    for (var entry : rules.path("required").properties()) {
      JsonNode value = config.path(entry.getKey());
      boolean stated = !value.isMissingNode() && !value.isNull();
      if (stated && !value.equals(entry.getValue())) {
        throw new UserException(
            "config.json: %s models with %s %s are not supported"
                .formatted(architecture.family(), entry.getKey(), value));
      }
    }
  }

  private void requireEqual() {
    for (var entry : rules.path("equal").properties()) {
      JsonNode value = config.path(entry.getKey());
      String other = entry.getValue().asString();
      if (value.isNumber() && value.asInt() != size(other)) {
        throw new UserException(
            "config.json: %s models whose %s differs from %s are not supported"
                .formatted(architecture.family(), entry.getKey(), other));
      }
    }
  }

  // ---- design

  private ObjectNode design(int headDim, double logitFactor) {
    ObjectNode result = Json.MAPPER.createObjectNode();
    result.put("norm_eps", config.path("rms_norm_eps").asDouble(1e-6));
    result.put("activation", config.path("hidden_act").asString("silu"));
    result.put("attention_scale", 1 / Math.sqrt(headDim));
    for (var entry : rules.path("design").properties()) {
      JsonNode value = value(entry.getValue());
      if (!value.isMissingNode()) {
        result.set(entry.getKey(), value);
      }
    }
    result.put("attention_scale", result.get("attention_scale").asDouble() * logitFactor);
    return result;
  }

  /// A constant, or what `config.json` has for it; missing where that is null.
  private JsonNode value(JsonNode rule) {
    if (!rule.isObject()) {
      return rule;
    }
    JsonNode value = config.path(rule.get("key").asString());
    if (value.isMissingNode()) {
      value = rule.path("default");
    }
    if (value.isNull() || value.isMissingNode() || !rule.has("power")) {
      return value.isNull() ? rule.path("null") : value;
    }
    return Json.MAPPER.valueToTree(Math.pow(value.asDouble(), rule.get("power").asDouble()));
  }

  // ---- rotary embedding

  private List<Rope> ropes(int headDim, int context) {
    JsonNode rotary = rules.path("rotary");
    if (rotary.isNull()) {
      return List.of();
    }
    JsonNode all =
        config.has("rope_parameters") ? config.get("rope_parameters") : config.path("rope_scaling");
    boolean perKind = all.has("full_attention");
    JsonNode parameters = perKind ? all.get("full_attention") : all;
    ObjectNode scaling =
        parameters.isObject() ? (ObjectNode) parameters.deepCopy() : Json.MAPPER.createObjectNode();
    JsonNode original = config.path("original_max_position_embeddings");
    if (original.isNumber() && !scaling.has("original_max_position_embeddings")) {
      scaling.set("original_max_position_embeddings", original);
    }
    double theta = number(scaling.path("rope_theta"), rotary, "theta", "rope_theta", 10000);
    double fraction =
        number(
            scaling.path("partial_rotary_factor"), rotary, "fraction", "partial_rotary_factor", 1);
    int dim = (int) (headDim * fraction);
    List<Rope> ropes = new ArrayList<>(List.of(Rope.of(theta, dim, scaling, context)));
    if (ropes.getFirst().logitFactor() != 1 && (dim != headDim || rotary.has("local_theta"))) {
      throw new UserException(
          "config.json: rope scaling '%s' is not supported where not all columns of a head are scaled"
              .formatted(ropes.getFirst().type()));
    }
    if (rotary.has("local_theta")) {
      JsonNode local = all.path("sliding_attention");
      double localTheta =
          number(local.path("rope_theta"), rotary, "local_theta", "rope_local_base_freq", 10000);
      ropes.add(Rope.of(localTheta, dim, local, context));
    }
    return ropes;
  }

  /// `stated`, else the key of `config.json` that the rules name (or the common one), else the
  /// family's default.
  private double number(
      JsonNode stated, JsonNode rotary, String rule, String commonKey, double otherwise) {
    if (stated.isNumber()) {
      return stated.asDouble();
    }
    JsonNode value = config.path(rotary.path(rule + "_key").asString(commonKey));
    return value.isNumber() ? value.asDouble() : rotary.path(rule).asDouble(otherwise);
  }

  private boolean rotates(int layer) {
    JsonNode list = config.path("no_rope_layers");
    if (list.size() > layer) {
      return list.get(layer).asInt() != 0;
    }
    int interval =
        config.path("no_rope_layer_interval").asInt(rules.path("rotary").path("skip").asInt(0));
    return interval == 0 || !rules.path("rotary").has("skip") || (layer + 1) % interval != 0;
  }

  // ---- sliding windows

  private List<Integer> windows(int layers) {
    JsonNode rule = rules.path("window");
    JsonNode size =
        config.has("sliding_window") ? config.get("sliding_window") : rule.path("default");
    boolean on =
        size.isNumber()
            && rule.has("layers")
            && (!rule.has("switch") || config.path(rule.get("switch").asString()).asBoolean(false));
    IntPredicate slides = on ? sliding(rule) : _ -> false;
    return IntStream.range(0, layers).map(i -> slides.test(i) ? size.asInt() : 0).boxed().toList();
  }

  private IntPredicate sliding(JsonNode rule) {
    JsonNode types = config.path("layer_types");
    String layers = rule.get("layers").asString();
    if (layers.equals("all")) {
      return _ -> true;
    }
    if (types.isArray()) {
      return i -> types.path(i).asString("").equals("sliding_attention");
    }
    int period = config.path("sliding_window_pattern").asInt(rule.path("period").asInt(1));
    return switch (layers) {
      case "period" -> i -> (i + 1) % period != 0;
      case "upper" -> i -> i >= config.path("max_window_layers").asInt(28);
      case "no_rotary" -> i -> !rotates(i);
      default -> throw new IllegalStateException("window rule '" + layers + "'");
    };
  }
}
