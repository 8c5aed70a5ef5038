package org.modegpt.export;

import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.model.Architecture.Global;
import org.modegpt.model.ModelConfig;
import org.modegpt.model.Role;
import org.modegpt.model.Rope;
import tools.jackson.databind.JsonNode;

/// How llama.cpp has a model: its architecture, the metadata that describe it, and the names of its
/// tensors, which are the same for all architectures.
final class GgufLayout {
  /// @param name llama.cpp's
  /// @param permuted whether it turns neighbouring columns, so that rows of queries and keys are
  ///   stored pair by pair
  /// @param normShift added to norm weights
  private record Target(String name, boolean permuted, float normShift) {}

  private static final Map<String, Target> TARGETS =
      Map.ofEntries(
          Map.entry("llama", new Target("llama", true, 0)),
          Map.entry("mistral", new Target("llama", true, 0)),
          Map.entry("smollm3", new Target("smollm3", true, 0)),
          Map.entry("qwen2", new Target("qwen2", false, 0)),
          Map.entry("qwen3", new Target("qwen3", false, 0)),
          Map.entry("gemma", new Target("gemma", false, 1)),
          Map.entry("gemma2", new Target("gemma2", false, 1)),
          Map.entry("gemma3_text", new Target("gemma3", false, 1)),
          Map.entry("phi3", new Target("phi3", false, 0)),
          Map.entry("olmo2", new Target("olmo2", false, 0)),
          Map.entry("gpt2", new Target("gpt2", false, 0)),
          Map.entry("gpt_neox", new Target("gptneox", false, 0)));

  private static final Map<Role, String> BLOCK = new EnumMap<>(Role.class);

  static {
    BLOCK.put(Role.ATTENTION_NORM, "attn_norm");
    BLOCK.put(Role.Q, "attn_q");
    BLOCK.put(Role.K, "attn_k");
    BLOCK.put(Role.V, "attn_v");
    BLOCK.put(Role.O, "attn_output");
    BLOCK.put(Role.Q_NORM, "attn_q_norm");
    BLOCK.put(Role.K_NORM, "attn_k_norm");
    BLOCK.put(Role.ATTENTION_OUTPUT_NORM, "post_attention_norm");
    BLOCK.put(Role.MLP_NORM, "ffn_norm");
    BLOCK.put(Role.GATE, "ffn_gate");
    BLOCK.put(Role.UP, "ffn_up");
    BLOCK.put(Role.DOWN, "ffn_down");
    BLOCK.put(Role.MLP_OUTPUT_NORM, "post_ffw_norm");
  }

  private static final List<List<Role>> QKV =
      List.of(List.of(Role.Q, Role.K, Role.V), List.of(Role.Q_BIAS, Role.K_BIAS, Role.V_BIAS));

  /// Weights that an architecture has in one tensor.
  private static final Map<String, List<List<Role>>> FUSED =
      Map.of("gpt2", QKV, "gptneox", QKV, "phi3", List.of(List.of(Role.GATE, Role.UP)));

  private final DenseModel model;
  private final ModelConfig sizes;
  private final Target target;

  /// @param deci whether every layer has an MLP width of its own
  GgufLayout(DenseModel model, boolean deci) {
    this.model = model;
    this.sizes = model.sizes();
    Target found = TARGETS.get(sizes.modelType());
    if (found == null) {
      throw new UserException(
          "llama.cpp has no architecture for '%s' models; choose a folder format"
              .formatted(sizes.modelType()));
    }
    if (deci) {
      found = deci(found);
    }
    this.target = found;
  }

  /// What queries must be multiplied by, for llama.cpp takes the softmax scale from the head size.
  float queryFactor() {
    double turned = sizes.ropes().isEmpty() ? 1 : sizes.ropes().getFirst().logitFactor();
    // Its rule for the largest Gemma models.
    boolean largest =
        target.name.matches("gemma[23]") && (sizes.layers() == 46 || sizes.layers() == 62);
    int own = largest ? sizes.hiddenSize() / sizes.heads() : sizes.headDim();
    double factor = sizes.design().attentionScale() / turned * Math.sqrt(own);
    return Math.abs(factor - 1) < 1e-6 ? 1 : (float) factor;
  }

