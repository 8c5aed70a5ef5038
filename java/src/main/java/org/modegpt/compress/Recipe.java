package org.modegpt.compress;

import java.util.List;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;

/// Everything that decides what a compression run does, written as `recipe.json` next to the model
/// it made.
///
/// @param name of the recipe it is or started from
/// @param ratio share of the blocks' matrix parameters to remove, in `[0, 0.95]`
/// @param targetParameters when given, parameters the whole model is to have; goes before `ratio`
/// @param epsilon temperature of {@link BlockInfluence}
/// @param cap largest share that {@link BlockInfluence} removes of one layer
/// @param ridge of the MLP's leverage scores, relative to the mean of diag(C_H)
/// @param rounds measurements of {@link AllocationRule#MEASURED}: 1 on the dense model, then each
///   on the model the round before would make
/// @param probe text that {@link AllocationRule#MEASURED} measures on
/// @param refit of the matrices that write to the residual stream, along the compressed model
/// @param multipleOf MLP widths and head ranks are multiples of this, or full
/// @param seed of everything random, which is the choice of calibration sequences
public record Recipe(
    String name,
    double ratio,
    @Nullable Long targetParameters,
    AllocationRule allocation,
    double epsilon,
    double cap,
    double ridge,
    QueryKeyRule queryKey,
    ValueOutputRule valueOutput,
    MlpRule mlp,
    int rounds,
    Probe probe,
    Refit refit,
    int multipleOf,
    Calibration calibration,
    long seed) {

  /// Calibration text: how many sequences of how many tokens.
  ///
  /// @param ownText share of all sequences that the model writes itself, see {@link
  ///   org.modegpt.calibrate.OwnText}
  public record Calibration(int sequences, int length, double ownText) {
    /// The text as it is.
    public Calibration(int sequences, int length) {
      this(sequences, length, 0);
    }

    public Calibration {
      require(
          ownText >= 0 && ownText <= 1,
          "calibration.own_text must be between 0 and 1, not " + ownText);
      require(sequences > 0, "calibration.sequences must be positive, not " + sequences);
      require(length > 1, "calibration.length must be at least 2, not " + length);
    }
  }

  /// Held-back calibration text: how many sequences of how many tokens at most.
  public record Probe(int sequences, int length) {
    public Probe {
      require(sequences > 0, "probe.sequences must be positive, not " + sequences);
      require(length > 1, "probe.length must be at least 2, not " + length);
    }
  }

  /// How {@link PrefixRefit} fits.
  ///
  /// @param sequences of the calibration text; 0 for no refit
  /// @param strength share of the residual stream's drift that refits make good, in `[0, 1]`
  public record Refit(int sequences, double strength) {
    static final Refit NONE = new Refit(0, 1);

    public Refit {
      require(sequences >= 0, "refit.sequences must not be negative, but is " + sequences);
      require(
          strength >= 0 && strength <= 1,
          "refit.strength must be between 0 and 1, not " + strength);
    }
  }

  public static final double MAX_RATIO = 0.95;

  /// The publication.
  public static final Recipe PAPER =
      new Recipe(
          "paper",
          0.2,
          null,
          AllocationRule.BLOCK_INFLUENCE,
          0.04,
          0.8,
          1e-2,
          QueryKeyRule.COLUMN_ROW,
          ValueOutputRule.PUBLISHED,
          MlpRule.LEVERAGE,
          1,
          new Probe(1, 1024),
          Refit.NONE,
          1,
          new Calibration(128, 2048),
          0);

  /// The publication with the joint optimum for grouped values.
  public static final Recipe JOINT = PAPER.withName("joint").with("value_output", "joint");

  /// Output-aware decompositions; MLP units and a budget per module by the Fisher information of
  /// the residual stream, and one round of measured divergence.
  public static final Recipe DEFAULT =
      new Recipe(
          "default",
          0.2,
          null,
          AllocationRule.FISHER,
          0.04,
          0.8,
          1e-2,
          QueryKeyRule.MULTIPLIERS,
          ValueOutputRule.HEAD_OUTPUT,
          MlpRule.FISHER,
          2,
          new Probe(4, 512),
          Refit.NONE,
          1,
          new Calibration(128, 2048, 1.0 / 3),
          0);

  /// The default with refits along the compressed model ({@link PrefixRefit}; not of blocks whose
  /// MLP is parallel to attention).
  public static final Recipe BEST = DEFAULT.withName("best").withRefit(new Refit(128, 1));

  private static final List<Recipe> BUILT_IN = List.of(DEFAULT, BEST, PAPER, JOINT);

  public Recipe {
    require(name != null && !name.isBlank(), "name must not be empty");
    require(allocation != null, "allocation must not be null");
    require(queryKey != null, "query_key must not be null");
    require(valueOutput != null, "value_output must not be null");
    require(mlp != null, "mlp must not be null");
    require(rounds >= 1 && rounds <= 10, "rounds must be 1 to 10, not " + rounds);
    require(probe != null, "probe must not be null");
    require(refit != null, "refit must not be null");
    require(calibration != null, "calibration must not be null");
    require(
        ratio >= 0 && ratio <= MAX_RATIO,
        "ratio must be between 0 and " + MAX_RATIO + ", not " + ratio);
    require(
        targetParameters == null || targetParameters > 0,
        "target_parameters must be positive, not " + targetParameters);
    require(epsilon > 0 && Double.isFinite(epsilon), "epsilon must be positive, not " + epsilon);
    require(cap > 0 && cap <= 1, "cap must be in (0, 1], not " + cap);
    require(ridge > 0 && Double.isFinite(ridge), "ridge must be positive, not " + ridge);
    require(multipleOf >= 1, "multiple_of must be at least 1, not " + multipleOf);
  }

  /// Whether the statistics must hold gradients.
  public boolean needsGradients() {
    return allocation == AllocationRule.FISHER || mlp == MlpRule.FISHER;
  }

  /// A built-in recipe.
  public static Recipe named(String name) {
    return BUILT_IN.stream()
        .filter(r -> r.name.equals(name))
        .findFirst()
        .orElseThrow(() ->
            new UserException(
                "there is no recipe '" + name + "'; built in: " + String.join(", ", names())));
  }

  public static List<String> names() {
    return BUILT_IN.stream().map(Recipe::name).toList();
  }

  /// Reads a recipe; keys it lacks are those of the built-in recipe of its `name`, or of the
  /// default.
  ///
  /// @param source names the text in error messages
  public static Recipe ofJson(String json, String source) {
    String name = RecordJson.text(json, source, "name", DEFAULT.name);
    Recipe base = names().contains(name) ? named(name) : DEFAULT;
    return RecordJson.readOver(base, json, source, Recipe.class);
  }

  public String toJson() {
    return RecordJson.write(this);
  }

  public Recipe withName(String value) {
    return with("name", value);
  }

  /// Clears a parameter target.
  public Recipe withRatio(double value) {
    return with("target_parameters", null).with("ratio", value);
  }

  public Recipe withTargetParameters(long value) {
    return with("target_parameters", value);
  }

  public Recipe withAllocation(AllocationRule value) {
    return with("allocation", value);
  }

  public Recipe withRounds(int value) {
    return with("rounds", value);
  }

  public Recipe withRefit(Refit value) {
    return with("refit", value);
  }

  public Recipe withQueryKey(QueryKeyRule value) {
    return with("query_key", value);
  }

  public Recipe withMultipleOf(int value) {
    return with("multiple_of", value);
  }

  public Recipe withCalibration(Calibration value) {
    return with("calibration", value);
  }

  public Recipe withSeed(long value) {
    return with("seed", value);
  }

  Recipe with(String key, @Nullable Object value) {
    return RecordJson.edited(this, key, value, Recipe.class);
  }

  private static void require(boolean condition, String message) {
    if (!condition) {
      throw new UserException(message);
    }
  }
}
