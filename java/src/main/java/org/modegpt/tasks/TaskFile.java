package org.modegpt.tasks;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.io.Digests;
import org.modegpt.io.Json;
import org.modegpt.jinja.TemplateException;
import org.modegpt.tasks.TaskDefinition.Examples;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/// Reads a task definition. It accepts what lm-evaluation-harness task files say, as far as no
/// Python code is involved, and shorter names of our own; everything else is an error with file,
/// line and reason.
public final class TaskFile {
  /// All keys of a task file.
  private static final Set<String> KEYS =
      Set.of(
          "include",
          "task",
          "name",
          "version",
          "output_type",
          "type",
          "data",
          "file",
          "files",
          "dataset_path",
          "dataset",
          "dataset_kwargs",
          "test_split",
          "split",
          "description",
          "doc_to_text",
          "prompt",
          "query",
          "doc_to_choice",
          "choices",
          "doc_to_contexts",
          "contexts",
          "doc_to_target",
          "gold",
          "target",
          "answer",
          "gold_context",
          "gold_index",
          "target_delimiter",
          "fewshot_delimiter",
          "num_fewshot",
          "fewshot",
          "fewshot_data",
          "fewshot_split",
          "fewshot_config",
          "fewshot_by",
          "metric_list",
          "metrics",
          "metric",
          "generation_kwargs",
          "filter_list",
          "filters",
          "group_by",
          "subject",
          "limit",
          "block_length",
          "ctx_size");

  /// Keys of lm-evaluation-harness that do not change what is measured here.
  private static final Set<String> IGNORED =
      Set.of(
          "task_alias",
          "tag",
          "should_decontaminate",
          "doc_to_decontamination_query",
          "metadata",
          "dataset_name",
          "training_split",
          "validation_split",
          "repeats",
          "unsafe_code",
          "recipe",
          "about",
          "licence",
          "homepage");

  private static final Set<String> PYTHON =
      Set.of(
          "process_docs",
          "process_results",
          "custom_dataset",
          "use_prompt",
          "doc_to_image",
          "doc_to_audio");

  private final LocatedYaml yaml;
  private final String folder;

  private TaskFile(LocatedYaml yaml, String folder) {
    this.yaml = yaml;
    this.folder = folder;
  }

  /// Reads a file.
  ///
  /// @throws UserException `FILE:LINE: reason` when it is not a sound definition
  public static TaskDefinition read(Path file) {
    Path parent = file.toAbsolutePath().getParent();
    return of(withIncludes(file, 0), parent == null ? "" : parent.toString());
  }

  static TaskDefinition of(LocatedYaml yaml, String folder) {
    return new TaskFile(yaml, folder).definition();
  }

  /// A file's text with that of the files it includes put in for keys that it lacks.
  private static LocatedYaml withIncludes(Path file, int depth) {
    LocatedYaml yaml = LocatedYaml.read(file);
    String include = yaml.text("", "include");
    if (include == null) {
      return yaml;
    }
    Path base = file.resolveSibling(include);
    if (depth > 8 || !Files.isRegularFile(base)) {
      throw yaml.error(
          "/include", depth > 8 ? "files include each other" : "there is no file " + base);
    }
    return yaml.withDefaults(withIncludes(base, depth + 1));
  }

  private TaskDefinition definition() {
    yaml.refuseUnknown("", KEYS, IGNORED, PYTHON);
    for (String key : PYTHON) {
      if (yaml.get(key) != null) {
        throw yaml.error("/" + key, key + " is not supported: it needs Python code or other media");
      }
    }
    String name = name();
    OutputType type = type();
    Template text = template("doc_to_text", "prompt", "query");
    List<Template> choices = templates("doc_to_choice", "choices");
    List<Template> contexts = templates("doc_to_contexts", "contexts");
    Template target = target();
    Template gold = template("gold_context", "gold_index");
    check(type, text, choices, contexts, target, gold);
    if (!contexts.isEmpty() && gold == null) {
      gold = text;
      text = null;
    }
    Examples examples = examples();
    ScoringEntries scoring = new ScoringEntries(yaml, type);
    TaskDefinition definition =
        new TaskDefinition(
            name,
            yaml.name(),
            folder,
            version(),
            type,
            data(name),
            template("description"),
            text,
            choices,
            contexts,
            target,
            gold,
            Objects.requireNonNullElse(yaml.text("", "target_delimiter"), " "),
            examples,
            scoring.metrics(),
            scoring.generation(examples.delimiter()),
            scoring.filters(),
            template("group_by", "subject"),
            Objects.requireNonNullElse(yaml.integer("", 0, "limit"), 0),
            Objects.requireNonNullElse(yaml.integer("", 2, "block_length", "ctx_size"), 0),
            hash());
    return definition;
  }

