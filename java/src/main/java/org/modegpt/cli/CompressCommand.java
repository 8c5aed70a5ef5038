package org.modegpt.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.calibrate.CalibrationData;
import org.modegpt.calibrate.Calibrator;
import org.modegpt.calibrate.Statistics;
import org.modegpt.compress.AllocationRule;
import org.modegpt.compress.CompressionReport;
import org.modegpt.compress.CompressionText;
import org.modegpt.compress.Compressor;
import org.modegpt.compress.RankPlan;
import org.modegpt.compress.Recipe;
import org.modegpt.io.Json;
import org.modegpt.model.Transformer;
import org.modegpt.tensor.DType;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;
import tools.jackson.databind.node.ObjectNode;

@Command(
    name = "compress",
    description = "Makes a smaller checkpoint from a model, without fine-tuning.",
    mixinStandardHelpOptions = true,
    footer = {
      "",
      "Examples:",
      "  modegpt compress                                          the demonstration model, 20 %% smaller",
      "  modegpt compress my-model --ratio 0.3 --output small --calibration my.txt",
      "  modegpt compress my-model --statistics my.statistics --ratio 0.1,0.2,0.3 --output small",
      "  modegpt compress my-model --statistics my.statistics --ratio 0.3 --dry-run"
    })
final class CompressCommand implements Callable<Integer> {
  @Mixin private ModelOption source;

  @Option(
      names = {"-o", "--output"},
      paramLabel = "FOLDER",
      description =
          "Folder to write (default: out/MODEL-PERCENT); with several ratios a folder for each is made in it.")
  private @Nullable Path folder;

  @Option(
      names = {"--ratio", "--sparsity", "--compression-ratio"},
      paramLabel = "R",
      split = ",",
      description =
          "Share of the block matrix parameters to remove, 0 to 0.95; several separated by commas (default: 0.2).")
  private List<Double> ratios = List.of();

  @Option(
      names = "--target-params",
      paramLabel = "N",
      description = "Parameters the whole model is to have, instead of a ratio.")
  private @Nullable Long targetParameters;

  @Option(
      names = "--recipe",
      paramLabel = "NAME|FILE",
      defaultValue = "default",
      description = "Built-in recipe or a JSON file (default: ${DEFAULT-VALUE}).")
  private String recipeName;

  @Option(
      names = "--allocation",
      paramLabel = "RULE",
      description = "uniform, block-influence, residual-noise or measured; default: the recipe's.")
  private @Nullable String allocation;

  @Option(
      names = "--multiple-of",
      paramLabel = "N",
      description = "Make ranks multiples of N; 8 suits accelerators.")
  private @Nullable Integer multipleOf;

