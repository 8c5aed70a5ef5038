package org.modegpt.io;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/// How a GGUF architecture maps to a Hugging Face configuration and to the engine's parameters.
/// llama.cpp's tensor names are the same for all architectures; what differs is in {@link Family}.
///
/// For architectures that turn neighbouring columns, llama.cpp stores query and key rows of rotary
/// pairs next to each other where Hugging Face keeps the two halves of a head apart: row `s * h/2 +
/// t` of a head (half s, pair t) is row `2 t + s` of it in the file.
final class GgufArchitecture {
  /// @param permuted whether query and key rows are interleaved
  /// @param normShift what the converter added to the norm weights
  private record Family(String modelType, String className, boolean permuted, float normShift) {
    Family(String modelType, String className) {
      this(modelType, className, false, 0);
    }
  }

  private static final Map<String, Family> FAMILIES =
      Map.ofEntries(
          Map.entry("llama", new Family("llama", "LlamaForCausalLM", true, 0)),
          Map.entry("deci", new Family("llama", "LlamaForCausalLM", true, 0)),
          Map.entry("qwen2", new Family("qwen2", "Qwen2ForCausalLM")),
          Map.entry("qwen3", new Family("qwen3", "Qwen3ForCausalLM")),
          Map.entry("gemma", new Family("gemma", "GemmaForCausalLM", false, 1)),
          Map.entry("gemma2", new Family("gemma2", "Gemma2ForCausalLM", false, 1)),
          Map.entry("gemma3", new Family("gemma3_text", "Gemma3ForCausalLM", false, 1)),
          Map.entry("smollm3", new Family("smollm3", "SmolLM3ForCausalLM", true, 0)),
          Map.entry("phi3", new Family("phi3", "Phi3ForCausalLM")),
          Map.entry("olmo2", new Family("olmo2", "Olmo2ForCausalLM")),
          Map.entry("gpt2", new Family("gpt2", "GPT2LMHeadModel")),
          Map.entry("gptneox", new Family("gpt_neox", "GPTNeoXForCausalLM")));

  private static final Map<String, String> GLOBAL =
      Map.of(
          "token_embd", "model.embed_tokens",
          "position_embd", "model.embed_positions",
          "output_norm", "model.norm",
          "output", "lm_head");

  private static final Map<String, String> BLOCK =
      Map.ofEntries(
          Map.entry("attn_norm", "input_layernorm"),
          Map.entry("attn_q", "self_attn.q_proj"),
          Map.entry("attn_k", "self_attn.k_proj"),
          Map.entry("attn_v", "self_attn.v_proj"),
          Map.entry("attn_output", "self_attn.o_proj"),
          Map.entry("attn_q_norm", "self_attn.q_norm"),
          Map.entry("attn_k_norm", "self_attn.k_norm"),
          Map.entry("post_attention_norm", "attention_output_norm"),
          Map.entry("ffn_norm", "post_attention_layernorm"),
          Map.entry("ffn_gate", "mlp.gate_proj"),
          Map.entry("ffn_up", "mlp.up_proj"),
          Map.entry("ffn_down", "mlp.down_proj"),
          Map.entry("post_ffw_norm", "mlp_output_norm"));

  private static final Pattern BLOCK_NAME =
      Pattern.compile("blk\\.(\\d+)\\.(\\w+)\\.(weight|bias)");
  private static final Pattern GLOBAL_NAME = Pattern.compile("(\\w+)\\.(weight|bias)");

  /// Factors that divide the rotary frequencies; folded into the configuration.
  private static final String ROPE_FACTORS = "rope_freqs.weight";

  private static final String SHORT_FACTORS = "rope_factors_short.weight";
  private static final Set<String> NO_PARAMETERS =
      Set.of(ROPE_FACTORS, SHORT_FACTORS, "rope_factors_long.weight");

  private final GgufFile file;
  private final String name;
  private final Family family;
  private final int hidden;
  private final int heads;
  private final int kvHeads;
  private final int headSize;

  private GgufArchitecture(GgufFile file, String name, Family family) {
    this.file = file;
    this.name = name;
    this.family = family;
    Long experts = file.integer(key("expert_count"));
    if (experts != null && experts > 0) {
      throw file.error(
          "it is a mixture of %d experts, which is not supported; use a dense model"
              .formatted(experts));
    }
    this.hidden = count("embedding_length");
    this.heads = count("attention.head_count");
    this.kvHeads = countOr("attention.head_count_kv", heads);
    this.headSize = countOr("attention.key_length", hidden / heads);
    if (countOr("attention.value_length", headSize) != headSize) {
      throw file.error(
          "its heads have values of another size than its keys, which '%s' models do not"
              .formatted(name));
    }
  }

