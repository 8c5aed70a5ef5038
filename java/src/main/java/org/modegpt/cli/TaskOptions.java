package org.modegpt.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.modegpt.Settings;
import org.modegpt.tasks.DataFolders;
import org.modegpt.tasks.TaskCatalog;
import org.modegpt.tasks.TaskDefinition;
import picocli.CommandLine.Option;

/// Where task files and their data are.
final class TaskOptions {
  @Option(
      names = {"--include-path", "--include_path"},
      paramLabel = "FOLDER",
      description = "Folder with task and suite files of your own; repeatable.")
  private List<Path> include = List.of();

  @Option(
      names = "--data",
      paramLabel = "FOLDER",
      description =
          "Folder with the tasks' data files; repeatable (default: $MODEGPT_TASKS_DATA, then the current folder).")
  private List<Path> data = List.of();

  TaskCatalog catalog() {
    return new TaskCatalog(include);
  }

  /// The tasks and suites of the names, each once.
  ///
  /// @param limit items of each at most; null for the tasks' own limits
  /// @param examples before each item; null for the tasks' own numbers
  List<TaskDefinition> definitions(
      List<String> names, @Nullable Integer limit, @Nullable Integer examples) {
    TaskCatalog catalog = catalog();
    Map<String, TaskDefinition> tasks = new LinkedHashMap<>();
    for (String name : names) {
      for (TaskDefinition task : catalog.resolve(name.strip())) {
        TaskDefinition limited =
            limit != null && (task.limit() == 0 || limit < task.limit())
                ? task.withLimit(limit)
                : task;
        tasks.putIfAbsent(task.name(), examples == null ? limited : limited.withExamples(examples));
      }
    }
    return List.copyOf(tasks.values());
  }

  DataFolders folders() {
    List<Path> folders = new ArrayList<>(data);
    String setting = Settings.get("tasks.data");
    if (setting != null) {
      folders.add(Path.of(setting));
    }
    folders.add(Path.of("").toAbsolutePath());
    folders.addAll(Demo.textFolders());
    return new DataFolders(folders);
  }
}
