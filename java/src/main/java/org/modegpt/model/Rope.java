package org.modegpt.model;

import org.modegpt.UserException;
import tools.jackson.databind.JsonNode;

/// Rotary position embedding: angle per position of every rotary pair of a head.
///
/// @param inverseFrequencies one per rotary pair, radians per position
/// @param logitFactor by which the scaling multiplies the logits of the pairs (its attention
///   factor, squared)
/// @param longest sequence length up to which the frequencies hold, or `Integer.MAX_VALUE`
public record Rope(
    double theta, String type, double[] inverseFrequencies, double logitFactor, int longest) {

  /// @param dim columns of a head that turn
  /// @param parameters `rope_scaling`, or the newer `rope_parameters`, of a `config.json`
  /// @param context `max_position_embeddings`
  static Rope of(double theta, int dim, JsonNode parameters, int context) {
    String type =
        parameters.path("rope_type").asString(parameters.path("type").asString("default"));
    double[] f = new double[dim / 2];
    for (int t = 0; t < f.length; t++) {
      f[t] = Math.pow(theta, -2.0 * t / dim);
    }
    double attention = 1;
    int longest = Integer.MAX_VALUE;
    switch (type) {
      case "default", "mrope" -> {}
      case "linear" -> scaleLinear(f, parameters.path("factor").asDouble(1.0));
      case "llama3" -> scaleLlama3(f, parameters);
      case "yarn" -> attention = scaleYarn(f, theta, parameters, context);
      case "longrope", "su" -> {
        attention = scaleLongRope(f, parameters, context);
        longest = parameters.path("original_max_position_embeddings").asInt(context);
      }
      default ->
          throw new UserException(
              "rope scaling '"
                  + type
                  + "' is not supported; supported: default, linear, llama3, yarn, longrope");
    }
    return new Rope(theta, type, f, attention * attention, longest);
  }

  /// Frequencies as they are, of unknown origin.
  static Rope of(double... frequencies) {
    return new Rope(Double.NaN, "given", frequencies, 1, Integer.MAX_VALUE);
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

  /// YaRN (arXiv 2309.00071): pairs that turn more than `beta_fast` times within the original
  /// context are kept, those that turn less than `beta_slow` times are divided by `factor`, with a
  /// linear ramp over the pair's index between; returns the attention factor.
  private static double scaleYarn(double[] frequencies, double theta, JsonNode p, int context) {
    double original = p.path("original_max_position_embeddings").asDouble(context);
    double factor = p.path("factor").asDouble(context / original);
    int dim = 2 * frequencies.length;
    double low = yarnPair(p.path("beta_fast").asDouble(32), dim, theta, original);
    double high = yarnPair(p.path("beta_slow").asDouble(1), dim, theta, original);
    if (p.path("truncate").asBoolean(true)) {
      low = Math.floor(low);
      high = Math.ceil(high);
    }
    low = Math.max(low, 0);
    high = Math.min(high, dim - 1.0);
    double width = high == low ? 0.001 : high - low;
    for (int t = 0; t < frequencies.length; t++) {
      double ramp = Math.clamp((t - low) / width, 0.0, 1.0);
      frequencies[t] *= ramp / factor + (1 - ramp);
    }
    if (p.path("attention_factor").isNumber()) {
      return p.get("attention_factor").asDouble();
    }
    double mscale = p.path("mscale").asDouble(0);
    double all = p.path("mscale_all_dim").asDouble(0);
    return mscale != 0 && all != 0
        ? yarnScale(factor, mscale) / yarnScale(factor, all)
        : yarnScale(factor, 1);
  }

  /// The (fractional) index of the pair that turns `turns` times within `context` positions.
  private static double yarnPair(double turns, int dim, double theta, double context) {
    return dim * Math.log(context / (turns * 2 * Math.PI)) / (2 * Math.log(theta));
  }

  private static double yarnScale(double factor, double mscale) {
    return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
  }

  /// LongRoPE (arXiv 2402.13753) has other factors beyond the original context; only those up to it
  /// are used, and longer sequences are not possible. Returns the attention factor.
  private static double scaleLongRope(double[] frequencies, JsonNode p, int context) {
    JsonNode factors = p.path("short_factor");
    if (factors.size() != frequencies.length) {
      throw new UserException(
          "config.json: rope scaling has %d short factors for %d rotary pairs"
              .formatted(factors.size(), frequencies.length));
    }
    for (int t = 0; t < frequencies.length; t++) {
      frequencies[t] /= factors.get(t).asDouble();
    }
    if (p.path("attention_factor").isNumber()) {
      return p.get("attention_factor").asDouble();
    }
    double original = p.path("original_max_position_embeddings").asDouble(context);
    double factor = p.path("factor").asDouble(context / original);
    return factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
  }
}