  static GgufArchitecture of(GgufFile file) {
    String name = file.text("general.architecture");
    Family family = name == null ? null : FAMILIES.get(name);
    if (name == null || family == null) {
      throw file.error(
          name == null
              ? "it has no general.architecture, so it is no model"
              : "the architecture '%s' is not supported in GGUF, only %s"
                  .formatted(
                      name, String.join(", ", FAMILIES.keySet().stream().sorted().toList())));
    }
    return new GgufArchitecture(file, name, family);
  }

  // ---- parameters

  /// The engine's parameters and where in the file they are.
  ///
  /// @throws UserException for a tensor this architecture does not have
  SequencedMap<String, TensorSlice> parameters() {
    SequencedMap<String, TensorSlice> parameters = new LinkedHashMap<>();
    for (String tensor : file.tensors().keySet()) {
      Matcher block = BLOCK_NAME.matcher(tensor);
      Matcher global = GLOBAL_NAME.matcher(tensor);
      if (NO_PARAMETERS.contains(tensor)) {
        continue;
      }
      if (block.matches()) {
        addBlock(
            parameters,
            tensor,
            "model.layers." + block.group(1) + ".",
            block.group(2),
            "." + block.group(3));
      } else if (global.matches() && GLOBAL.containsKey(global.group(1))) {
        TensorSlice slice = TensorSlice.whole(tensor);
        boolean norm = global.group(1).endsWith("_norm") && global.group(2).equals("weight");
        parameters.put(
            GLOBAL.get(global.group(1)) + "." + global.group(2),
            norm ? slice.minus(family.normShift) : slice);
      } else {
        throw unknown(tensor);
      }
    }
    return parameters;
  }

  private void addBlock(
      Map<String, TensorSlice> parameters, String tensor, String layer, String kind, String what) {
    int q = heads * headSize;
    int k = kvHeads * headSize;
    TensorSlice whole = TensorSlice.whole(tensor);
    boolean fusedGate = kind.equals("ffn_up") && family.modelType.equals("phi3");
    if (kind.equals("attn_qkv")) {
      parameters.put(layer + "self_attn.q_proj" + what, whole.withRows(rows(0, heads)));
      parameters.put(layer + "self_attn.k_proj" + what, whole.withRows(rows(q, kvHeads)));
      parameters.put(layer + "self_attn.v_proj" + what, TensorSlice.range(tensor, q + k, k));
    } else if (fusedGate) {
      int width = count("feed_forward_length");
      parameters.put(layer + "mlp.gate_proj" + what, TensorSlice.range(tensor, 0, width));
      parameters.put(layer + "mlp.up_proj" + what, TensorSlice.range(tensor, width, width));
    } else if (BLOCK.containsKey(kind)) {
      parameters.put(
          layer + BLOCK.get(kind) + what,
          switch (kind) {
            case "attn_q" -> family.permuted ? whole.withRows(rows(0, heads)) : whole;
            case "attn_k" -> family.permuted ? whole.withRows(rows(0, kvHeads)) : whole;
            case "attn_q_norm" -> perHead(tensor, heads).minus(family.normShift);
            case "attn_k_norm" -> perHead(tensor, kvHeads).minus(family.normShift);
            default ->
                kind.endsWith("_norm") && what.equals(".weight")
                    ? whole.minus(family.normShift)
                    : whole;
          });
    } else {
      throw unknown(tensor);
    }
  }

  /// Rows in the file of `count` heads, of which the first starts at row `from`, with the halves of
  /// each apart.
  private int[] rows(int from, int count) {
    int half = headSize / 2;
    return IntStream.range(0, count * headSize)
        .map(i ->
            family.permuted ? i / headSize * headSize + 2 * (i % half) + i % headSize / half : i)
        .map(i -> from + i)
        .toArray();
  }

  /// A norm's weights for all heads, whether the file has them for one or for all.
  private TensorSlice perHead(String tensor, int count) {
    TensorSlice whole = TensorSlice.whole(tensor);
    boolean one = file.tensors().get(tensor).info().elements() == headSize;
    return one
        ? whole.withRows(IntStream.range(0, count * headSize).map(i -> i % headSize).toArray())
        : whole;
  }

