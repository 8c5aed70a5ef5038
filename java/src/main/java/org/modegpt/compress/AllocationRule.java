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
  MEASURED
}