  private String name() {
    String name = yaml.text("", "task", "name");
    if (name == null) {
      String file = Path.of(yaml.name()).getFileName().toString();
      name = file.replaceFirst("\\.(ya?ml|json)$", "");
    }
    if (!name.matches("[\\w.+:/-]+")) {
      throw yaml.error("/task", "'" + name + "' is no task name: letters, digits and _ - . only");
    }
    return name;
  }

  private OutputType type() {
    String label = yaml.text("", "output_type", "type");
    if (label == null) {
      return yaml.get("doc_to_choice", "choices") != null
          ? OutputType.MULTIPLE_CHOICE
          : OutputType.GENERATE_UNTIL;
    }
    for (OutputType type : OutputType.values()) {
      if (type.label().equals(label.toLowerCase(Locale.ROOT).replace('-', '_'))) {
        return type;
      }
    }
    throw yaml.error(
        yaml.pointer("", "output_type", "type"),
        "unknown output_type '"
            + label
            + "': choose one of "
            + String.join(", ", OutputType.labels())
            + Names.suggestion(label, OutputType.labels()));
  }

  private @Nullable Template target() {
    return template("doc_to_target", "gold", "target", "answer");
  }

  private void check(
      OutputType type,
      @Nullable Template text,
      List<Template> choices,
      List<Template> contexts,
      @Nullable Template target,
      @Nullable Template gold) {
    switch (type) {
      case MULTIPLE_CHOICE -> {
        require(
            !choices.isEmpty() || !contexts.isEmpty(),
            "a multiple_choice task needs doc_to_choice: a field with the list of choices, or a list of templates");
        require(
            text != null || gold != null,
            "a multiple_choice task needs doc_to_text, the question as a template");
        require(
            target != null,
            "a multiple_choice task needs doc_to_target, the index, letter or text of the right choice");
      }
      case LOGLIKELIHOOD, GENERATE_UNTIL -> {
        require(
            text != null,
            "a " + type.label() + " task needs doc_to_text, the prompt as a template");
        require(
            target != null || type == OutputType.GENERATE_UNTIL,
            "a loglikelihood task needs doc_to_target, the continuation as a template");
      }
      case LOGLIKELIHOOD_ROLLING ->
          require(
              target != null || text != null,
              "a loglikelihood_rolling task needs doc_to_target, the document as a template");
      case PERPLEXITY, DIVERGENCE -> {}
    }
  }

  private void require(boolean condition, String message) {
    if (!condition) {
      throw yaml.error(yaml.pointer("", "output_type", "type", "task", "name"), message);
    }
  }

  private @Nullable Template template(String... keys) {
    JsonNode node = yaml.get(keys);
    if (node == null) {
      return null;
    }
    String pointer = yaml.pointer("", keys);
    if (node.isContainer()) {
      throw yaml.error(pointer, "want a template (a text), not " + LocatedYaml.kind(node));
    }
    return parse(pointer, node.isBoolean() ? (node.booleanValue() ? "1" : "0") : node.asString());
  }

  private List<Template> templates(String... keys) {
    JsonNode node = yaml.get(keys);
    if (node == null) {
      return List.of();
    }
    String pointer = yaml.pointer("", keys);
    if (!node.isContainer()) {
      return List.of(parse(pointer, node.asString()));
    }
    List<Template> templates = new ArrayList<>();
    for (Map.Entry<String, JsonNode> entry : entries(node).entrySet()) {
      String child = pointer + "/" + entry.getKey();
      if (entry.getValue().isContainer()) {
        throw yaml.error(
            child, "want the template of one choice, not " + LocatedYaml.kind(entry.getValue()));
      }
      if (entry.getValue().asString().isEmpty()) {
        throw yaml.error(child, "the choice is empty");
      }
      templates.add(parse(child, entry.getValue().asString()));
    }
    if (templates.size() < 2) {
      throw yaml.error(pointer, "want at least two choices, or one template that gives a list");
    }
    return templates;
  }