  private Target deci(Target plain) {
    if (!plain.name.equals("llama")) {
      throw new UserException(
          "an MLP width per layer is possible for llama models only, not for '%s'; choose gguf or gguf-uniform"
              .formatted(sizes.modelType()));
    }
    return new Target("deci", true, 0);
  }

  /// What describes the model, without tokenizer.
  SequencedMap<String, Object> metadata(String name) {
    SequencedMap<String, Object> all = new LinkedHashMap<>();
    all.put("general.architecture", target.name);
    all.put("general.type", "model");
    all.put("general.name", name);
    put(all, "block_count", sizes.layers());
    put(all, "context_length", contextLength());
    put(all, "embedding_length", sizes.hiddenSize());
    put(
        all,
        "feed_forward_length",
        target.name.equals("deci")
            ? model.layers().map(model::width).toArray()
            : (Object) sizes.mlpWidth());
    put(all, "attention.head_count", sizes.heads());
    put(all, "attention.head_count_kv", sizes.kvHeads());
    put(all, "attention.key_length", sizes.headDim());
    put(all, "attention.value_length", sizes.headDim());
    String kind = sizes.design().layerNorm() ? "epsilon" : "rms_epsilon";
    put(all, "attention.layer_norm_" + kind, sizes.design().normEps());
    put(all, "vocab_size", sizes.vocabSize());
    if (!sizes.ropes().isEmpty()) {
      rope(all);
    }
    if (sizes.design().attentionSoftcap() > 0) {
      put(all, "attn_logit_softcapping", sizes.design().attentionSoftcap());
    }
    if (sizes.design().logitSoftcap() > 0) {
      put(all, "final_logit_softcapping", sizes.design().logitSoftcap());
    }
    windows(all);
    if (target.name.equals("gptneox")) {
      put(all, "use_parallel_residual", sizes.design().parallel());
    }
    return all;
  }

  private void put(Map<String, Object> all, String key, Object value) {
    all.put(target.name + "." + key, value);
  }

  private void rope(Map<String, Object> all) {
    Rope rope = sizes.ropes().getFirst();
    put(all, "rope.dimension_count", 2 * rope.inverseFrequencies().length);
    put(all, "rope.freq_base", (float) rope.theta());
    if (sizes.ropes().size() > 1) {
      put(all, "rope.freq_base_swa", (float) sizes.ropes().get(1).theta());
    }
    JsonNode scaling = scaling();
    switch (rope.type()) {
      case "linear", "yarn" -> {
        put(all, "rope.scaling.type", rope.type());
        put(all, "rope.scaling.factor", (float) scaling.path("factor").asDouble(1));
        int original = scaling.path("original_max_position_embeddings").asInt(0);
        if (original > 0) {
          put(all, "rope.scaling.original_context_length", original);
        }
      }
      case "longrope", "su" -> {
        if (target.name.equals("phi3")) {
          put(all, "rope.scaling.original_context_length", rope.longest());
          put(all, "rope.scaling.attn_factor", (float) Math.sqrt(rope.logitFactor()));
        }
      }
      default -> {}
    }
  }

  private JsonNode scaling() {
    JsonNode parameters = model.config().path("rope_parameters");
    if (parameters.has("full_attention")) {
      return parameters.path("full_attention");
    }
    return parameters.isObject() ? parameters : model.config().path("rope_scaling");
  }

  private int[] windowSizes() {
    return sizes.shapes().stream().mapToInt(s -> s.attention().window()).toArray();
  }

  /// The longest text for which llama.cpp computes the same.
  private int contextLength() {
    Integer window = ignoredWindow();
    int length = sizes.contextLength();
    if (target.name.equals(
        "phi3")) { // beyond the original context it takes the long factors itself
      length = model.config().path("max_position_embeddings").asInt(length);
    }
    return window == null ? length : Math.min(length, window);
  }

  /// The least sliding window of a model that llama.cpp runs without, if texts can be longer. It
  /// reads Phi-3's and does not use it.
  private @Nullable Integer ignoredWindow() {
    if (target.name.startsWith("gemma")) {
      return null;
    }
    int window = IntStream.of(windowSizes()).filter(w -> w > 0).min().orElse(Integer.MAX_VALUE);
    return window < sizes.contextLength() ? window : null;
  }

  /// What a user should know about the file.
  List<String> notes() {
    Integer window = ignoredWindow();
    return window == null
        ? List.of()
        : List.of(
            "llama.cpp runs '%s' models without their sliding window: the file's context is its length, %d tokens, up to which both compute the same"
                .formatted(sizes.modelType(), window));
  }

