package org.modegpt.compress;

import com.fasterxml.jackson.annotation.JsonProperty;

/// How the ratio is spread over the layers.
public enum AllocationRule {
  @JsonProperty("uniform")
  UNIFORM,
  /// See {@link BlockInfluence}.
  @JsonProperty("block-influence")
  BLOCK_INFLUENCE,
  /// Per module, by measured divergence from the dense model; see {@link MeasuredAllocation}.
  @JsonProperty("measured")
  MEASURED,
  /// The same with another measure: the change of a block's output relative to the residual stream,
  /// which needs no loss and no layers but the block's own.
  @JsonProperty("residual-noise")
  RESIDUAL_NOISE,
  /// The same with the change of a block's output measured by the Fisher information there, which
  /// is the divergence of the predictions to second order.
  @JsonProperty("fisher")
  FISHER;

  /// Whether the budget is spread by {@link RemovalCurve}s that are measured on probe text.
  public boolean byCurves() {
    return this == MEASURED || this == RESIDUAL_NOISE || this == FISHER;
  }
}
