package org.modegpt.cli;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.evaluate.Evaluation;
import org.modegpt.evaluate.Evaluation.Row;
import org.modegpt.evaluate.Evaluation.Subject;
import org.modegpt.evaluate.EvaluationJson;
import org.modegpt.evaluate.Evaluator;
import org.modegpt.evaluate.Gates;
import org.modegpt.evaluate.TaskResult;
import org.modegpt.io.AtomicFile;
import org.modegpt.io.IoErrors;
import org.modegpt.io.Json;
import org.modegpt.model.Transformer;
import org.modegpt.report.EvaluationHtml;
import org.modegpt.report.JUnitXml;
import org.modegpt.runs.ModelUse;
import org.modegpt.runs.Run;
import org.modegpt.runs.RunSettings;
import org.modegpt.tasks.TaskDefinition;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;
import tools.jackson.databind.node.ObjectNode;

@Command(
    name = "eval",
    description =
        "Runs evaluation tasks on a model, compares it with a baseline item by item, and judges gates.",
    mixinStandardHelpOptions = true,
    footer = {
      "",
      "A stopped run goes on where it was when the same command is given again. Exit code 3 when a gate fails.",
      "",
      "Examples:",
      "  modegpt eval my-model --tasks arc_easy,hellaswag,perplexity:my.txt --limit 200 --data tasks-data",
      "  modegpt eval out/small --baseline my-model --suite standard --gate gates.yaml --report report.html",
      "  modegpt eval out/small --baseline results.json --suite quick -o results"
    })
final class EvalCommand implements Callable<Integer> {
  private static final List<String> REPORTS =
      List.of("results.json", "report.html", "report.md", "junit.xml");

  @Mixin private ModelOption source;

  @Option(
      names = "--baseline",
      paramLabel = "MODEL|FILE",
      description = "Model to compare with, or the results.json of an earlier run.")
  private @Nullable Path baseline;

  @Option(
      names = {"--tasks", "--suite"},
      paramLabel = "NAME",
      split = ",",
      description =
          "Tasks and suites: names, YAML files, folders, perplexity:TEXT, divergence:TEXT (default: quick).")
  private List<String> names = List.of("quick");

  @Option(
      names = {"-L", "--limit"},
      paramLabel = "N",
      description = "Only the first N items (or blocks of text) of each task.")
  private @Nullable Integer limit;

  @Option(
      names = {"--num-fewshot", "--num_fewshot"},
      paramLabel = "N",
      description = "Examples before each item (default: the task's).")
  private @Nullable Integer examples;

  @Option(
      names = "--gate",
      paramLabel = "FILE",
      description = "Thresholds the model must reach, YAML or JSON; repeatable.")
  private List<Path> gateFiles = List.of();

  @Option(
      names = "--report",
      paramLabel = "FILE",
      description =
          "Write a report: .html, .md, .json (as lm-evaluation-harness) or .xml (JUnit); repeatable.")
  private List<Path> reports = List.of();

  @Option(
      names = {"-o", "--output-path", "--output_path"},
      paramLabel = "FOLDER",
      description = "Write all reports into this folder.")
  private @Nullable Path folder;

  @Option(
      names = {"-s", "--log-samples", "--log_samples"},
      description = "With --output-path: also what the model said of every item.")
  private boolean logSamples;

  @Option(
      names = "--too-long",
      paramLabel = "cut|fail",
      defaultValue = "cut",
      description =
          "A context longer than the model's is cut at the beginning and counted, or fails its task (default: ${DEFAULT-VALUE}).")
  private String tooLong;

  @Option(names = "--speed", description = "Measure load time, memory and tokens per second too.")
  private boolean speed;

  @Option(
      names = "--cache",
      paramLabel = "FOLDER",
      description = "Where answers are kept (default: evaluations in the program's home).")
  private @Nullable Path cache;