  private void windows(Map<String, Object> all) {
    int[] windows = windowSizes();
    int window = IntStream.of(windows).max().orElse(0);
    if (window == 0) {
      return;
    }
    if (target.name.startsWith("gemma") || target.name.equals("phi3")) {
      put(all, "attention.sliding_window", window);
    }
    if (target.name.startsWith("gemma")) {
      put(all, "attention.sliding_window_pattern", period(windows));
    }
  }

  /// The n for which every n-th layer sees all.
  private int period(int... windows) {
    for (int n = 1; n <= windows.length + 1; n++) {
      int period = n;
      if (IntStream.range(0, windows.length)
          .allMatch(i -> (windows[i] > 0) == (i % period < period - 1))) {
        return period;
      }
    }
    throw new UserException(
        "llama.cpp cannot have these layers with and without a sliding window; choose a folder format");
  }

  /// Tensors of factors that divide the rotary frequencies, for scalings that llama.cpp has in no
  /// other way.
  Map<String, float[]> ropeFactors() {
    String type = sizes.ropes().isEmpty() ? "default" : sizes.ropes().getFirst().type();
    boolean longRope = type.equals("longrope") || type.equals("su");
    if (!longRope && !type.equals("llama3")) {
      return Map.of();
    }
    Map<String, float[]> factors = new LinkedHashMap<>();
    if (target.name.equals("phi3") && longRope) {
      factors.put("rope_factors_long.weight", listed("long_factor"));
      factors.put("rope_factors_short.weight", listed("short_factor"));
    } else if (target.permuted && (!longRope || sameAtAllLengths())) {
      factors.put("rope_freqs.weight", factors(sizes.ropes().getFirst()));
    } else {
      throw new UserException(
          "llama.cpp has no rotary scaling '%s' for '%s' models; choose a folder format"
              .formatted(type, sizes.modelType()));
    }
    return factors;
  }

  private static float[] factors(Rope rope) {
    double[] f = rope.inverseFrequencies();
    float[] factors = new float[f.length];
    for (int t = 0; t < f.length; t++) {
      factors[t] = (float) (Math.pow(rope.theta(), -(double) t / f.length) / f[t]);
    }
    return factors;
  }

  /// Whether longer texts have the same factors, and none multiplies the logits.
  private boolean sameAtAllLengths() {
    return sizes.ropes().getFirst().logitFactor() == 1
        && scaling().path("short_factor").equals(scaling().path("long_factor"));
  }

  private float[] listed(String key) {
    JsonNode list = scaling().path(key);
    float[] factors = new float[list.size()];
    for (int t = 0; t < factors.length; t++) {
      factors[t] = (float) list.get(t).asDouble();
    }
    return factors;
  }

  float normShift() {
    return target.normShift;
  }

  /// Heads whose rows are stored pair by pair in a tensor of this role, or 0.
  int permutedHeads(Role role) {
    if (!target.permuted) {
      return 0;
    }
    return switch (role) {
      case Q, Q_BIAS -> sizes.heads();
      case K, K_BIAS -> sizes.kvHeads();
      default -> 0;
    };
  }

  /// The roles that share a tensor with this one, in their order in it.
  List<Role> together(Role role) {
    for (List<Role> group : FUSED.getOrDefault(target.name, List.of())) {
      if (group.contains(role)) {
        return group;
      }
    }
    return List.of(role);
  }

  String name(Role role, int layer) {
    boolean bias = role.name().endsWith("_BIAS");
    Role of = bias ? Role.valueOf(role.name().replace("_BIAS", "")) : role;
    boolean fused = together(role).size() > 1;
    // A gate in one with the other half goes by the other's name.
    String name = !fused ? BLOCK.get(of) : of == Role.GATE ? BLOCK.get(Role.UP) : "attn_qkv";
    return "blk.%d.%s.%s".formatted(layer, name, bias ? "bias" : "weight");
  }

  static String name(Global global) {
    return switch (global) {
      case EMBEDDING -> "token_embd.weight";
      case POSITIONS -> "position_embd.weight";
      case FINAL_NORM -> "output_norm.weight";
      case FINAL_NORM_BIAS -> "output_norm.bias";
      case HEAD -> "output.weight";
    };
  }
}