  private UserException unknown(String tensor) {
    return file.error(
        "tensor '%s' is not one of the architecture '%s'; use the Hugging Face folder of the model"
            .formatted(tensor, name));
  }

  // ---- configuration

  ObjectNode config() {
    ObjectNode config = Json.MAPPER.createObjectNode();
    config.putArray("architectures").add(family.className());
    config.put("model_type", family.modelType());
    config.put("vocab_size", vocabSize());
    if (family.modelType.equals("gpt2")) {
      gpt2(config);
    } else {
      common(config);
    }
    switch (family.modelType) {
      case "gemma2", "gemma3_text" -> gemma(config);
      case "smollm3" -> noRopeLayers(config);
      case "phi3" -> {
        config.put("original_max_position_embeddings", original());
        window(config);
      }
      case "olmo2" -> {
        if (file.integer(key("attention.sliding_window")) != null) {
          throw file.error("OLMo 3, an 'olmo2' file with sliding windows, is not supported");
        }
      }
      case "gpt_neox" -> {
        config.put("layer_norm_eps", required("attention.layer_norm_epsilon"));
        config.put("use_parallel_residual", file.flag(key("use_parallel_residual"), true));
        config.put("rotary_pct", rotated() / (double) headSize);
        config.put("rotary_emb_base", theta());
        config.put("hidden_act", "gelu");
      }
      default -> {}
    }
    config.put("tie_word_embeddings", !file.tensors().containsKey("output.weight"));
    GgufTokenizer.specialIds(file).forEach((kind, id) -> config.put(kind + "_token_id", id));
    return config;
  }

  private void common(ObjectNode config) {
    config.put("hidden_size", hidden);
    if (name.equals("deci")) {
      widths(config);
    } else {
      config.put("intermediate_size", count("feed_forward_length"));
    }
    config.put("num_hidden_layers", count("block_count"));
    config.put("num_attention_heads", heads);
    config.put("max_position_embeddings", count("context_length"));
    if (family.modelType.equals("gpt_neox")) {
      return;
    }
    config.put("num_key_value_heads", kvHeads);
    config.put("head_dim", headSize);
    config.put("rms_norm_eps", required("attention.layer_norm_rms_epsilon"));
    config.put("rope_theta", theta());
    ObjectNode scaling = ropeScaling();
    if (scaling == null) {
      config.putNull("rope_scaling");
    } else {
      config.set("rope_scaling", scaling);
    }
    if (rotated() != headSize) {
      config.put("partial_rotary_factor", rotated() / (double) headSize);
    }
    config.put("hidden_act", family.modelType.startsWith("gemma") ? "gelu_pytorch_tanh" : "silu");
    if (family.modelType.equals("llama")) {
      config.put("attention_bias", file.tensors().containsKey("blk.0.attn_q.bias"));
      config.put("mlp_bias", file.tensors().containsKey("blk.0.ffn_up.bias"));
    }
  }

  /// MLP widths per layer; `layer_intermediate_sizes` is a key of this program.
  private void widths(ObjectNode config) {
    List<Long> widths = file.list(key("feed_forward_length"), Long.class);
    ArrayNode all = config.putArray("layer_intermediate_sizes");
    widths.forEach(all::add);
    config.put("intermediate_size", widths.stream().mapToLong(w -> w).max().orElse(0));
  }

  private void gpt2(ObjectNode config) {
    config.put("n_embd", hidden);
    config.put("n_inner", count("feed_forward_length"));
    config.put("n_layer", count("block_count"));
    config.put("n_head", heads);
    config.put("n_positions", count("context_length"));
    config.put("layer_norm_epsilon", required("attention.layer_norm_epsilon"));
    config.put("activation_function", "gelu_new");
  }

  /// What llama.cpp derives instead of reading it from the file: the largest models of both
  /// generations scale logits by the hidden size per head, all others by the head size.
  private void gemma(ObjectNode config) {
    boolean third = family.modelType.equals("gemma3_text");
    boolean largest = count("block_count") == (third ? 62 : 46);
    config.put("query_pre_attn_scalar", largest ? hidden / heads : headSize);
    config.put("hidden_activation", "gelu_pytorch_tanh");
    config.remove("hidden_act");
    if (third) {
      Double local = file.number(key("rope.freq_base_swa"));
      config.put("rope_local_base_freq", local == null ? 10000.0 : local);
    }
    softcap(config, "attn_logit_softcapping", third ? null : 50.0);
    softcap(config, "final_logit_softcapping", third ? null : 30.0);
    window(config);
    slidingLayers(config, third ? 6 : 2);
  }

