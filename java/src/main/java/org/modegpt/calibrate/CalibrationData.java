package org.modegpt.calibrate;

import java.util.LinkedHashMap;
import java.util.Map;

/// Token sequences to calibrate on, with what identifies them.
///
/// @param sequences equally long, `[count][tokens]`
/// @param textHash SHA-256 of the text they come from
/// @param source the text's name for people: file names, or a built-in text
/// @param seed of the choice of sequences
public record CalibrationData(int[][] sequences, String textHash, String source, long seed) {

  public int count() {
    return sequences.length;
  }

  public int tokens() {
    return sequences[0].length;
  }

  /// What makes two calibration runs on one model the same.
  Map<String, String> identity() {
    Map<String, String> identity = new LinkedHashMap<>();
    identity.put("text_sha256", textHash);
    identity.put("source", source);
    identity.put("sequences", Integer.toString(count()));
    identity.put("sequence_length", Integer.toString(tokens()));
    identity.put("seed", Long.toString(seed));
    return identity;
  }
}
