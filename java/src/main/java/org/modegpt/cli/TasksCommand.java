package org.modegpt.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.modegpt.UserException;
import org.modegpt.io.Json;
import org.modegpt.tasks.DataFolders;
import org.modegpt.tasks.Item;
import org.modegpt.tasks.ItemBuilder;
import org.modegpt.tasks.Metrics;
import org.modegpt.tasks.OutputType;
import org.modegpt.tasks.TaskCatalog;
import org.modegpt.tasks.TaskDefinition;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

@Command(
    name = "tasks",
    description = "Lists, shows and checks evaluation tasks.",
    mixinStandardHelpOptions = true,
    subcommands = {TasksCommand.Ls.class, TasksCommand.Show.class, TasksCommand.Validate.class},
    footer = {
      "",
      "Examples:",
      "  modegpt tasks ls",
      "  modegpt tasks show hellaswag --data tasks-data",
      "  modegpt tasks validate my-tasks/quiz.yaml"
    })
final class TasksCommand {

  @Command(
      name = "ls",
      aliases = "list",
      description = "Lists tasks, suites and metrics.",
      mixinStandardHelpOptions = true)
  static final class Ls implements Callable<Integer> {
    @Mixin private TaskOptions tasks;
    @Mixin private OutputOptions output;

    @Override
    public Integer call() {
      TaskCatalog catalog = tasks.catalog();
      DataFolders folders = tasks.folders();
      ArrayNode list = Json.MAPPER.createArrayNode();
      Table table = new Table("name", "kind", "shots", "metrics", "data");
      for (TaskCatalog.Entry entry : catalog.entries()) {
        ObjectNode node = list.addObject();
        node.put("name", entry.name());
        if (entry.suite()) {
          node.put("kind", "suite");
          table.row(entry.name(), "suite", "", "", "");
          continue;
        }
        TaskDefinition task = catalog.resolve(entry.name()).getFirst();
        String metrics =
            String.join(", ", task.metrics().stream().map(TaskDefinition.MetricUse::name).toList());
        node.put("kind", task.type().label());
        node.put("num_fewshot", task.examples().count());
        node.put("metrics", metrics);
        node.put("data", String.join(", ", task.data()));
        node.put("data_found", found(task, folders));
        table.row(
            task.name(),
            task.type().label(),
            task.examples().count(),
            metrics,
            String.join(", ", task.data()) + (found(task, folders) ? "" : " (not here)"));
      }
      if (output.json) {
        output.print(list);
      } else {
        output.out().print(table);
        output.out().println("metrics: " + String.join(", ", Metrics.all().keySet()));
        output.out().flush();
      }
      return 0;
    }

    private static boolean found(TaskDefinition task, DataFolders folders) {
      return folders.has(task, task.data());
    }
  }

  @Command(
      name = "show",
      description = "Prints a task's definition, and its first item as the model is asked.",
      mixinStandardHelpOptions = true)
  static final class Show implements Callable<Integer> {
    @Parameters(paramLabel = "TASK", description = "Name or file of a task or suite.")
    private String name;

    @Option(
        names = {"-n", "--items"},
        paramLabel = "N",
        defaultValue = "1",
        description = "Items to show (default: ${DEFAULT-VALUE}).")
    private int count;

    @Mixin private TaskOptions tasks;
    @Mixin private OutputOptions output;

    @Override
    public Integer call() {
      TaskCatalog catalog = tasks.catalog();
      catalog.entries().stream()
          .filter(e -> e.name().equals(name))
          .forEach(e -> output.out().println(TaskCatalog.source(e).stripTrailing()));
      List<TaskDefinition> found = catalog.resolve(name);
      if (found.size() == 1) {
        items(found.getFirst());
      } else {
        found.forEach(t -> output.out().println(t.name() + " (" + t.type().label() + ")"));
      }
      output.out().flush();
      return 0;
    }

    private void items(TaskDefinition task) {
      if (task.type() == OutputType.PERPLEXITY || task.type() == OutputType.DIVERGENCE) {
        return;
      }
      DataFolders folders = tasks.folders();
      if (!folders.has(task, task.data())) {
        output.say(
            "its data is not here: "
                + String.join(", ", task.data())
                + "; name its folder with --data");
        return;
      }
      for (Item item : ItemBuilder.build(task.withLimit(count), folders)) {
        output.out().printf("%n--- %s%n", item.place());
        for (int r = 0; r < item.requests().size(); r++) {
          Item.Request request = item.requests().get(r);
          if (r == 0 || !request.context().equals(item.requests().get(r - 1).context())) {
            output.out().println(request.context());
          }
          if (!request.continuation().isEmpty()) {
            output
                .out()
                .printf(
                    "  %s%s%n",
                    item.gold().contains(r) ? "* " : "  ",
                    Json.MAPPER.writeValueAsString(request.continuation()));
          }
        }
        if (item.requests().size() == 1 && !item.references().isEmpty()) {
          output.out().println("  right: " + Json.MAPPER.writeValueAsString(item.references()));
        }
      }
    }
  }

  @Command(
      name = "validate",
      description =
          "Checks task and suite files, and every item of their data that is there; exit code 1 when something is wrong.",
      mixinStandardHelpOptions = true)
  static final class Validate implements Callable<Integer> {
    @Parameters(
        arity = "1..*",
        paramLabel = "TASK",
        description = "Names, files or folders of tasks and suites.")
    private List<String> names;

    @Mixin private TaskOptions tasks;
    @Mixin private OutputOptions output;

    @Override
    public Integer call() {
      TaskCatalog catalog = tasks.catalog();
      DataFolders folders = tasks.folders();
      List<String> wrong = new ArrayList<>();
      for (String name : names) {
        try {
          for (String each : files(name)) {
            validate(catalog, each, folders, wrong);
          }
        } catch (UserException e) {
          wrong.add(String.valueOf(e.getMessage()));
        }
      }
      output.out().flush();
      if (!wrong.isEmpty()) {
        wrong.stream().limit(wrong.size() - 1L).forEach(w -> output.problem(w));
        throw new UserException(wrong.getLast());
      }
      return 0;
    }

    /// The files of a folder, so that one wrong file does not hide the others.
    private static List<String> files(String name) {
      return java.nio.file.Files.isDirectory(Path.of(name))
          ? TaskCatalog.files(Path.of(name)).stream().map(Path::toString).toList()
          : List.of(name);
    }

    private void validate(
        TaskCatalog catalog, String name, DataFolders folders, List<String> wrong) {
      try {
        for (TaskDefinition task : catalog.resolve(name)) {
          String data = "no items of its own";
          if (task.type() != OutputType.PERPLEXITY && task.type() != OutputType.DIVERGENCE) {
            data =
                folders.has(task, task.data())
                    ? ItemBuilder.build(task, folders).size() + " items"
                    : "data not here: " + String.join(", ", task.data());
          }
          output.out().println(task.name() + ": sound, " + data);
        }
      } catch (UserException e) {
        wrong.add(String.valueOf(e.getMessage()));
      }
    }
  }
}
