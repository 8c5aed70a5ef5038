package org.modegpt.compress;

import com.fasterxml.jackson.annotation.JsonProperty;

/// How queries and keys are shrunk.
public enum QueryKeyRule {
  /// The publication: column-row decomposition by energies, see {@link ColumnRowQk}.
  @JsonProperty("column-row")
  COLUMN_ROW,
  /// Backward elimination of rotary pairs with multipliers on the kept ones, see {@link
  /// MultiplierQk}.
  @JsonProperty("multipliers")
  MULTIPLIERS,
  /// Not at all: the other modules are shrunk more. What formats with the family's own shapes need
  /// where queries and keys are normalised.
  @JsonProperty("keep")
  KEEP
}
