package org.modegpt.tasks;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.modegpt.UserException;

/// Where the data files of tasks are looked for: beside the task file, then in folders the user
/// named.
public record DataFolders(List<Path> folders) {

  /// The items of the first of a task's candidate files that is there; of all of them where the
  /// task lists several that are. A built-in task may have built-in data.
  ///
  /// @throws UserException with the places looked at when there is none
  List<DataFile.Row> rows(TaskDefinition task, List<String> names) {
    String builtIn = task.folder().isEmpty() ? TaskCatalog.builtInData(names.getFirst()) : null;
    return builtIn != null
        ? DataFile.read(Path.of(names.getFirst()), builtIn)
        : find(task, names).stream().flatMap(f -> DataFile.read(f).stream()).toList();
  }

  /// Whether {@link #rows} or {@link #find} would find something.
  public boolean has(TaskDefinition task, List<String> names) {
    return !candidates(task, names).isEmpty()
        || (task.folder().isEmpty() && TaskCatalog.builtInData(names.getFirst()) != null);
  }

  /// The files of a task that are there.
  public List<Path> find(TaskDefinition task, List<String> names) {
    List<Path> found = candidates(task, names);
    if (found.isEmpty()) {
      throw new UserException(
          "task %s: there is no data file %s (looked in %s); name its folder with --data"
              .formatted(
                  task.name(),
                  String.join(" or ", names),
                  places(task).stream().map(Path::toString).collect(Collectors.joining(", "))));
    }
    return found;
  }

  private List<Path> places(TaskDefinition task) {
    return Stream.concat(
            task.folder().isEmpty() ? Stream.of() : Stream.of(Path.of(task.folder())),
            folders.stream())
        .distinct()
        .toList();
  }

  private List<Path> candidates(TaskDefinition task, List<String> names) {
    List<Path> found = new ArrayList<>();
    for (String name : names) {
      if (name.indexOf('\0') >= 0) {
        throw new UserException(
            "task " + task.name() + ": the name of a data file has a NUL character");
      }
      Path path = Path.of(name);
      Stream<Path> places =
          path.isAbsolute() ? Stream.of(path) : places(task).stream().map(p -> p.resolve(path));
      places.filter(Files::isRegularFile).findFirst().ifPresent(found::add);
    }
    return found;
  }
}
