package org.modegpt.compress;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.modegpt.UserException;

class RecipeTest {

  @Test
  void everyRecipeSurvivesJson() {
    for (String name : Recipe.names()) {
      Recipe recipe = Recipe.named(name).withRatio(0.35).withMultipleOf(8).withSeed(4);
      assertThat(Recipe.ofJson(recipe.toJson(), "recipe.json")).isEqualTo(recipe);
    }
    Recipe target = Recipe.PAPER.withTargetParameters(1_000_000_000_000L);
    assertThat(Recipe.ofJson(target.toJson(), "recipe.json")).isEqualTo(target);
  }

  @Test
  void paperIsThePublication() {
    assertThat(Recipe.PAPER.ridge()).isEqualTo(1e-2);
    assertThat(Recipe.PAPER.valueOutput()).isEqualTo(ValueOutputRule.PUBLISHED);
    assertThat(Recipe.PAPER.allocation()).isEqualTo(AllocationRule.BLOCK_INFLUENCE);
    assertThat(Recipe.PAPER.cap()).isEqualTo(0.8);
    assertThat(Recipe.PAPER.epsilon()).isEqualTo(0.04);
    assertThat(Recipe.PAPER.toJson())
        .contains(
            "\"allocation\" : \"block-influence\"",
            "\"value_output\" : \"published\"",
            "\"multiple_of\" : 1");
  }

  @Test
  void missingKeysAreThoseOfTheNamedRecipe() {
    Recipe partial =
        Recipe.ofJson(
            "{\"name\": \"paper\", \"ratio\": 0.3, \"calibration\": {\"sequences\": 16}}",
            "r.json");
    assertThat(partial)
        .isEqualTo(Recipe.PAPER.withRatio(0.3).withCalibration(new Recipe.Calibration(16, 2048)));
    assertThat(Recipe.ofJson("{\"ratio\": 0.3}", "r.json"))
        .isEqualTo(Recipe.DEFAULT.withRatio(0.3));
    assertThat(Recipe.ofJson("{\"name\": \"mine\", \"ridge\": 1}", "r.json").ridge()).isEqualTo(1);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{\"ratios\": 0.3} | unknown key 'ratios'",
        "{\"calibration\": {\"tokens\": 3}} | unknown key 'tokens'",
        "{\"ratio\": 0.96} | ratio must be between 0 and 0.95",
        "{\"ratio\": \"much\"} | ratio:",
        "{\"ratio\": null} | ratio:",
        "{\"allocation\": \"best\"} | allocation: 'best' is not one of uniform, block-influence",
        "{\"allocation\": null} | allocation must not be null",
        "{\"multiple_of\": 1.5} | multiple_of:",
        "{\"multiple_of\": 0} | multiple_of must be at least 1",
        "{\"ridge\": 0} | ridge must be positive",
        "{\"epsilon\": -1} | epsilon must be positive",
        "{\"cap\": 2} | cap must be in (0, 1]",
        "{\"calibration\": 3} | calibration:",
        "{\"calibration\": {\"length\": 1}} | calibration.length must be at least 2",
        "[] | a JSON object is wanted",
        "{\"ratio\": | not JSON",
        "{} {} | Trailing token",
      })
  void badRecipesAreOneClearLine(String json, String message) {
    assertThatThrownBy(() -> Recipe.ofJson(json, "r.json"))
        .isInstanceOf(UserException.class)
        .hasMessageStartingWith("r.json")
        .hasMessageContaining(message)
        .message()
        .doesNotContain("\n");
  }

  @Test
  void unknownNamesListTheKnown() {
    assertThatThrownBy(() -> Recipe.named("fastest"))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("default, best, paper, joint");
  }

  @Test
  void plansSurviveJsonAndAreChecked() {
    BlockSizes sizes = new BlockSizes(24, 4, 2, 8, 40, true, true);
    RankPlan plan = new RankPlan(List.of(new LayerRanks(13, 4, 3), LayerRanks.full(sizes)));
    assertThat(RankPlan.ofJson(plan.toJson(), "plan.json")).isEqualTo(plan);
    plan.requireFit(sizes, 2);
    assertThatThrownBy(() -> plan.requireFit(sizes, 3))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("3");
    for (LayerRanks bad :
        List.of(new LayerRanks(41, 4, 3), new LayerRanks(13, 3, 3), new LayerRanks(13, 4, 0))) {
      assertThatThrownBy(() -> new RankPlan(List.of(bad)).requireFit(sizes, 1))
          .isInstanceOf(UserException.class)
          .hasMessageContaining("layer 0");
    }
    assertThatThrownBy(() -> RankPlan.ofJson("{\"layers\": [{\"mlp_width\": 3}]}", "plan.json"))
        .isInstanceOf(UserException.class)
        .hasMessage("plan.json: layers[0].qk_rank: this key is missing");
  }
}