  @Option(
      names = "--statistics",
      paramLabel = "FILE",
      description = "Statistics from 'modegpt calibrate'; otherwise the model is calibrated first.")
  private @Nullable Path statisticsFile;

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      defaultValue = "auto",
      description = "bf16, f16, f32, or auto for the model's own (default: ${DEFAULT-VALUE}).")
  private String dtype;

  @Option(
      names = "--max-shard-size",
      paramLabel = "SIZE",
      defaultValue = "5GB",
      description = "Largest file of weights (default: ${DEFAULT-VALUE}).")
  private String maxShardSize;

  @Option(names = "--overwrite", description = "Replace an existing output folder.")
  private boolean overwrite;

  @Option(names = "--dry-run", description = "Print the ranks and sizes and stop.")
  private boolean dryRun;

  @Option(
      names = "--no-eval",
      description = "Do not measure perplexity and speed before and after.")
  private boolean noEvaluation;

  @Mixin private CalibrationOptions calibration;
  @Mixin private EvaluationOptions evaluation;
  @Mixin private EngineOptions engine;

  @Option(
      names = "--report",
      paramLabel = "FILE",
      description =
          "Also write a report: .html for one page that opens from disk, .md for a pull request.")
  private @Nullable Path report;

  @Mixin private RecordOptions record;
  @Mixin private OutputOptions output;
  @Spec private CommandSpec spec;

  @Override
  public Integer call() {
    Recipe base = recipe();
    if (dryRun) {
      return run(base, null);
    }
    record.reportTo(report);
    return record.recordSeveral("compress", recording -> run(base, recording));
  }

  /// Parameters of the run that makes one size.
  private Map<String, Object> parameters(Recipe recipe) {
    Map<String, Object> parameters = calibration.parameters(engine.parameters(source));
    parameters.put("recipe", recipe.name());
    if (targetParameters == null) {
      parameters.put("ratio", recipe.ratio());
    } else {
      parameters.put("target_parameters", targetParameters);
    }
    parameters.put("allocation", recipe.allocation().name().toLowerCase(Locale.ROOT));
    parameters.put("multiple_of", recipe.multipleOf());
    parameters.put("dtype", dtype);
    parameters.put("statistics", statisticsFile == null ? "" : statisticsFile);
    return parameters;
  }

  private int run(Recipe base, RecordOptions.@Nullable Recording recording) {
    DType type = DTypes.parse(dtype);
    long shard = org.modegpt.io.ByteSize.parse(maxShardSize);
    List<Double> asked =
        targetParameters != null
            ? List.of(base.ratio())
            : ratios.isEmpty() ? List.of(base.ratio()) : ratios;
    if (recording != null) {
      output.recordIn(recording.next(parameters(withSize(base, asked.getFirst()))));
    }
    try (Transformer model = source.open();
        Backend backend = engine.open()) {
      Path first = folder(model, base.withRatio(asked.getFirst()), asked.size() > 1);
      if (dryRun) {
        for (double ratio : asked) {
          dryRun(model, backend, withSize(base, ratio));
        }
        return 0;
      }
      for (double ratio : asked) {
        requireFree(folder(model, base.withRatio(ratio), asked.size() > 1));
      }
      Comparison comparison = new Comparison(model, backend, evaluation, output);
      Path file;
      try (Statistics statistics =
          statisticsFile != null
              ? Statistics.open(statisticsFile)
              : output.told("calibration", () -> calibrated(model, backend, first))) {
        file = statistics.path();
        Compressor compressor = new Compressor(model, backend);
        CompressionText text = calibration.text(model, base);
        List<RankPlan> plans =
            output.told("allocation", () -> plans(compressor, text, statistics, base, asked));
        for (int i = 0; i < plans.size(); i++) {
          Recipe recipe = withSize(base, asked.get(i));
          if (i > 0 && recording != null) {
            output.recordIn(recording.next(parameters(recipe)));
          }
          Path out = folder(model, recipe, asked.size() > 1);
          RankPlan plan = plans.get(i);
          Compressor.Output written = new Compressor.Output(out, type, shard, overwrite);
          CompressionReport report =
              output.told(
                  "decomposition",
                  () -> compressor.run(statistics, recipe, plan, text, written, output.progress()));
          comparison.add(out, report, noEvaluation);
        }
      }
      if (statisticsFile == null && Files.exists(file)) {
        delete(file);
      }
      comparison.print();
    }
    return 0;
  }

  private List<RankPlan> plans(
      Compressor compressor,
      CompressionText text,
      Statistics statistics,
      Recipe recipe,
      List<Double> asked) {
    Recipe sized = withSize(recipe, asked.getFirst());
    return compressor.plans(
        statistics, sized, targetParameters != null ? List.of() : asked, text, output.progress());
  }

  private Recipe recipe() {
    Recipe recipe;
    if (recipeName.endsWith(".json")) {
      recipe = Recipe.ofJson(read(Path.of(recipeName)), recipeName);
    } else {
      recipe = Recipe.named(recipeName);
    }
    for (double ratio : ratios) {
      if (!(ratio >= 0 && ratio <= Recipe.MAX_RATIO)) {
        throw usage("--ratio must be between 0 and " + Recipe.MAX_RATIO + ", not " + ratio);
      }
    }
    if (targetParameters != null && !ratios.isEmpty()) {
      throw usage("give either --ratio or --target-params");
    }
    if (allocation != null) {
      recipe = recipe.withAllocation(rule(allocation));
    }
    if (multipleOf != null) {
      if (multipleOf < 1) {
        throw usage("--multiple-of must be at least 1, not " + multipleOf);
      }
      recipe = recipe.withMultipleOf(multipleOf);
    }
    return recipe
        .withCalibration(calibration.settings(recipe.calibration()))
        .withSeed(calibration.seed());
  }

  private AllocationRule rule(String name) {
    for (AllocationRule rule : AllocationRule.values()) {
      if (rule.name().replace('_', '-').equalsIgnoreCase(name)) {
        return rule;
      }
    }
    throw usage(
        "--allocation must be uniform, block-influence, residual-noise or measured, not " + name);
  }

  private Recipe withSize(Recipe recipe, double ratio) {
    return targetParameters != null
        ? recipe.withTargetParameters(targetParameters)
        : recipe.withRatio(ratio);
  }

  private Path folder(Transformer model, Recipe recipe, boolean several) {
    String size =
        targetParameters != null
            ? targetParameters.toString()
            : Long.toString(Math.round(100 * recipe.ratio()));
    String name = model.directory().name().replaceAll("\\.gguf$", "") + "-" + size;
    if (folder == null) {
      return Path.of("out", name);
    }
    return several ? folder.resolve(name) : folder;
  }

  private void requireFree(Path out) {
    if (Files.exists(out) && !overwrite) {
      throw new UserException(out + " exists already; choose another --output or add --overwrite");
    }
  }

  /// Statistics for this run, from a run that was stopped or new; on the device if they fit.
  private Statistics calibrated(Transformer model, Backend backend, Path out) {
    CalibrationData data = calibration.data(model, output);
    Path file = out.resolveSibling(out.getFileName() + ".statistics");
    if (Files.exists(file)) {
      if (matches(file, model, data)) {
        output.say("using the statistics of a run that was stopped, " + file);
        return Statistics.open(file);
      }
      delete(file);
    }
    output.say(
        "calibrating %s on %d x %d tokens of %s"
            .formatted(model.directory().name(), data.count(), data.tokens(), data.source()));
    Calibrator calibrator = new Calibrator(model, backend);
    Statistics resident = calibrator.resident(data, file, output.progress());
    if (resident != null) {
      return resident;
    }
    calibrator.run(data, file, output.progress());
    return Statistics.open(file);
  }

  private static boolean matches(Path file, Transformer model, CalibrationData data) {
    Map<String, String> wanted = Calibrator.metadata(model, data);
    try (Statistics statistics = Statistics.open(file)) {
      return statistics.metadata().entrySet().containsAll(wanted.entrySet());
    }
  }

  private void dryRun(Transformer model, Backend backend, Recipe recipe) {
    Compressor compressor = new Compressor(model, backend);
    RankPlan plan;
    if (statisticsFile != null) {
      try (Statistics statistics = Statistics.open(statisticsFile)) {
        CompressionText text = calibration.text(model, recipe);
        plan = plans(compressor, text, statistics, recipe, List.of(recipe.ratio())).getFirst();
      }
    } else {
      if (recipe.allocation() != AllocationRule.UNIFORM) {
        output.say("without --statistics the ranks shown are those of a uniform allocation");
      }
      plan = compressor.uniformPlan(recipe);
    }
    long before = model.config().matrixParameters();
    long after = plan.parameters(compressor.sizes());
    if (output.json) {
      ObjectNode node = Json.MAPPER.createObjectNode();
      node.put("ratio", plan.ratio(compressor.sizes()));
      node.put("matrix_parameters_before", before);
      node.put("matrix_parameters_after", after);
      node.put("parameters_before", model.parameters());
      node.put("parameters_after", model.parameters() - before + after);
      node.set("layers", Json.MAPPER.readTree(plan.toJson()).get("layers"));
      output.print(node);
      return;
    }
    Table table = new Table("layer", "qk", "vo", "mlp", "parameters", "kept %");
    for (RankPlan.Row row : plan.table(compressor.sizes())) {
      table.row(
          row.layer(),
          row.qkRank(),
          row.voRank(),
          row.mlpWidth(),
          row.parameters(),
          "%.1f".formatted(100 * row.kept()));
    }
    output.out().print(table);
    output
        .out()
        .printf(
            Locale.ROOT,
            "block matrices %,d -> %,d (%.2f %% removed), model %,d -> %,d parameters%n",
            before,
            after,
            100 * plan.ratio(compressor.sizes()),
            model.parameters(),
            model.parameters() - before + after);
    output.out().flush();
  }

  private ParameterException usage(String message) {
    return new ParameterException(spec.commandLine(), message);
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      throw new UserException("cannot read " + file + ": " + e.getMessage(), e);
    }
  }

  private static void delete(Path file) {
    try {
      Files.delete(file);
    } catch (IOException e) {
      throw new UserException("cannot remove " + file + ": " + e.getMessage(), e);
    }
  }
}
