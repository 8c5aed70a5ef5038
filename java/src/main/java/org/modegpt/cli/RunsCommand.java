package org.modegpt.cli;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.Writer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.io.ByteSize;
import org.modegpt.report.RunReport;
import org.modegpt.runs.Comparison;
import org.modegpt.runs.Figures;
import org.modegpt.runs.Metrics;
import org.modegpt.runs.ModelUse;
import org.modegpt.runs.ParquetFiles;
import org.modegpt.runs.RunFiles;
import org.modegpt.runs.RunFilter;
import org.modegpt.runs.RunJson;
import org.modegpt.runs.RunRecord;
import org.modegpt.runs.RunStore;
import org.modegpt.runs.RunSummary;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// `modegpt runs`: what was recorded.
@Command(
    name = "runs",
    description = "List, show, compare, report, export and import recorded runs.",
    mixinStandardHelpOptions = true,
    footer = {
      "",
      "Examples:",
      "  modegpt runs ls --kind compress --since 7d",
      "  modegpt runs compare 20261124-1a 20261124-2b",
      "  modegpt runs report last -o report.html",
      "  modegpt runs export --format csv -o runs.csv"
    },
    subcommands = {
      RunsCommand.Ls.class,
      RunsCommand.Show.class,
      RunsCommand.Compare.class,
      RunsCommand.Report.class,
      RunsCommand.Export.class,
      RunsCommand.Import.class
    })
public final class RunsCommand {
  /// Options that choose runs.
  static final class Filter {
    @Option(
        names = "--kind",
        defaultValue = "",
        description = "Only runs of this kind (compress, eval, bench, generate, monitor).")
    private String kind = "";

    @Option(
        names = "--status",
        defaultValue = "",
        description = "Only running, finished, failed, interrupted or killed runs.")
    private String status = "";

    @Option(
        names = {"-m", "--model"},
        defaultValue = "",
        description = "Only runs about this model.")
    private String model = "";

    @Option(names = "--recipe", defaultValue = "", description = "Only runs with this recipe.")
    private String recipe = "";

    @Option(
        names = "--text",
        defaultValue = "",
        description = "Only runs with this text in id, model, recipe, command or host.")
    private String text = "";

    @Option(
        names = "--since",
        defaultValue = "",
        description = "Only runs of the last while, as in 12h or 7d.")
    private String since = "";

    RunFilter filter(int limit, int offset) {
      Instant from = since.isEmpty() ? null : Instant.now().minus(Text.duration(since));
      return new RunFilter(kind, status, model, recipe, text, from, limit, offset);
    }
  }

  @Command(name = "ls", description = "List runs, newest first.")
  static final class Ls implements Callable<Integer> {
    @Mixin private final StoreOption store = new StoreOption();
    @Mixin private final Filter filter = new Filter();

    @Option(
        names = {"-n", "--limit"},
        defaultValue = "20",
        description = "How many (default: ${DEFAULT-VALUE}).")
    private int limit;

    @Option(
        names = "--offset",
        defaultValue = "0",
        description = "How many of the newest to leave out.")
    private int offset;

    @Override
    public Integer call() {
      try (RunStore runs = store.open()) {
        List<RunSummary> list = runs.list(filter.filter(limit, offset));
        if (store.json) {
          store.out().println(RunJson.pretty(list));
        } else {
          print(list);
        }
      }
      return 0;
    }

    private void print(List<RunSummary> list) {
      Table table =
          new Table("id", "kind", "status", "started", "time", "model", "recipe", "result");
      for (RunSummary run : list) {
        Double seconds = run.seconds();
        table.row(
            run.id(),
            run.kind(),
            run.status(),
            Text.time(run.started()),
            seconds == null ? "" : Figures.seconds(seconds),
            run.model(),
            run.recipe(),
            run.error().isEmpty() ? results(run.metrics()) : run.error());
      }
      store.out().print(table);
    }