  private static Map<String, JsonNode> entries(JsonNode container) {
    Map<String, JsonNode> entries = new LinkedHashMap<>();
    if (container.isObject()) {
      container.properties().forEach(e -> entries.put(e.getKey(), e.getValue()));
    } else {
      for (int i = 0; i < container.size(); i++) {
        entries.put(Integer.toString(i), container.get(i));
      }
    }
    return entries;
  }

  private Template parse(String pointer, String source) {
    try {
      return Template.of(source);
    } catch (TemplateException e) {
      throw yaml.error(pointer, "the template is wrong: " + e.getMessage());
    }
  }

  /// The files of the items: our `data`, or what an lm-evaluation-harness file says of a local data
  /// set.
  private List<String> data(String name) {
    List<String> files = yaml.texts("", "data", "file", "files");
    String split =
        Objects.requireNonNullElse(
            yaml.text("", "test_split", "split"),
            Objects.requireNonNullElse(yaml.text("", "validation_split"), "test"));
    String path = yaml.text("", "dataset_path", "dataset");
    JsonNode given = givenFiles();
    if (!files.isEmpty()) {
      return files;
    }
    if (given != null) {
      return dataFiles(given, split);
    }
    if (path == null) {
      return List.of(name + ".jsonl");
    }
    return path.matches(".*\\.(jsonl|json|csv|tsv|txt)")
        ? List.of(path)
        : List.of(name + ".jsonl", path + "/" + split + ".jsonl");
  }

  private @Nullable JsonNode givenFiles() {
    return yaml.container("", true, "dataset_kwargs") == null
        ? null
        : yaml.at("/dataset_kwargs", "data_files");
  }

  private List<String> dataFiles(JsonNode given, String split) {
    JsonNode files = given.isObject() ? given.get(split) : given;
    if (files == null) {
      throw yaml.error(
          "/dataset_kwargs/data_files", "there is no file of the split '" + split + "'");
    }
    return given.isObject()
        ? yaml.texts("/dataset_kwargs/data_files", split)
        : yaml.texts("/dataset_kwargs", "data_files");
  }

  private Examples examples() {
    int count = Objects.requireNonNullElse(yaml.integer("", 0, "num_fewshot", "fewshot"), 0);
    List<String> data = yaml.texts("", "fewshot_data");
    String split = yaml.text("", "fewshot_split");
    JsonNode files = givenFiles();
    if (data.isEmpty() && split != null && files != null && files.has(split)) {
      data = dataFiles(files, split);
    }
    boolean random = true;
    List<Map<String, Object>> documents = new ArrayList<>();
    if (yaml.container("", true, "fewshot_config") != null) {
      String sampler =
          Objects.requireNonNullElse(yaml.text("/fewshot_config", "sampler"), "default");
      if (!Set.of("default", "first_n").contains(sampler)) {
        throw yaml.error(
            "/fewshot_config/sampler",
            "unknown sampler '" + sampler + "': choose first_n or default");
      }
      random = sampler.equals("default");
      JsonNode samples = yaml.container("/fewshot_config", false, "samples");
      yaml.refuseUnknown("/fewshot_config", Set.of("split"));
      for (JsonNode sample : samples == null ? List.<JsonNode>of() : samples.values()) {
        if (!sample.isObject()) {
          throw yaml.error("/fewshot_config/samples", "want a list of objects");
        }
        documents.add(Fields.of(sample));
      }
    }
    return new Examples(
        count,
        data,
        documents,
        yaml.text("", "fewshot_by"),
        random && documents.isEmpty(),
        Objects.requireNonNullElse(yaml.text("", "fewshot_delimiter"), "\n\n"));
  }

  private String version() {
    JsonNode version = yaml.root().path("metadata").path("version");
    String own = yaml.text("", "version");
    return own != null ? own : version.isMissingNode() ? "1" : version.asString();
  }

  private String hash() {
    ObjectNode content = yaml.root().deepCopy();
    content.remove(List.of("metadata", "limit", "num_fewshot"));
    return Digests.sha256Hex(Json.MAPPER.writeValueAsString(content));
  }
}
