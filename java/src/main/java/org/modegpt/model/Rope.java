package org.modegpt.model;

import org.modegpt.UserException;
import tools.jackson.databind.JsonNode;

/// Rotary position embedding: angle per position of every rotary pair of a head.
///
/// @param inverseFrequencies `[headDim / 2]`, radians per position
public record Rope(double theta, String type, double[] inverseFrequencies) {

  /// Reads `rope_theta` with `rope_scaling`, or the newer `rope_parameters`, of a `config.json`.
  static Rope of(JsonNode config, int headDim) {
    JsonNode parameters =
        config.has("rope_parameters") ? config.get("rope_parameters") : config.path("rope_scaling");
    double theta =
        parameters.path("rope_theta").asDouble(config.path("rope_theta").asDouble(10000.0));
    String type =
        parameters.path("rope_type").asString(parameters.path("type").asString("default"));
    double[] frequencies = new double[headDim / 2];
    for (int t = 0; t < frequencies.length; t++) {
      frequencies[t] = Math.pow(theta, -2.0 * t / headDim);
    }
    switch (type) {
      case "default" -> {}
      case "linear" -> scaleLinear(frequencies, parameters.path("factor").asDouble(1.0));
      case "llama3" -> scaleLlama3(frequencies, parameters);
      default ->
          throw new UserException(
              "rope scaling '" + type + "' is not supported; supported: default, linear, llama3");
    }
    return new Rope(theta, type, frequencies);
  }

  private static void scaleLinear(double[] frequencies, double factor) {
    for (int t = 0; t < frequencies.length; t++) {
      frequencies[t] /= factor;
    }
  }

  /// Llama 3.1: long wavelengths are divided by `factor`, short ones kept, those between
  /// interpolated.
  private static void scaleLlama3(double[] frequencies, JsonNode p) {
    double factor = p.path("factor").asDouble(8.0);
    double low = p.path("low_freq_factor").asDouble(1.0);
    double high = p.path("high_freq_factor").asDouble(4.0);
    double original = p.path("original_max_position_embeddings").asDouble(8192.0);
    for (int t = 0; t < frequencies.length; t++) {
      double turns = original * frequencies[t] / (2 * Math.PI);
      double smooth = Math.clamp((turns - low) / (high - low), 0.0, 1.0);
      frequencies[t] *= (1 - smooth) / factor + smooth;
    }
  }
}
