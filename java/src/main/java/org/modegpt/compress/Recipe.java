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
    ValueOutputRule valueOutput,
    int multipleOf,
    Calibration calibration,
    long seed) {

  /// Calibration text: how many sequences of how many tokens.
  public record Calibration(int sequences, int length) {
    public Calibration {
      require(sequences > 0, "calibration.sequences must be positive, not " + sequences);
      require(length > 1, "calibration.length must be at least 2, not " + length);
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
          ValueOutputRule.PUBLISHED,
          1,
          new Calibration(128, 2048),
          0);

  /// The publication with the joint optimum for grouped values.
  public static final Recipe JOINT = PAPER.withName("joint").withValueOutput(ValueOutputRule.JOINT);

  public static final Recipe DEFAULT = JOINT;

  private static final List<Recipe> BUILT_IN = List.of(PAPER, JOINT);

  public Recipe {
    require(name != null && !name.isBlank(), "name must not be empty");
    require(allocation != null, "allocation must not be null");
    require(valueOutput != null, "value_output must not be null");
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
    String name = Json.text(json, source, "name", DEFAULT.name);
    Recipe base = names().contains(name) ? named(name) : DEFAULT;
    return Json.readOver(base, json, source, Recipe.class);
  }

  public String toJson() {
    return Json.write(this);
  }

  /// The allocation this recipe asks for.
  ///
  /// @param influence block influence per layer
  public Allocation allocation(List<Double> influence) {
    return switch (allocation) {
      case UNIFORM -> Allocation.uniform();
      case BLOCK_INFLUENCE -> new BlockInfluence(influence, epsilon, cap);
    };
  }

  public Recipe withName(String value) {
    return new Recipe(
        value,
        ratio,
        targetParameters,
        allocation,
        epsilon,
        cap,
        ridge,
        valueOutput,
        multipleOf,
        calibration,
        seed);
  }

  public Recipe withRatio(double value) {
    return new Recipe(
        name,
        value,
        null,
        allocation,
        epsilon,
        cap,
        ridge,
        valueOutput,
        multipleOf,
        calibration,
        seed);
  }

  public Recipe withTargetParameters(long value) {
    return new Recipe(
        name,
        ratio,
        value,
        allocation,
        epsilon,
        cap,
        ridge,
        valueOutput,
        multipleOf,
        calibration,
        seed);
  }

  public Recipe withAllocation(AllocationRule value) {
    return new Recipe(
        name,
        ratio,
        targetParameters,
        value,
        epsilon,
        cap,
        ridge,
        valueOutput,
        multipleOf,
        calibration,
        seed);
  }

  public Recipe withValueOutput(ValueOutputRule value) {
    return new Recipe(
        name,
        ratio,
        targetParameters,
        allocation,
        epsilon,
        cap,
        ridge,
        value,
        multipleOf,
        calibration,
        seed);
  }

  public Recipe withMultipleOf(int value) {
    return new Recipe(
        name,
        ratio,
        targetParameters,
        allocation,
        epsilon,
        cap,
        ridge,
        valueOutput,
        value,
        calibration,
        seed);
  }

  public Recipe withCalibration(Calibration value) {
    return new Recipe(
        name,
        ratio,
        targetParameters,
        allocation,
        epsilon,
        cap,
        ridge,
        valueOutput,
        multipleOf,
        value,
        seed);
  }

  public Recipe withSeed(long value) {
    return new Recipe(
        name,
        ratio,
        targetParameters,
        allocation,
        epsilon,
        cap,
        ridge,
        valueOutput,
        multipleOf,
        calibration,
        value);
  }

  private static void require(boolean condition, String message) {
    if (!condition) {
      throw new UserException(message);
    }
  }
}
