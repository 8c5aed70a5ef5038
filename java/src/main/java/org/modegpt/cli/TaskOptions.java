package org.modegpt.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.modegpt.Settings;
import org.modegpt.tasks.DataFolders;
import org.modegpt.tasks.TaskCatalog;
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
