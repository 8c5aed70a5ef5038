package org.modegpt.io;

import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import tools.jackson.databind.node.ObjectNode;

/// How a GGUF architecture maps to Hugging Face: tensor names and configuration keys. A further
/// family whose tensors have the common names is a line in {@link #FAMILIES}.
final class GgufArchitecture {
  /// @param permuted whether the converter interleaves query and key rows
  private record Family(String modelType, String className, boolean permuted) {}

  private static final Map<String, Family> FAMILIES =
      Map.of("llama", new Family("llama", "LlamaForCausalLM", true));

  private static final Map<String, String> GLOBAL =
      Map.of("token_embd", "model.embed_tokens", "output_norm", "model.norm", "output", "lm_head");

  private static final Map<String, String> BLOCK =
      Map.of(
          "attn_norm", "input_layernorm",
          "attn_q", "self_attn.q_proj",
          "attn_k", "self_attn.k_proj",
          "attn_v", "self_attn.v_proj",
          "attn_output", "self_attn.o_proj",
          "ffn_norm", "post_attention_layernorm",
          "ffn_gate", "mlp.gate_proj",
          "ffn_up", "mlp.up_proj",
          "ffn_down", "mlp.down_proj");

  private static final Pattern BLOCK_NAME =
      Pattern.compile("blk\\.(\\d+)\\.(\\w+)\\.(weight|bias)");
  private static final Pattern GLOBAL_NAME = Pattern.compile("(\\w+)\\.(weight|bias)");

  /// Llama 3's frequency factors, one per rotary pair; folded into the configuration.
  private static final String ROPE_FACTORS = "rope_freqs.weight";

  private final GgufFile file;
  private final String name;
  private final Family family;
  private final int heads;
  private final int kvHeads;

  private GgufArchitecture(GgufFile file, String name, Family family) {
    this.file = file;
    this.name = name;
    this.family = family;
    this.heads = count("attention.head_count");
    this.kvHeads =
        file.metadata().containsKey(key("attention.head_count_kv"))
            ? count("attention.head_count_kv")
            : heads;
    Long experts = file.integer(key("expert_count"));
    if (experts != null && experts > 0) {
      throw file.error(
          "it is a mixture of %d experts, which is not supported; use a dense model"
              .formatted(experts));
    }
  }

  static GgufArchitecture of(GgufFile file) {
    String name = file.text("general.architecture");
    Family family = name == null ? null : FAMILIES.get(name);
    if (name == null || family == null) {
      throw file.error(
          name == null
              ? "it has no general.architecture, so it is no model"
              : "the architecture '%s' is not supported in GGUF, only %s; use the Hugging Face folder of the model"
                  .formatted(
                      name, String.join(", ", FAMILIES.keySet().stream().sorted().toList())));
    }
    return new GgufArchitecture(file, name, family);
  }

  /// The Hugging Face name, or empty for a tensor that is not a parameter.
  ///
  /// @throws UserException for a tensor this architecture does not have
  Optional<String> huggingFaceName(String gguf) {
    if (gguf.equals(ROPE_FACTORS)) {
      return Optional.empty();
    }
    Matcher block = BLOCK_NAME.matcher(gguf);
    if (block.matches() && BLOCK.containsKey(block.group(2))) {
      return Optional.of(
          "model.layers.%s.%s.%s"
              .formatted(block.group(1), BLOCK.get(block.group(2)), block.group(3)));
    }
    Matcher global = GLOBAL_NAME.matcher(gguf);
    if (global.matches() && GLOBAL.containsKey(global.group(1))) {
      return Optional.of(GLOBAL.get(global.group(1)) + "." + global.group(2));
    }
    throw file.error(
        "tensor '%s' is not one of the architecture '%s'; use the Hugging Face folder of the model"
            .formatted(gguf, name));
  }

  /// Heads whose rows are interleaved in a tensor of this GGUF name, or 0.
  int permutedHeads(String gguf) {
    Matcher block = BLOCK_NAME.matcher(gguf);
    if (!family.permuted() || !block.matches()) {
      return 0;
    }
    return switch (block.group(2)) {
      case "attn_q" -> heads;
      case "attn_k" -> kvHeads;
      default -> 0;
    };
  }