  @Option(names = "--no-cache", description = "Neither use nor keep answers of earlier runs.")
  private boolean noCache;

  @Mixin private TaskOptions taskOptions;
  @Mixin private EngineOptions engine;
  @Mixin private RecordOptions record;
  @Mixin private OutputOptions output;
  @Spec private CommandSpec spec;

  @Override
  public Integer call() {
    checkUsage();
    List<TaskDefinition> tasks = taskOptions.definitions(names, limit, examples);
    List<Gates> gates = gateFiles.stream().map(Gates::read).toList();
    reportFiles().forEach(EvalCommand::makeFolder);
    if (baseline != null && !stored()) {
      Transformer.open(baseline).close();
    }
    Map<String, String> parameters = new LinkedHashMap<>();
    parameters.put("model", source.path().toString());
    parameters.put("tasks", String.join(",", names));
    if (baseline != null) {
      parameters.put("baseline", baseline.toString());
    }
    if (limit != null) {
      parameters.put("limit", limit.toString());
    }
    return record.record(
        "eval",
        parameters,
        run -> {
          output.recordIn(run);
          return run(tasks, gates, run);
        });
  }

  private void checkUsage() {
    if (limit != null && limit < 1) {
      throw usage("--limit must be at least 1, not " + limit);
    }
    if (examples != null && examples < 0) {
      throw usage("--num-fewshot must be at least 0, not " + examples);
    }
    if (!tooLong.equals("cut") && !tooLong.equals("fail")) {
      throw usage("--too-long must be cut or fail, not " + tooLong);
    }
    for (Path report : reports) {
      kind(report);
    }
    if (names.stream().anyMatch(String::isBlank)) {
      throw usage("--tasks has an empty name");
    }
    if (logSamples && folder == null) {
      throw usage("--log-samples needs --output-path");
    }
  }

  private int run(List<TaskDefinition> tasks, List<Gates> gates, Run run) {
    boolean stored = stored();
    Evaluator evaluator =
        new Evaluator(
            tasks,
            taskOptions.folders(),
            cacheFolder(),
            tooLong.equals("cut"),
            speed || gates.stream().anyMatch(Gates::needSpeed));
    Evaluation evaluation;
    try (Backend backend = engine.open()) {
      Subject reference = baseline != null && stored ? EvaluationJson.read(baseline) : null;
      Subject model =
          evaluator.run(
              source.path(), stored ? null : baseline, backend, output.progress(), this::tell);
      if (baseline != null && !stored) {
        reference = evaluator.run(baseline, null, backend, output.progress(), this::tell);
      }
      evaluation = Evaluation.of(model, reference);
    }
    List<Gates.Outcome> judged = gates.stream().flatMap(g -> g.judge(evaluation).stream()).toList();
    record(run, evaluation);
    int code = print(evaluation, judged);
    write(evaluation, judged);
    return code;
  }

  /// Whether the baseline is an earlier run instead of a model.
  private boolean stored() {
    return baseline != null && baseline.toString().endsWith(".json");
  }

  private @Nullable Path cacheFolder() {
    if (noCache) {
      return null;
    }
    return cache != null ? cache : RunSettings.fromEnvironment().home().resolve("evaluations");
  }

  private void tell(String model, TaskResult result) {
    if (result.failed()) {
      output.problem(result.error());
      return;
    }
    String known =
        result.cached() > 0
            ? ", %d of %d answers known".formatted(result.cached(), result.requests())
            : "";
    output.say(
        String.format(
            Locale.ROOT,
            "%s, %s: %d items in %.1f s%s",
            model,
            result.task().name(),
            result.items(),
            result.seconds(),
            known));
    if (result.truncated() > 0) {
      output.say("warning: " + result.truncation());
    }
  }