  private void softcap(ObjectNode config, String suffix, @Nullable Double otherwise) {
    Double stated = file.number(key(suffix));
    config.put(suffix, stated == null ? otherwise : stated);
  }

  private void window(ObjectNode config) {
    Long window = file.integer(key("attention.sliding_window"));
    config.put("sliding_window", window == null || window == 0 ? null : window);
  }

  /// Layers with the window: as the file lists them, or all but every n-th.
  private void slidingLayers(ObjectNode config, int period) {
    Object stated = file.metadata().get(key("attention.sliding_window_pattern"));
    List<?> listed = stated instanceof List<?> list ? list : List.of();
    long step = stated instanceof Long n && n > 0 ? n : period;
    ArrayNode types = config.putArray("layer_types");
    for (int i = 0; i < count("block_count"); i++) {
      boolean slides = i < listed.size() ? Boolean.TRUE.equals(listed.get(i)) : (i + 1) % step != 0;
      types.add(slides ? "sliding_attention" : "full_attention");
    }
  }

  /// llama.cpp runs every fourth layer without rotary embedding.
  private void noRopeLayers(ObjectNode config) {
    ArrayNode layers = config.putArray("no_rope_layers");
    for (int i = 0; i < count("block_count"); i++) {
      layers.add((i + 1) % 4 == 0 ? 0 : 1);
    }
  }

  /// Columns of a head that turn.
  private int rotated() {
    int dimension = countOr("rope.dimension_count", headSize);
    boolean partly = dimension != headSize;
    if (partly && !Set.of("gpt_neox", "phi3").contains(family.modelType)) {
      throw file.error(
          "only %d of the %d columns of its heads turn, which '%s' models do not do"
              .formatted(dimension, headSize, name));
    }
    return dimension;
  }

  private double theta() {
    Double theta = file.number(key("rope.freq_base"));
    return theta == null ? 10000.0 : theta;
  }

  private long original() {
    Long original = file.integer(key("rope.scaling.original_context_length"));
    return original == null ? count("context_length") : original;
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
    GgufFile.Entry shortFactors = file.tensors().get(SHORT_FACTORS);
    if (shortFactors != null) {
      return longRope(file.view(shortFactors).toFloats());
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

  private ObjectNode longRope(float[] factors) {
    ObjectNode scaling = Json.MAPPER.createObjectNode();
    scaling.put("rope_type", "longrope");
    ArrayNode shorts = scaling.putArray("short_factor");
    for (float factor : factors) {
      shorts.add(factor);
    }
    GgufFile.Entry longFactors = file.tensors().get("rope_factors_long.weight");
    ArrayNode longs = scaling.putArray("long_factor");
    if (longFactors != null) {
      for (float factor : file.view(longFactors).toFloats()) {
        longs.add(factor);
      }
    }
    scaling.put("original_max_position_embeddings", original());
    Double attention = file.number(key("rope.scaling.attn_factor"));
    if (attention != null) {
      scaling.put("attention_factor", attention);
    }
    return scaling;
  }

  /// Recovers the parameters behind Llama 3's factors: `f` for wavelengths above `original / low`,
  /// 1 below `original / high`, and `1 / ((1 - s) / f + s)` between, `s = (original / wavelength -
  /// low) / (high - low)`. The file keeps only the factors; models by that name have low 1, high 4
  /// and original 8192. Other factors are stated one by one, in the form of LongRoPE.
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
        return givenFactors(factors);
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

  /// The same factors for all lengths.
  private ObjectNode givenFactors(float... factors) {
    ObjectNode scaling = Json.MAPPER.createObjectNode();
    scaling.put("rope_type", "longrope");
    ArrayNode shorts = scaling.putArray("short_factor");
    for (float factor : factors) {
      shorts.add(factor);
    }
    scaling.set("long_factor", shorts.deepCopy());
    scaling.put("attention_factor", 1.0);
    scaling.put("original_max_position_embeddings", count("context_length"));
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

  private int countOr(String suffix, int otherwise) {
    return file.metadata().containsKey(key(suffix)) ? count(suffix) : otherwise;
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