    /// The few metrics that say most.
    private static String results(Map<String, Double> metrics) {
      return metrics.entrySet().stream()
          .filter(m -> Metrics.isResult(m.getKey()))
          .sorted(Comparator.comparingInt(m -> Metrics.rank(m.getKey())))
          .limit(3)
          .map(m -> m.getKey() + " " + Figures.metric(m.getKey(), m.getValue()))
          .collect(Collectors.joining(", "));
    }
  }

  @Command(name = "show", description = "Show everything about a run.")
  static final class Show implements Callable<Integer> {
    @Mixin private final StoreOption store = new StoreOption();

    @Parameters(
        paramLabel = "ID",
        description = "An id, the unique beginning or end of one, or \"last\".")
    private String id = "";

    @Override
    public Integer call() {
      try (RunStore runs = store.open()) {
        RunRecord run = runs.read(runs.resolve(id));
        store.out().print(store.json ? RunJson.pretty(run) + "\n" : text(run));
      }
      return 0;
    }

    private static String text(RunRecord run) {
      List<List<String>> facts = new ArrayList<>();
      facts.add(List.of("run", run.id()));
      facts.add(List.of("kind", run.kind()));
      facts.add(
          List.of("status", run.status() + (run.error().isEmpty() ? "" : ": " + run.error())));
      facts.add(List.of("started", Text.time(run.started())));
      facts.add(List.of("time", Figures.seconds(run.seconds())));
      facts.add(List.of("machine", run.host() + ", " + run.machine()));
      facts.add(List.of("version", (run.version() + " " + run.revision()).strip()));
      if (!run.command().isEmpty()) {
        facts.add(List.of("command", run.command()));
      }
      run.parameters().forEach((name, value) -> facts.add(List.of("  " + name, value)));
      for (ModelUse model : run.models()) {
        Long bytes = model.bytes();
        String size = bytes == null ? "" : ", " + ByteSize.format(bytes);
        facts.add(List.of("model " + model.role(), model.path() + " " + model.hash() + size));
      }
      StringBuilder out = new StringBuilder(Text.facts(facts));
      Table phases = new Table("phase", "time");
      run.phases().forEach(p -> phases.row(p.name(), Figures.seconds(p.seconds())));
      Table metrics = new Table("metric", "value", "error", "unit");
      run.metrics()
          .forEach(m ->
              metrics.row(m.key(), Figures.number(m.value()), number(m.standardError()), m.unit()));
      Table layers = new Table("layer", "module", "kept", "of", "predicted loss", "measured error");
      run.layers()
          .forEach(l ->
              layers.row(
                  l.layer(),
                  l.module(),
                  l.kept(),
                  l.original(),
                  number(l.predictedLoss()),
                  number(l.measuredError())));
      Stream.of(phases, metrics, layers)
          .filter(t -> !t.isEmpty())
          .forEach(t -> out.append('\n').append(t));
      return out.toString();
    }

    private static String number(@Nullable Double value) {
      return value == null ? "" : Figures.number(value);
    }
  }

  @Command(name = "compare", description = "Compare two runs.")
  static final class Compare implements Callable<Integer> {
    @Mixin private final StoreOption store = new StoreOption();

    @Parameters(index = "0", paramLabel = "A", description = "The run to compare with.")
    private String a = "";

    @Parameters(index = "1", paramLabel = "B", description = "The run that is compared.")
    private String b = "";

    @Override
    public Integer call() {
      try (RunStore runs = store.open()) {
        Comparison comparison =
            Comparison.of(runs.read(runs.resolve(a)), runs.read(runs.resolve(b)));
        if (store.json) {
          store.out().println(RunJson.pretty(comparison));
        } else {
          print(comparison);
        }
      }
      return 0;
    }

    private void print(Comparison c) {
      Table table = new Table("", c.a(), c.b(), "change", "sigmas");
      for (Comparison.Difference d : c.parameters()) {
        table.row(d.name(), d.a(), d.b(), "", "");
      }
      for (Comparison.Change m : c.metrics()) {
        table.row(
            m.metric(),
            Figures.number(m.a()),
            Figures.number(m.b()),
            String.format(Locale.ROOT, "%+.2f %%", 100 * m.relative()),
            Double.isNaN(m.sigmas()) ? "" : Figures.number(m.sigmas()));
      }
      store.out().print(table);
    }
  }

