package org.modegpt.tasks;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import tools.jackson.databind.JsonNode;

/// The tasks and suites that can be named: the built-in ones, and the files of folders the user
/// gave, which go first. A file can also be named by its path.
public final class TaskCatalog {
  private static final int NESTING = 8;

  /// A file of the catalogue.
  ///
  /// @param file its path; null for a built-in one
  public record Entry(String name, boolean suite, @Nullable Path file) {
    LocatedYaml yaml() {
      return file == null ? builtIn(name) : LocatedYaml.read(file);
    }
  }

  private final Map<String, Entry> entries = new TreeMap<>();

  /// @param folders with task and suite files, searched with their sub-folders
  public TaskCatalog(List<Path> folders) {
    for (String name : resource("index.txt").lines().toList()) {
      int space = name.indexOf(' ');
      String entry = name.substring(space + 1);
      entries.put(entry, new Entry(entry, name.startsWith("suite"), null));
    }
    for (Path folder : folders) {
      files(folder).forEach(this::add);
    }
  }

  /// The YAML files of a folder and its sub-folders.
  public static List<Path> files(Path folder) {
    if (!Files.isDirectory(folder)) {
      throw new UserException("there is no folder " + folder);
    }
    try (Stream<Path> all = Files.walk(folder)) {
      return all.filter(f -> f.toString().matches(".*\\.ya?ml")).sorted().toList();
    } catch (IOException e) {
      throw new UserException("cannot read " + folder + ": " + e.getMessage(), e);
    }
  }

  private void add(Path file) {
    LocatedYaml yaml = LocatedYaml.read(file);
    String stem = file.getFileName().toString().replaceFirst("\\.ya?ml$", "");
    boolean suite = isSuite(yaml);
    String name = suite ? yaml.text("", "suite", "group") : yaml.root().path("task").asString(stem);
    entries.put(name == null ? stem : name, new Entry(name == null ? stem : name, suite, file));
  }

  private static boolean isSuite(LocatedYaml yaml) {
    return yaml.root().has("tasks")
        || yaml.root().has("suite")
        || yaml.root().path("task").isArray();
  }

  /// All entries by name.
  public List<Entry> entries() {
    return List.copyOf(entries.values());
  }

  /// The definitions a name stands for: a task, the tasks of a suite, a file, all files of a
  /// folder, `perplexity:TEXT` or `divergence:TEXT`.
  ///
  /// @throws UserException when there is none, or a file is wrong
  public List<TaskDefinition> resolve(String name) {
    return resolve(name, 0);
  }

  private List<TaskDefinition> resolve(String name, int depth) {
    if (depth > NESTING) {
      throw new UserException("suite " + name + " contains itself");
    }
    int colon = name.indexOf(':');
    if (colon > 0 && name.substring(0, colon).matches("perplexity|divergence")) {
      return List.of(ofText(name.substring(0, colon), name.substring(colon + 1)));
    }
    Entry entry = entries.get(name);
    if (entry != null && !entry.suite()) {
      return List.of(
          entry.file() == null ? TaskFile.of(entry.yaml(), "") : TaskFile.read(entry.file()));
    }
    if (entry != null) {
      return suite(entry.yaml(), entry.file(), depth);
    }
    Path path = Path.of(name);
    if (Files.isDirectory(path)) {
      return files(path).stream().flatMap(f -> resolve(f.toString(), depth + 1).stream()).toList();
    }
    if (Files.isRegularFile(path)) {
      LocatedYaml yaml = LocatedYaml.read(path);
      return isSuite(yaml) ? suite(yaml, path, depth) : List.of(TaskFile.read(path));
    }
    throw new UserException(
        "there is no task, suite or task file '"
            + name
            + "'"
            + Names.suggestion(name, entries.keySet())
            + "; 'modegpt tasks ls' lists them");
  }

