package org.modegpt.compress;

import com.fasterxml.jackson.annotation.JsonProperty;

/// How one value head that serves several query heads is factored. Without grouped queries both are
/// the optimum.
public enum ValueOutputRule {
  /// The publication: truncated SVD of `C_X^½ W_v` alone; every `W_o,j` is multiplied from the
  /// left, so it has no say.
  @JsonProperty("published")
  PUBLISHED,
  /// The optimum for value and all its output blocks together, with `G_o = Σ_j W_o,j W_o,jᵀ`.
  @JsonProperty("joint")
  JOINT,
  /// The joint optimum for what attention emits: `G_v` is the Gram matrix of the head outputs over
  /// tokens, `Σ_j Z_jᵀ Z_j`, in place of `W_vᵀ C_X W_v`, and each `W_o,j W_o,jᵀ` is weighted by the
  /// energy of its head.
  @JsonProperty("head-output")
  HEAD_OUTPUT
}