  @Command(
      name = "report",
      description =
          "Write a report on runs: one .html page that opens from disk, or .md for a pull request.")
  static final class Report implements Callable<Integer> {
    @Mixin private final StoreOption store = new StoreOption();

    @Parameters(arity = "1..*", paramLabel = "ID", description = "The runs; two are also compared.")
    private List<String> ids = List.of();

    @Option(
        names = {"-o", "--output"},
        paramLabel = "FILE",
        required = true,
        description = "File to write.")
    private Path file = Path.of("");

    @Override
    public Integer call() throws IOException {
      List<String> full;
      try (RunStore runs = store.open()) {
        full = ids.stream().map(runs::resolve).toList();
      }
      RunReport.write(file, store.settings(), full);
      store.out().println(store.json ? RunJson.write(Map.of("file", file.toString())) : file);
      return 0;
    }
  }

  @Command(name = "export", description = "Write runs as JSON lines, CSV or Parquet.")
  static final class Export implements Callable<Integer> {
    @Mixin private final StoreOption store = new StoreOption();
    @Mixin private final Filter filter = new Filter();

    @Option(
        names = "--format",
        description = "jsonl, csv or parquet (default: what the file's ending says, else jsonl).")
    private @Nullable String format;

    @Option(
        names = {"-o", "--output"},
        paramLabel = "FILE",
        description = "Where to write (default: standard output).")
    private @Nullable Path output;

    @Override
    public Integer call() throws IOException {
      String kind = RunFiles.format(format, output == null ? null : output.toString());
      RunFilter all = filter.filter(RunFilter.MAXIMUM, 0);
      try (RunStore runs = store.open()) {
        Path file = output;
        if (kind.equals("parquet")) {
          if (file == null) {
            throw new UserException("Parquet goes to a file: name one with --output.");
          }
          ParquetFiles.write(runs, all, file);
        } else if (file == null) {
          write(kind, runs, all, store.out());
          store.out().flush();
        } else {
          Path partial = file.resolveSibling(file.getFileName() + ".partial");
          try (Writer out = Files.newBufferedWriter(partial)) {
            write(kind, runs, all, out);
          }
          Files.move(partial, file, StandardCopyOption.REPLACE_EXISTING);
        }
      }
      return 0;
    }

    private static void write(String kind, RunStore runs, RunFilter filter, Writer out)
        throws IOException {
      if (kind.equals("csv")) {
        RunFiles.writeCsv(runs, filter, out);
      } else {
        RunFiles.writeJsonLines(runs, filter, out);
      }
    }
  }

  @Command(
      name = "import",
      description = "Add the runs of an export; those already there are left alone.")
  static final class Import implements Callable<Integer> {
    @Mixin private final StoreOption store = new StoreOption();

    @Parameters(paramLabel = "FILE", description = "What runs export wrote.")
    private Path file = Path.of("");

    @Option(
        names = "--format",
        description = "jsonl, csv or parquet (default: what the file's ending says).")
    private @Nullable String format;

    @Override
    public Integer call() throws IOException {
      if (!Files.isReadable(file)) {
        throw new UserException("There is no file " + file + " that can be read.");
      }
      try (RunStore runs = store.open();
          BufferedReader in = Files.newBufferedReader(file)) {
        RunFiles.Imported imported =
            switch (RunFiles.format(format, file.toString())) {
              case "csv" -> RunFiles.readCsv(runs, in);
              case "parquet" -> ParquetFiles.read(runs, file);
              default -> RunFiles.readJsonLines(runs, in);
            };
        store
            .out()
            .println(
                store.json
                    ? RunJson.write(imported)
                    : imported.added()
                        + " runs added, "
                        + imported.known()
                        + " were there already");
      }
      return 0;
    }
  }
}