  private List<TaskDefinition> suite(LocatedYaml yaml, @Nullable Path file, int depth) {
    List<TaskDefinition> tasks = new ArrayList<>();
    yaml.text("", "suite", "group");
    String key = yaml.pointer("", "tasks", "task");
    JsonNode list = yaml.get("tasks", "task");
    if (list == null || !list.isArray() || list.isEmpty()) {
      throw yaml.error(key, "a suite needs 'tasks', a list of task names");
    }
    yaml.refuseUnknown(
        "", java.util.Set.of("about", "metadata", "group_alias", "aggregate_metric_list"));
    for (int i = 0; i < list.size(); i++) {
      String pointer = key + "/" + i;
      JsonNode member = list.get(i);
      String name = member.isObject() ? yaml.text(pointer, "task", "name") : member.asString();
      if (name == null) {
        throw yaml.error(pointer, "want the name of a task");
      }
      Integer limit = member.isObject() ? yaml.integer(pointer, 0, "limit") : null;
      Integer examples =
          member.isObject() ? yaml.integer(pointer, 0, "num_fewshot", "fewshot") : null;
      if (member.isObject()) {
        yaml.refuseUnknown(pointer, java.util.Set.of());
      }
      for (TaskDefinition task : member(yaml, pointer, name, file, depth)) {
        TaskDefinition limited = limit == null ? task : task.withLimit(limit);
        tasks.add(examples == null ? limited : limited.withExamples(examples));
      }
    }
    return tasks;
  }

  private List<TaskDefinition> member(
      LocatedYaml yaml, String pointer, String name, @Nullable Path suite, int depth) {
    Path beside = suite == null ? null : suite.resolveSibling(name);
    if (beside != null && Files.isRegularFile(beside)) {
      return resolve(beside.toString(), depth + 1);
    }
    int colon = name.indexOf(':');
    if (beside != null
        && colon > 0
        && Files.isRegularFile(suite.resolveSibling(name.substring(colon + 1)))) {
      return List.of(
          ofText(
              name.substring(0, colon),
              suite.resolveSibling(name.substring(colon + 1)).toString()));
    }
    try {
      return resolve(name, depth + 1);
    } catch (UserException e) {
      throw e.getMessage() != null && e.getMessage().startsWith("there is no task")
          ? yaml.error(pointer, e.getMessage())
          : e;
    }
  }

  private static TaskDefinition ofText(String kind, String file) {
    if (file.isEmpty()) {
      throw new UserException(kind + ": needs a text file, as in " + kind + ":my.txt");
    }
    String name = kind + ":" + Path.of(file).getFileName();
    String quoted = "'" + file.replace("'", "''") + "'";
    return TaskFile.of(
        LocatedYaml.of(
            name,
            "task: '"
                + name.replaceAll("[^\\w.+:/-]", "_")
                + "'\noutput_type: "
                + kind
                + "\ndata: "
                + quoted
                + "\n"),
        "");
  }

  private static LocatedYaml builtIn(String name) {
    return LocatedYaml.of(name + ".yaml", resource(name + ".yaml"));
  }

  /// The file of an entry, as text.
  public static String source(Entry entry) {
    if (entry.file() == null) {
      return resource(entry.name() + ".yaml");
    }
    try {
      return Files.readString(entry.file());
    } catch (IOException e) {
      throw new UserException("cannot read " + entry.file() + ": " + LocatedYaml.reason(e), e);
    }
  }

  /// Data that comes with the program, or null.
  static @Nullable String builtInData(String name) {
    return name.matches("[\\w-]+\\.jsonl") && TaskCatalog.class.getResource(name) != null
        ? resource(name)
        : null;
  }

  private static String resource(String name) {
    try (InputStream in = TaskCatalog.class.getResourceAsStream(name)) {
      if (in == null) {
        throw new IllegalStateException("no built-in file " + name);
      }
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new IllegalStateException("cannot read the built-in file " + name, e);
    }
  }
}
