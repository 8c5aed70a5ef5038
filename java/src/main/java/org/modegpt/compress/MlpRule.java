package org.modegpt.compress;

import com.fasterxml.jackson.annotation.JsonProperty;

/// Which units of an MLP are kept; the down projection is refitted either way.
public enum MlpRule {
  /// The publication: the largest ridge leverage scores.
  @JsonProperty("leverage")
  LEVERAGE,
  /// Backward elimination by least change of the output, see {@link BrainSurgeon}.
  @JsonProperty("brain-surgeon")
  BRAIN_SURGEON,
  /// The same by least change of the predictions: the output's change is measured by the Fisher
  /// information there.
  @JsonProperty("fisher")
  FISHER
}
