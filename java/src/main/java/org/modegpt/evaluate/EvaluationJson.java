package org.modegpt.evaluate;

import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.evaluate.Evaluation.Row;
import org.modegpt.evaluate.Evaluation.Subject;
import org.modegpt.io.Json;
import org.modegpt.tasks.Metric.Aggregation;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/// Results as JSON in the shape of lm-evaluation-harness, with an object `modegpt` beside it that
/// has the baseline, the comparison, and what every item contributed, so that a later run can be
/// compared with this one item by item.
public final class EvaluationJson {
  private static final int FORMAT = 1;

  private EvaluationJson() {}

  public static ObjectNode write(Evaluation evaluation, List<Gates.Outcome> gates) {
    ObjectNode root = Json.MAPPER.createObjectNode();
    Subject model = evaluation.model();
    root.set("results", results(model));
    ObjectNode versions = root.putObject("versions");
    ObjectNode shots = root.putObject("n-shot");
    ObjectNode better = root.putObject("higher_is_better");
    ObjectNode samples = root.putObject("n-samples");
    ObjectNode hashes = root.putObject("task_hashes");
    double seconds = 0;
    for (TaskResult result : model.results()) {
      String task = result.task().name();
      versions.put(task, result.task().version());
      shots.put(task, result.task().examples());
      hashes.put(task, result.task().hash());
      samples.putObject(task).put("effective", result.items());
      ObjectNode directions = better.putObject(task);
      result.measures().forEach(m -> directions.put(m.metric(), m.higherIsBetter()));
      seconds += result.seconds();
    }
    ObjectNode config = root.putObject("config");
    config.put("model", "modegpt");
    config.put("model_args", "pretrained=" + model.path());
    root.put("date", Instant.now().getEpochSecond());
    root.put("model_name", model.name());
    root.put("total_evaluation_time_seconds", seconds);
    ObjectNode own = root.putObject("modegpt");
    own.put("format", FORMAT);
    own.set("model", subject(model));
    if (evaluation.baseline() != null) {
      own.set("baseline", subject(evaluation.baseline()));
      own.set("baseline_results", results(evaluation.baseline()));
      own.set("comparison", comparison(evaluation));
    }
    own.set("errors", Json.MAPPER.valueToTree(evaluation.errors()));
    if (!gates.isEmpty()) {
      own.set("gates", Json.MAPPER.valueToTree(gates));
    }
    return root;
  }

  private static ObjectNode results(Subject subject) {
    ObjectNode results = Json.MAPPER.createObjectNode();
    for (TaskResult result : subject.results()) {
      ObjectNode node = results.putObject(result.task().name());
      node.put("alias", result.task().name());
      if (result.failed()) {
        node.put("error", result.error());
      }
      result.measures().forEach(m -> put(node, m));
      for (Measure measure : result.measures()) {
        for (Map.Entry<String, Measure> group : measure.byGroup().entrySet()) {
          String name = result.task().name() + "_" + group.getKey();
          ObjectNode part = results.withObject("/" + name.replace("~", "~0").replace("/", "~1"));
          part.put("alias", " - " + group.getKey());
          put(part, group.getValue());
        }
      }
    }
    return results;
  }

  private static void put(ObjectNode node, Measure measure) {
    node.put(measure.key(), measure.value());
    double error = measure.standardError();
    String key = measure.metric() + "_stderr," + measure.filter();
    if (Double.isNaN(error)) {
      node.put(key, "N/A");
    } else {
      node.put(key, error);
    }
  }

  private static ObjectNode subject(Subject subject) {
    ObjectNode node = Json.MAPPER.createObjectNode();
    node.put("name", subject.name());
    node.put("path", subject.path());
    node.put("hash", subject.hash());
    node.put("parameters", subject.parameters());
    node.put("bytes", subject.bytes());
    if (subject.footprint() != null) {
      node.set("footprint", Json.MAPPER.valueToTree(subject.footprint()));
    }
    ArrayNode tasks = node.putArray("tasks");
    for (TaskResult result : subject.results()) {
      ObjectNode task = tasks.addObject();
      task.set("task", Json.MAPPER.valueToTree(result.task()));
      task.put("items", result.items());
      task.put("truncated", result.truncated());
      task.put("longest", result.longest());
      task.put("requests", result.requests());
      task.put("cached", result.cached());
      task.put("seconds", result.seconds());
      task.put("error", result.error());
      task.set("measures", Json.MAPPER.valueToTree(result.measures()));
    }
    return node;
  }

  private static ArrayNode comparison(Evaluation evaluation) {
    ArrayNode list = Json.MAPPER.createArrayNode();
    for (Row row : evaluation.rows()) {
      PairedTest test = row.test();
      if (test != null && row.baseline() != null) {
        ObjectNode node = list.addObject();
        node.put("task", row.task().name());
        node.put("metric", row.measure().key());
        node.put("model", row.measure().value());
        node.put("baseline", row.baseline().value());
        node.put("difference", test.difference());
        node.put("difference_stderr", test.standardError());
        node.putArray("confidence_95").add(test.low()).add(test.high());
        node.put("p", test.p());
        if (row.primary()) {
          node.put("p_holm", row.corrected());
        }
        node.put("lost", test.lost());
        node.put("gained", test.gained());
        row.verdict().ifPresent(v -> node.put("verdict", v.label()));
      }
    }
    return list;
  }

  /// Reads the results of an earlier run, to compare with.
  ///
  /// @throws UserException when the file is not one that {@link #write} made
  public static Subject read(Path file) {
    JsonNode model = Json.object(file).path("modegpt").path("model");
    if (!model.path("tasks").isArray()) {
      throw new UserException(
          file
              + " holds no results of 'modegpt eval'; give a model, or a results.json that this program wrote");
    }
    List<TaskResult> results = new ArrayList<>();
    for (JsonNode task : model.get("tasks").values()) {
      List<Measure> measures = new ArrayList<>();
      task.path("measures").values().forEach(m -> measures.add(measure(m)));
      JsonNode id = task.path("task");
      results.add(
          new TaskResult(
              new TaskResult.TaskId(
                  id.path("name").asString(""),
                  id.path("version").asString(""),
                  id.path("examples").asInt(),
                  id.path("hash").asString("")),
              measures,
              task.path("items").asInt(),
              task.path("truncated").asInt(),
              task.path("longest").asInt(),
              task.path("cached").asInt(),
              task.path("requests").asInt(),
              task.path("seconds").asDouble(),
              task.path("error").asString(""),
              List.of()));
    }
    return new Subject(
        model.path("name").asString(""),
        model.path("path").asString(""),
        model.path("hash").asString(""),
        model.path("parameters").asLong(),
        model.path("bytes").asLong(),
        footprint(model.get("footprint")),
        results);
  }

  private static @Nullable Footprint footprint(@Nullable JsonNode node) {
    return node == null ? null : Json.MAPPER.treeToValue(node, Footprint.class);
  }

  private static Measure measure(JsonNode node) {
    return new Measure(
        node.path("metric").asString(""),
        node.path("filter").asString("none"),
        node.path("higherIsBetter").asBoolean(true),
        Aggregation.valueOf(node.path("aggregation").asString("MEAN").toUpperCase(Locale.ROOT)),
        doubles(node.path("sums")),
        doubles(node.path("weights")),
        node.path("groups").values().stream().map(JsonNode::asString).toList());
  }

  private static double[] doubles(JsonNode array) {
    return array.values().stream().mapToDouble(JsonNode::asDouble).toArray();
  }
}