  ObjectNode config() {
    int hidden = count("embedding_length");
    ObjectNode config = Json.MAPPER.createObjectNode();
    config.putArray("architectures").add(family.className());
    config.put("model_type", family.modelType());
    config.put("hidden_size", hidden);
    config.put("intermediate_size", count("feed_forward_length"));
    config.put("num_hidden_layers", count("block_count"));
    config.put("num_attention_heads", heads);
    config.put("num_key_value_heads", kvHeads);
    config.put("head_dim", headSize(hidden));
    config.put("max_position_embeddings", count("context_length"));
    config.put("vocab_size", vocabSize());
    config.put("rms_norm_eps", required("attention.layer_norm_rms_epsilon"));
    Double theta = file.number(key("rope.freq_base"));
    config.put("rope_theta", theta == null ? 10000.0 : theta);
    ObjectNode scaling = ropeScaling();
    if (scaling == null) {
      config.putNull("rope_scaling");
    } else {
      config.set("rope_scaling", scaling);
    }
    config.put("hidden_act", "silu");
    config.put("tie_word_embeddings", !file.tensors().containsKey("output.weight"));
    config.put("attention_bias", file.tensors().containsKey("blk.0.attn_q.bias"));
    config.put("mlp_bias", file.tensors().containsKey("blk.0.ffn_up.bias"));
    GgufTokenizer.specialIds(file).forEach((kind, id) -> config.put(kind + "_token_id", id));
    return config;
  }

  private int headSize(int hidden) {
    boolean stated = file.metadata().containsKey(key("attention.key_length"));
    int size = stated ? count("attention.key_length") : hidden / heads;
    boolean partial =
        file.metadata().containsKey(key("rope.dimension_count"))
            && count("rope.dimension_count") != size;
    boolean uneven =
        file.metadata().containsKey(key("attention.value_length"))
            && count("attention.value_length") != size;
    if (partial || uneven) {
      throw file.error(
          "its heads have values or rotary parts of another size than its keys, which '%s' models do not"
              .formatted(name));
    }
    return size;
  }

  private int vocabSize() {
    GgufFile.Entry embedding = file.tensors().get("token_embd.weight");
    if (embedding == null) {
      throw file.error("there is no tensor 'token_embd.weight'; the file is incomplete");
    }
    return Math.toIntExact(embedding.info().rows());
  }

  private @Nullable ObjectNode ropeScaling() {
    GgufFile.Entry factors = file.tensors().get(ROPE_FACTORS);
    if (factors != null) {
      return llama3Scaling(file.view(factors).toFloats());
    }
    String type = file.text(key("rope.scaling.type"));
    if (type == null || type.equals("none")) {
      return null;
    }
    ObjectNode scaling = Json.MAPPER.createObjectNode();
    scaling.put("rope_type", type);
    scaling.put("factor", required("rope.scaling.factor"));
    Long original = file.integer(key("rope.scaling.original_context_length"));
    if (original != null) {
      scaling.put("original_max_position_embeddings", original);
    }
    return scaling;
  }

  /// Recovers the parameters behind Llama 3's factors: `f` for wavelengths above `original / low`,
  /// 1 below `original / high`, and `1 / ((1 - s) / f + s)` between, `s = (original / wavelength -
  /// low) / (high - low)`. The file keeps only the factors; every published model has low 1, high 4
  /// and original 8192, which is checked.
  private ObjectNode llama3Scaling(float[] factors) {
    double low = 1;
    double high = 4;
    double original = 8192;
    double theta = required("rope.freq_base");
    double factor = IntStream.range(0, factors.length).mapToDouble(i -> factors[i]).max().orElse(1);
    for (int i = 0; i < factors.length; i++) {
      double wavelength = 2 * Math.PI * Math.pow(theta, (double) i / factors.length);
      double s = Math.clamp((original / wavelength - low) / (high - low), 0, 1);
      double expected = 1 / ((1 - s) / factor + s);
      if (!(Math.abs(factors[i] - expected) <= 1e-3 * expected)) {
        throw file.error(
            "the rotary factors in '%s' are not Llama 3's; use the Hugging Face folder of the model"
                .formatted(ROPE_FACTORS));
      }
    }
    ObjectNode scaling = Json.MAPPER.createObjectNode();
    scaling.put("rope_type", "llama3");
    scaling.put("factor", factor);
    scaling.put("low_freq_factor", low);
    scaling.put("high_freq_factor", high);
    scaling.put("original_max_position_embeddings", (int) original);
    return scaling;
  }

  private String key(String suffix) {
    return name + "." + suffix;
  }

  private int count(String suffix) {
    Long n = file.integer(key(suffix));
    if (n == null || n < 1 || n > Integer.MAX_VALUE) {
      throw file.error(
          "metadata key '%s' is %s: the file is incomplete or damaged"
              .formatted(key(suffix), n == null ? "missing" : n));
    }
    return n.intValue();
  }

  private double required(String suffix) {
    Double x = file.number(key(suffix));
    if (x == null) {
      throw file.error(
          "metadata key '%s' is missing: the file is incomplete".formatted(key(suffix)));
    }
    return x;
  }
}
