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
/// @param ownText share of the sequences that the model writes itself, see {@link OwnText}
/// @param gradients whether to gather {@link LossGradients}, which only some recipes need
public record CalibrationData(
    List<int[]> sequences,
    String textHash,
    String source,
    long seed,
    double ownText,
    boolean gradients) {

  /// The text as it is, with gradients: statistics for every recipe.
  public CalibrationData(List<int[]> sequences, String textHash, String source, long seed) {
    this(sequences, textHash, source, seed, 0, true);
  }

  CalibrationData withSequences(List<int[]> value) {
    return new CalibrationData(value, textHash, source, seed, ownText, gradients);
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
    identity.put("own_text", Double.toString(ownText));
    identity.put(Statistics.GRADIENTS, Boolean.toString(gradients));
    return identity;
  }
}
