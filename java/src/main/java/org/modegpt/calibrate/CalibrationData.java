package org.modegpt.calibrate;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/// Token sequences to calibrate on, with what identifies them.
///
/// @param sequences equally long, `[count][tokens]`
/// @param textHash SHA-256 of the text they come from
/// @param source the text's name for people: file names, or a built-in text
/// @param seed of the choice of sequences
/// @param gradients whether to gather {@link LossGradients}, which only some recipes need
public record CalibrationData(
    List<int[]> sequences, String textHash, String source, long seed, boolean gradients) {

  /// With gradients: statistics for every recipe.
  public CalibrationData(List<int[]> sequences, String textHash, String source, long seed) {
    this(sequences, textHash, source, seed, true);
  }

  public CalibrationData withGradients(boolean value) {
    return new CalibrationData(sequences, textHash, source, seed, value);
  }

  public int count() {
    return sequences.size();
  }

  public int tokens() {
    return sequences.getFirst().length;
  }

  /// What makes two calibration runs on one model the same.
  Map<String, String> identity() {
    Map<String, String> identity = new LinkedHashMap<>();
    identity.put("text_sha256", textHash);
    identity.put("source", source);
    identity.put("sequences", Integer.toString(count()));
    identity.put("sequence_length", Integer.toString(tokens()));
    identity.put("seed", Long.toString(seed));
    identity.put(Statistics.GRADIENTS, Boolean.toString(gradients));
    return identity;
  }
}