  private static void record(Run run, Evaluation evaluation) {
    Subject model = evaluation.model();
    run.model(ModelUse.SUBJECT, Path.of(model.path()), model.parameters());
    Subject reference = evaluation.baseline();
    if (reference != null && Files.exists(Path.of(reference.path()))) {
      run.model(ModelUse.BASE, Path.of(reference.path()), reference.parameters());
    }
    for (Row row : evaluation.rows()) {
      metric(run, model, row.task(), row.measure());
      if (reference != null && row.baseline() != null) {
        metric(run, reference, row.task(), row.baseline());
      }
    }
  }

  private static void metric(
      Run run, Subject subject, TaskResult.TaskId task, org.modegpt.evaluate.Measure measure) {
    double error = measure.standardError();
    run.metric(
        measure.metric(),
        measure.value(),
        Double.isNaN(error) ? null : error,
        "",
        Map.of("task", task.name(), "model", subject.name(), "filter", measure.filter()));
  }

  private List<Path> reportFiles() {
    List<Path> files = new ArrayList<>(reports);
    if (folder != null) {
      REPORTS.forEach(name -> files.add(folder.resolve(name)));
    }
    return files;
  }

  /// What cannot be written is told before anything is computed.
  private static void makeFolder(Path file) {
    Path parent = file.toAbsolutePath().getParent();
    try {
      Files.createDirectories(parent);
    } catch (IOException e) {
      throw IoErrors.writing(parent, e);
    }
    if (!Files.isWritable(parent)) {
      throw new UserException("cannot write into " + parent + ": permission denied");
    }
  }

  private void write(Evaluation evaluation, List<Gates.Outcome> judged) {
    for (Path file : reportFiles()) {
      String text =
          switch (kind(file)) {
            case "html" -> EvaluationHtml.of(evaluation, judged);
            case "md" -> EvaluationTable.of(evaluation, judged);
            case "xml" -> JUnitXml.of(evaluation, judged);
            default -> Json.pretty(EvaluationJson.write(evaluation, judged));
          };
      write(file, text);
      output.say("written: " + file);
    }
    if (logSamples && folder != null) {
      for (TaskResult result : evaluation.model().results()) {
        StringBuilder lines = new StringBuilder();
        result.samples().forEach(s -> lines.append(Json.MAPPER.writeValueAsString(s)).append('\n'));
        write(
            folder.resolve(
                "samples_" + result.task().name().replaceAll("[^\\w.-]", "_") + ".jsonl"),
            lines.toString());
      }
    }
  }

  private static void write(Path file, String text) {
    makeFolder(file);
    AtomicFile.write(file, text.getBytes(StandardCharsets.UTF_8));
  }

  private int print(Evaluation evaluation, List<Gates.Outcome> judged) {
    if (output.json) {
      ObjectNode json = EvaluationJson.write(evaluation, judged);
      for (String subject : List.of("model", "baseline")) {
        if (json.path("modegpt").path(subject) instanceof ObjectNode node) {
          node.remove("tasks");
        }
      }
      output.print(json);
    } else {
      output.out().print(EvaluationTable.of(evaluation, judged));
      output.out().flush();
    }
    List<Gates.Outcome> failed = judged.stream().filter(g -> !g.passed()).toList();
    if (!failed.isEmpty()) {
      failed.forEach(g -> output.problem("gate failed: " + g.name() + " (" + g.message() + ")"));
      return Main.GATE;
    }
    List<String> errors = evaluation.errors();
    return errors.isEmpty() ? 0 : Main.FAILED;
  }

  private String kind(Path report) {
    String name = report.getFileName().toString().toLowerCase(Locale.ROOT);
    String ending = name.substring(name.lastIndexOf('.') + 1);
    return switch (ending) {
      case "html", "htm" -> "html";
      case "md", "xml", "json" -> ending;
      default ->
          throw usage(
              "--report " + report + ": want a file that ends in .html, .md, .json or .xml");
    };
  }

  private ParameterException usage(String message) {
    return new ParameterException(spec.commandLine(), message);
  }
}
