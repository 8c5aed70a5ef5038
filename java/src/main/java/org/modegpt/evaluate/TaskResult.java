package org.modegpt.evaluate;

import java.util.List;
import org.modegpt.tasks.TaskDefinition;
import tools.jackson.databind.node.ObjectNode;

/// What a model achieved on a task.
///
/// @param measures in the order of the task file; empty when `error` says why there are none
/// @param truncated items whose context was longer than the model's and was cut from the left
/// @param longest tokens of the longest item, before cutting
/// @param cached requests that were answered before
/// @param requests all requests
/// @param samples one object for each item: what was asked and answered
public record TaskResult(
    TaskId task,
    List<Measure> measures,
    int items,
    int truncated,
    int longest,
    int cached,
    int requests,
    double seconds,
    String error,
    List<ObjectNode> samples) {

  /// Which task, by name and content.
  ///
  /// @param examples few-shot examples
  /// @param hash of the definition
  public record TaskId(String name, String version, int examples, String hash) {
    static TaskId of(TaskDefinition task) {
      return new TaskId(task.name(), task.version(), task.examples().count(), task.hash());
    }
  }

  static TaskResult failed(TaskDefinition task, String error) {
    return new TaskResult(TaskId.of(task), List.of(), 0, 0, 0, 0, 0, 0, error, List.of());
  }

  public boolean failed() {
    return !error.isEmpty();
  }

  /// That items were longer than the model's context, as a sentence; for results with such items.
  public String truncation() {
    return "%s: %d of %d items were longer than the model's context (the longest has %d tokens) and were cut at the beginning"
        .formatted(task.name(), truncated, items, longest);
  }
}
