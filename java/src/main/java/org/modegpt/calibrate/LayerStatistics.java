package org.modegpt.calibrate;

import java.lang.foreign.Arena;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.modegpt.backend.Backend;
import org.modegpt.model.ModelConfig;
import org.modegpt.model.Residents;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// What calibration gathers of one decoder block of the dense model: sums over tokens, F64, not
/// centred, so that any split of the tokens adds up. Tensors belong to the arena they were made in.
///
/// @param attentionInput `C_X = XᵀX` `[d, d]` of the input of the query, key and value projections;
///   lower triangle
/// @param mlpInner `C_H = HᵀH` `[f, f]` of the MLP inner activations; lower triangle
/// @param queryEnergy `[1, heads * h]` diagonal of `qᵀq`, before the rotary embedding
/// @param keyEnergy `[1, kvHeads * h]` diagonal of `kᵀk`, before the rotary embedding
/// @param headOutput `C_Z` `[heads * h, h]`: per query head `zᵀz` of what the head emits
/// @param logitCovariance `[heads * h, h]`: per query head the covariance of the rotary pairs'
///   shares in the logits under attention, over sampled queries; see {@link
///   Backend#logitCovariance}
/// @param influence `[1, 3]`: sum of cos(x_in, x_out), sum of ‖x_out − x_in‖² / ‖x_in‖², tokens
/// @param extra what only some layers need, by name, see {@link QueryKeySums}
public record LayerStatistics(
    Tensor attentionInput,
    Tensor mlpInner,
    Tensor queryEnergy,
    Tensor keyEnergy,
    Tensor headOutput,
    Tensor logitCovariance,
    Tensor influence,
    Map<String, Tensor> extra) {

  /// The large ones, of which only the lower triangle is kept for long.
  static final List<String> TRIANGLES =
      List.of("attention_input", "mlp_inner", "output_gradient", "mlp_gradient");

  /// `M = GᵀG` `[d, d]` of the {@link LossGradients} at the block's output; lower triangle.
  static final String OUTPUT_GRADIENT = "output_gradient";

  /// Tokens that those were taken at `[1, 1]`.
  static final String GRADIENT_TOKENS = "gradient_tokens";

  /// The same at the output of the MLP, in models where a norm follows that.
  static final String MLP_GRADIENT = "mlp_gradient";

  private static final List<String> ALWAYS =
      List.of(
          "attention_input",
          "mlp_inner",
          "query_energy",
          "key_energy",
          "head_output",
          "logit_covariance",
          "influence");

  public LayerStatistics {
    extra = new LinkedHashMap<>(extra);
  }

  /// Of a layer that needs nothing more.
  public LayerStatistics(
      Tensor attentionInput,
      Tensor mlpInner,
      Tensor queryEnergy,
      Tensor keyEnergy,
      Tensor headOutput,
      Tensor logitCovariance,
      Tensor influence) {
    this(
        attentionInput,
        mlpInner,
        queryEnergy,
        keyEnergy,
        headOutput,
        logitCovariance,
        influence,
        Map.of());
  }

  /// Of a sum.
  record Size(long rows, long cols) {

    long bytes() {
      return DType.F64.bytes(rows * cols);
    }
  }

  /// The sums that a layer of the model has, by name, in the order they are stored.
  ///
  /// @param gradients whether those of {@link LossGradients} are among them
  static Map<String, Size> sizes(ModelConfig config, int layer, boolean gradients) {
    long d = config.hiddenSize();
    long f = config.mlpWidth();
    long h = config.headDim();
    long q = config.heads() * h;
    long k = config.kvHeads() * h;
    Map<String, Size> sizes = new LinkedHashMap<>();
    sizes.put("attention_input", new Size(d, d));
    sizes.put("mlp_inner", new Size(f, f));
    sizes.put("query_energy", new Size(1, q));
    sizes.put("key_energy", new Size(1, k));
    sizes.put("head_output", new Size(q, h));
    sizes.put("logit_covariance", new Size(q, h));
    sizes.put("influence", new Size(1, 3));
    sizes.putAll(QueryKeySums.sizes(config, config.shapes().get(layer)));
    if (gradients) {
      sizes.put(GRADIENT_TOKENS, new Size(1, 1));
      sizes.put(OUTPUT_GRADIENT, new Size(d, d));
      if (LossGradients.normed(config)) {
        sizes.put(MLP_GRADIENT, new Size(d, d));
      }
    }
    return sizes;
  }

  /// All zero, on the back-end's device.
  public static LayerStatistics zeros(
      Backend backend, Arena arena, ModelConfig config, int layer, boolean gradients) {
    Map<String, Tensor> sums = new LinkedHashMap<>();
    sizes(config, layer, gradients)
        .forEach((name, size) ->
            sums.put(name, Residents.zeros(backend, arena, size.rows(), size.cols())));
    return of(sums);
  }

  /// `1 − E[cos(x_in, x_out)]` over tokens; needs host memory.
  public double blockInfluence() {
    return 1 - influence.get(0, 0) / tokens();
  }

  public double tokens() {
    return influence.get(0, 2);
  }

  /// Sums of gradients at the block's output, or null where they were not gathered.
  public @Nullable Tensor outputGradient() {
    return extra.get(OUTPUT_GRADIENT);
  }

  public @Nullable Tensor gradientTokens() {
    return extra.get(GRADIENT_TOKENS);
  }

  /// Sums that only statistics with gradients have.
  public static Tensor required(@Nullable Tensor sum) {
    if (sum == null) {
      throw new IllegalArgumentException("these statistics hold no gradients");
    }
    return sum;
  }

  /// The same at the output of the MLP, before a norm of it.
  public @Nullable Tensor mlpGradient() {
    return extra.getOrDefault(MLP_GRADIENT, outputGradient());
  }

  /// The sums by name, in the order they are stored.
  public Map<String, Tensor> named() {
    Map<String, Tensor> named = new LinkedHashMap<>();
    named.put("attention_input", attentionInput);
    named.put("mlp_inner", mlpInner);
    named.put("query_energy", queryEnergy);
    named.put("key_energy", keyEnergy);
    named.put("head_output", headOutput);
    named.put("logit_covariance", logitCovariance);
    named.put("influence", influence);
    named.putAll(extra);
    return named;
  }

  /// The inverse of {@link #named()}.
  public static LayerStatistics of(Map<String, Tensor> named) {
    Map<String, Tensor> extra = new LinkedHashMap<>(named);
    ALWAYS.forEach(extra::remove);
    return new LayerStatistics(
        named.get("attention_input"),
        named.get("mlp_inner"),
        named.get("query_energy"),
        named.get("key_energy"),
        named.get("head_output"),
        named.get("logit_covariance"),
        named.get("influence"),
        extra);
  }
}
