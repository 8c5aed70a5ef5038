package org.modegpt.bench;

import java.util.LinkedHashMap;
import java.util.Map;
import org.modegpt.backend.Activation;
import org.modegpt.backend.AttentionShape;
import org.modegpt.backend.ops.OpCase;
import org.modegpt.backend.ops.OpCases;
import org.modegpt.tensor.DType;

/// The operations that are benchmarked, by name. Shapes are those of SmolLM2-135M with a sequence
/// of 512 tokens (hidden 576, 9 query and 3 key/value heads of 64, MLP 1536), which is what
/// calibration and perplexity spend their time on; `decode_*` are one token's. The same cases are
/// checked against the reference before anything is timed.
public final class BenchCases {
  private static final int TOKENS = 512;
  private static final int HIDDEN = 576;
  private static final int WIDTH = 1536;

  private BenchCases() {}

  public static Map<String, OpCase> all() {
    Map<String, OpCase> cases = new LinkedHashMap<>();
    cases.put("gemm", OpCases.gemm(DType.F32, false, true, 0, TOKENS, WIDTH, HIDDEN));
    cases.put("linear_bf16", OpCases.linear(DType.BF16, false, TOKENS, HIDDEN, WIDTH));
    cases.put("decode_linear_bf16", OpCases.linear(DType.BF16, false, 1, HIDDEN, WIDTH));
    cases.put("decode_linear_f32", OpCases.linear(DType.F32, false, 1, HIDDEN, WIDTH));
    cases.put("gram", OpCases.gram(TOKENS, WIDTH));
    cases.put("attention", OpCases.attention(AttentionShape.causal(TOKENS, 9, 3, 0.125f), 64, 64));
    cases.put(
        "attention_backward",
        OpCases.attentionBackward(AttentionShape.causal(TOKENS, 9, 3, 0.125f), 64, 64));
    cases.put("rms_norm", OpCases.rmsNorm(TOKENS, HIDDEN, true, false));
    cases.put("rope", OpCases.rope(TOKENS, 9, 64, 32, 3));
    cases.put("gated_activation", OpCases.gatedActivation(Activation.SILU, TOKENS, WIDTH));
    cases.put("nll", OpCases.nll(16, 49152, false));
    cases.put("logit_covariance", OpCases.logitCovariance(TOKENS, 9, 3, 64));
    cases.put("head_gram", OpCases.headGram(TOKENS, 9, 64));
    return cases;
  }
}
