package org.modegpt.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.modegpt.Progress;
import org.modegpt.TestData;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.io.Json;
import org.modegpt.tasks.DataFolders;
import org.modegpt.tasks.TaskCatalog;
import org.modegpt.tasks.TaskDefinition;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/// The same requests, the same choices and the same results as lm-evaluation-harness 0.4.13, whose
/// answers `tools/lm_eval_golden.py` recorded.
class LmEvalAgreementTest {
  /// Of a log-likelihood; both sum in float32 and the golden values have four decimals.
  private static final double TOLERANCE = 2e-3;

  private static void compare(String golden, Path model, Path data, int limit) {
    JsonNode recorded = Json.object(TestData.golden(golden)).path("tasks");
    TaskCatalog catalog = new TaskCatalog(List.of(TestData.tasks("")));
    int items = 0;
    int same = 0;
    try (Backend backend = Backends.open("cpu", 2)) {
      for (String name : recorded.propertyNames()) {
        TaskDefinition task = catalog.resolve(name).getFirst().withLimit(limit);
        TaskResult result =
            new Evaluator(List.of(task), new DataFolders(List.of(data)), null, true, false)
                .run(model, null, backend, Progress.SILENT, (_, _) -> {})
                .results()
                .getFirst();
        assertThat(result.error()).as(name).isEmpty();
        JsonNode expected = recorded.path(name).path("items");
        int count = Math.min(result.items(), expected.size());
        assertThat(count).as(name).isPositive();
        for (int i = 0; i < count; i++) {
          assertThat(expected.get(i).get(0).asInt()).isNotNegative();
          items++;
          same += same(name, expected.get(i).get(1), result.samples().get(i)) ? 1 : 0;
        }
        if (count == expected.size()) {
          results(name, recorded.path(name).path("results"), result);
        }
      }
    }
    System.out.printf("%s: %d of %d items as lm-eval%n", golden, same, items);
    assertThat(same).isGreaterThanOrEqualTo((int) Math.ceil(0.995 * items));
  }

  private static boolean same(String task, JsonNode expected, ObjectNode sample) {
    if (expected.isString()) {
      return expected.stringValue().equals(sample.get("response").stringValue());
    }
    JsonNode responses = sample.get("responses");
    if (task.equals("lambada_openai")) {
      assertThat(responses.get(0).get(0).asDouble())
          .isCloseTo(expected.get(0).asDouble(), within(TOLERANCE));
      return (expected.get(1).asInt() == 1) == responses.get(0).get(1).asBoolean();
    }
    double[] theirs =
        IntStream.range(0, expected.size()).mapToDouble(c -> expected.get(c).asDouble()).toArray();
    double[] ours =
        IntStream.range(0, theirs.length)
            .mapToDouble(c -> responses.get(c).get(0).asDouble())
            .toArray();
    assertThat(ours)
        .as("%s item %s", task, sample.get("doc_id"))
        .containsExactly(theirs, within(TOLERANCE));
    return best(ours) == best(theirs);
  }

  private static int best(double[] values) {
    int best = 0;
    for (int i = 1; i < values.length; i++) {
      best = values[i] > values[best] ? i : best;
    }
    return best;
  }

  private static void results(String task, JsonNode recorded, TaskResult result) {
    JsonNode theirs = recorded.path(task);
    for (Measure measure : result.measures()) {
      if (theirs.has(measure.key())) {
        double expected = theirs.get(measure.key()).asDouble();
        assertThat(measure.value())
            .as("%s %s", task, measure.key())
            .isCloseTo(expected, within(1e-3 * Math.max(1, Math.abs(expected))));
      }
    }
  }

  @Test
  void demonstrationModel() {
    compare("lm-eval-wiki-16m.json", TestData.model("wiki-16m"), TestData.tasks(""), 0);
  }

  @Test
  void stories260K() {
    compare(
        "lm-eval-stories260K.json",
        TestData.model("stories260K"),
        TestData.shared("data/tasks"),
        60);
  }

  @Test
  void smollm2() {
    compare(
        "lm-eval-smollm2-135m.json",
        TestData.model("smollm2-135m"),
        TestData.shared("data/tasks"),
        4);
  }
}
