package org.modegpt.model;

import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.modegpt.UserException;
import org.modegpt.backend.Activation;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/// What the blocks of a model compute beyond their sizes. The keys of its JSON form are those of
/// the compact format's object `modegpt`; a family's architecture file leads to the same form, so
/// that from here on nothing asks for the family.
///
/// @param embeddingScale the embedding is multiplied by it
/// @param positionOffset learned positions: the row of position 0 in their table; negative without
/// @param layerNorm LayerNorm with weight and bias in place of RMS norm
/// @param normOffset added to every stored norm weight
/// @param norms which of the norms {@link Role#ATTENTION_NORM}, {@link Role#ATTENTION_OUTPUT_NORM},
///   {@link Role#MLP_NORM} and {@link Role#MLP_OUTPUT_NORM} a block has
/// @param parallel the MLP reads the residual stream as it was before attention was added
/// @param attentionScale of the logits; that of the original head size also after compression
/// @param attentionSoftcap cap of the attention logits, 0 for none
/// @param gated whether the MLP has a gate
/// @param logitSoftcap cap of the final logits, 0 for none
public record Design(
    float embeddingScale,
    int positionOffset,
    boolean layerNorm,
    float normEps,
    float normOffset,
    Set<Role> norms,
    boolean parallel,
    QkNorm qkNorm,
    float attentionScale,
    float attentionSoftcap,
    Activation activation,
    boolean gated,
    float logitSoftcap) {

  /// Norm of queries and keys before the rotary embedding.
  public enum QkNorm {
    NONE,
    /// Over each head.
    HEAD,
    /// Over all heads together.
    WHOLE
  }

  private static final List<Role> NORMS =
      List.of(Role.ATTENTION_NORM, Role.ATTENTION_OUTPUT_NORM, Role.MLP_NORM, Role.MLP_OUTPUT_NORM);

  /// RMS norms before attention and MLP, and a gated MLP.
  public static Design llama(float normEps, float attentionScale, Activation activation) {
    return new Design(
        1f,
        -1,
        false,
        normEps,
        0f,
        EnumSet.of(Role.ATTENTION_NORM, Role.MLP_NORM),
        false,
        QkNorm.NONE,
        attentionScale,
        0f,
        activation,
        true,
        0f);
  }

  public boolean learnedPositions() {
    return positionOffset >= 0;
  }

  /// Whether a block has, or may have, a weight of this role.
  boolean has(Role role) {
    if (role == Role.Q_NORM || role == Role.K_NORM) {
      return qkNorm != QkNorm.NONE;
    }
    if (role.normWeight()) {
      return norms.contains(role);
    }
    if (role.normBias()) {
      return layerNorm && norms.contains(Role.valueOf(role.name().replace("_BIAS", "")));
    }
    return gated || (role != Role.GATE && role != Role.GATE_BIAS);
  }

  static Design of(JsonNode json) {
    Set<Role> norms = EnumSet.noneOf(Role.class);
    for (JsonNode name : json.path("norms").values()) {
      norms.add(Role.valueOf(name.asString().toUpperCase(Locale.ROOT) + "_NORM"));
    }
    return new Design(
        number(json, "embedding_scale", 1),
        json.has("position_offset") ? json.get("position_offset").asInt() : -1,
        json.path("norm").asString("rms").equals("layer"),
        number(json, "norm_eps", 1e-6),
        number(json, "norm_offset", 0),
        json.has("norms") ? norms : EnumSet.of(Role.ATTENTION_NORM, Role.MLP_NORM),
        json.path("parallel").asBoolean(false),
        QkNorm.valueOf(json.path("qk_norm").asString("none").toUpperCase(Locale.ROOT)),
        number(json, "attention_scale", Double.NaN),
        number(json, "attention_softcap", 0),
        activation(json.path("activation").asString("silu")),
        json.path("gated").asBoolean(true),
        number(json, "logit_softcap", 0));
  }

  private static float number(JsonNode json, String key, double otherwise) {
    return (float) json.path(key).asDouble(otherwise);
  }

  /// Puts the form that {@link #of} reads, without what has its default.
  void describe(ObjectNode json) {
    if (embeddingScale != 1) {
      json.put("embedding_scale", embeddingScale);
    }
    if (learnedPositions()) {
      json.put("position_offset", positionOffset);
    }
    json.put("norm", layerNorm ? "layer" : "rms");
    json.put("norm_eps", normEps);
    if (normOffset != 0) {
      json.put("norm_offset", normOffset);
    }
    ArrayNode names = json.putArray("norms");
    NORMS.stream()
        .filter(norms::contains)
        .forEach(role -> names.add(role.key().replace("_norm", "")));
    if (parallel) {
      json.put("parallel", true);
    }
    if (qkNorm != QkNorm.NONE) {
      json.put("qk_norm", qkNorm.name().toLowerCase(Locale.ROOT));
    }
    json.put("attention_scale", attentionScale);
    if (attentionSoftcap > 0) {
      json.put("attention_softcap", attentionSoftcap);
    }
    json.put("activation", name(activation));
    if (!gated) {
      json.put("gated", false);
    }
    if (logitSoftcap > 0) {
      json.put("logit_softcap", logitSoftcap);
    }
  }

  /// An activation by the name it has in transformers.
  private static Activation activation(String name) {
    return switch (name) {
      case "silu", "swish" -> Activation.SILU;
      case "gelu", "gelu_python" -> Activation.GELU;
      case "gelu_new", "gelu_fast", "gelu_pytorch_tanh" -> Activation.GELU_TANH;
      case "relu" -> Activation.RELU;
      case "linear" -> Activation.IDENTITY;
      default -> throw new UserException("config.json: activation '" + name + "' is not supported");
    };
  }

  private static String name(Activation activation) {
    return switch (activation) {
      case SILU -> "silu";
      case GELU -> "gelu";
      case GELU_TANH -> "gelu_pytorch_tanh";
      case RELU -> "relu";
      case IDENTITY -> "linear";
    };
  }
}
