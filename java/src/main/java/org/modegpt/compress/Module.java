package org.modegpt.compress;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.Set;
import org.modegpt.model.Role;

/// A pair of consecutive matrices whose inner dimension is shrunk.
public enum Module {
  /// Queries and keys: the inner dimension is that of one head's dot product.
  @JsonProperty("qk")
  QUERY_KEY,
  /// Values and output: the inner dimension is that of one head's value.
  @JsonProperty("vo")
  VALUE_OUTPUT,
  /// The inner units of the MLP.
  @JsonProperty("mlp")
  MLP;

  /// The weights of this module, biases included.
  public Set<Role> roles() {
    return switch (this) {
      case QUERY_KEY -> Set.of(Role.Q, Role.K, Role.Q_BIAS, Role.K_BIAS, Role.Q_NORM, Role.K_NORM);
      case VALUE_OUTPUT -> Set.of(Role.V, Role.O, Role.V_BIAS, Role.O_BIAS);
      case MLP ->
          Set.of(Role.GATE, Role.UP, Role.DOWN, Role.GATE_BIAS, Role.UP_BIAS, Role.DOWN_BIAS);
    };
  }

  /// `qk`, `vo` or `mlp`, for tables.
  public String label() {
    return switch (this) {
      case QUERY_KEY -> "qk";
      case VALUE_OUTPUT -> "vo";
      case MLP -> "mlp";
    };
  }
}
