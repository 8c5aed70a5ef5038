package org.modegpt.tasks;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// A task as its file defines it; TASKS.md describes every field.
///
/// @param origin file (or built-in name) it comes from
/// @param folder where relative data files are looked for first; empty for a built-in task
/// @param data file names of the items
/// @param text what comes before the answer; null where the document is all there is
/// @param choices one template for the list, or one for each choice; empty without choices
/// @param contexts where the choices fill a gap: the text before the continuation for each choice
/// @param target the right answer
/// @param gold index, letter or text of the right one of `contexts`; null without contexts
/// @param examples few-shot settings
/// @param group field or template of the subgroup an item is counted in; null for none
/// @param limit items used, from the start; 0 for all
/// @param blockLength tokens of a block of a perplexity task; 0 for the model's choice
/// @param hash identifies the definition: SHA-256 of its content
public record TaskDefinition(
    String name,
    String origin,
    String folder,
    String version,
    OutputType type,
    List<String> data,
    @Nullable Template description,
    @Nullable Template text,
    List<Template> choices,
    List<Template> contexts,
    @Nullable Template target,
    @Nullable Template gold,
    String targetDelimiter,
    Examples examples,
    List<MetricUse> metrics,
    Generation generation,
    List<AnswerFilter> filters,
    @Nullable Template group,
    int limit,
    int blockLength,
    String hash) {

  /// Solved examples before each item.
  ///
  /// @param count how many
  /// @param data their files; empty for those of the task itself
  /// @param documents examples written into the definition; empty for none
  /// @param by only examples with the same value of this field; null for all
  /// @param random drawn as lm-evaluation-harness draws them, else the first
  /// @param delimiter between examples
  public record Examples(
      int count,
      List<String> data,
      List<Map<String, Object>> documents,
      @Nullable String by,
      boolean random,
      String delimiter) {}

  /// How text is generated: greedily, up to one of `until` or `maxTokens` tokens.
  public record Generation(List<String> until, int maxTokens) {}

  /// A metric with its parameters.
  public record MetricUse(Metric metric, Map<String, Object> parameters) {
    public String name() {
      return metric.name();
    }
  }

  public TaskDefinition withLimit(int newLimit) {
    return with(examples, newLimit);
  }

  public TaskDefinition withExamples(int count) {
    return with(
        new Examples(
            count,
            examples.data(),
            examples.documents(),
            examples.by(),
            examples.random(),
            examples.delimiter()),
        limit);
  }

  private TaskDefinition with(Examples newExamples, int newLimit) {
    return new TaskDefinition(
        name,
        origin,
        folder,
        version,
        type,
        data,
        description,
        text,
        choices,
        contexts,
        target,
        gold,
        targetDelimiter,
        newExamples,
        metrics,
        generation,
        filters,
        group,
        newLimit,
        blockLength,
        hash);
  }
}
