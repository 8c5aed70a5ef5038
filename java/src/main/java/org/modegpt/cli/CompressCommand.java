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
import org.modegpt.calibrate.Statistics;
import org.modegpt.compress.AllocationRule;
import org.modegpt.compress.CompressionText;
import org.modegpt.compress.Compressor;
import org.modegpt.compress.RankPlan;
import org.modegpt.compress.Recipe;
import org.modegpt.export.OutputFormat;
import org.modegpt.model.Architecture;
import org.modegpt.model.Transformer;
import org.modegpt.tensor.DType;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

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
      "  modegpt compress my-model --max-perplexity-increase 10%% -f my-test.txt",
      "  modegpt compress my-model --min-accuracy-retained 95%% --tasks arc_easy,hellaswag --limit 500",
      "  modegpt compress my-model --statistics my.statistics --ratio 0.3 --dry-run",
      "  modegpt compress my-model --ratio 0.3 --format gguf --dtype f16,q8_0,q4_0   files for llama.cpp, each measured"
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
      description =
          "uniform, block-influence, residual-noise, fisher or measured; default: the recipe's.")
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

  @Mixin private WriteOptions writing;

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      split = ",",
      description =
          "bf16, f16, f32, auto for the model's own, for GGUF also q8_0 or q4_0; several separated by commas are each written and measured (default: auto).")
  private List<String> dtypes = List.of("auto");

  @Option(names = "--dry-run", description = "Print the ranks and sizes and stop.")
  private boolean dryRun;

  @Option(
      names = "--no-eval",
      description = "Do not measure perplexity and speed before and after.")
  private boolean noEvaluation;

  @Mixin private CalibrationOptions calibration;
  @Mixin private EvaluationOptions evaluation;
  @Mixin private QualityOptions quality;
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
    parameters.put("dtype", String.join(",", dtypes));
    parameters.put("format", writing.format(folder, OutputFormat.COMPACT).label());
    parameters.put("statistics", statisticsFile == null ? "" : statisticsFile);
    return parameters;
  }

  private int run(Recipe asIs, RecordOptions.@Nullable Recording recording) {
    OutputFormat written = writing.format(folder, OutputFormat.COMPACT);
    CompressOutputs outputs =
        new CompressOutputs(
            written, dtypes, writing.maxShardBytes(), writing.overwrite, engine.threads);
    List<Double> asked =
        targetParameters != null
            ? List.of(asIs.ratio())
            : ratios.isEmpty() ? List.of(asIs.ratio()) : ratios;
    if (recording != null) {
      output.recordIn(recording.next(parameters(withSize(asIs, asked.getFirst()))));
    }
    try (Transformer model = opened();
        Backend backend = engine.open()) {
      Recipe base = written.recipe(asIs, model.config());
      if (!base.equals(asIs)) {
        output.say(
            "queries and keys stay whole, for they are normalised and this format has no smaller ones; the other modules give what is asked");
      }
      if (base.refit().sequences() > 0 && !Compressor.refits(model.config())) {
        output.say("nothing is refitted, for MLPs are parallel to attention in this model");
      }
      Path first = folder(model, base.withRatio(asked.getFirst()), asked.size() > 1);
      if (dryRun) {
        for (double ratio : asked) {
          dryRun(model, backend, withSize(base, ratio));
        }
        return 0;
      }
      for (double ratio : asked) {
        outputs.requireFree(folder(model, base.withRatio(ratio), asked.size() > 1));
      }
      CompressionTable comparison = new CompressionTable(model, backend, evaluation, output);
      Path file;
      try (Statistics statistics =
          statisticsFile != null
              ? Statistics.open(statisticsFile)
              : OwnStatistics.gather(calibration, model, backend, base, first, output)) {
        file = statistics.path();
        Compressor compressor = new Compressor(model, backend);
        CompressionText text = calibration.text(model, base);
        List<Double> sizes =
            quality.given()
                ? List.of(
                    largest(
                        compressor,
                        model,
                        backend,
                        statistics,
                        base,
                        text,
                        outputs,
                        comparison,
                        first))
                : asked;
        List<RankPlan> plans =
            output.told("allocation", () -> plans(compressor, text, statistics, base, sizes));
        for (int i = 0; i < plans.size(); i++) {
          Recipe recipe = withSize(base, sizes.get(i));
          if (i > 0 && recording != null) {
            output.recordIn(recording.next(parameters(recipe)));
          }
          Path out = quality.given() ? first : folder(model, recipe, asked.size() > 1);
          RankPlan plan = plans.get(i);
          outputs.write(
              out,
              own(model),
              compact ->
                  output.told(
                      "decomposition",
                      () ->
                          compressor.run(
                              statistics,
                              recipe,
                              CompressOutputs.plan(outputs.format(), compressor, recipe, plan),
                              text,
                              compact,
                              output.progress())),
              output,
              (path, label, made) -> comparison.add(path, label, made, noEvaluation));
        }
      }
      if (statisticsFile == null) {
        OwnStatistics.delete(file);
      }
      comparison.print(asked.size() > 1 ? first.resolveSibling("tradeoff.svg") : null);
      if (!noEvaluation && (statisticsFile == null || calibration.given())) {
        output.say(evaluation.difference(model, calibration.tokens(model)));
      }
    }
    return 0;
  }

  /// The calibration text is read while the device is opened.
  private Transformer opened() {
    Transformer model = source.open();
    if (!dryRun && statisticsFile == null) {
      calibration.readAhead(model);
    }
    return model;
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

  /// The largest ratio that keeps within the limits, each one tried for real.
  private double largest(
      Compressor compressor,
      Transformer model,
      Backend backend,
      Statistics statistics,
      Recipe base,
      CompressionText text,
      CompressOutputs outputs,
      CompressionTable comparison,
      Path out) {
    return quality.largest(
        model.directory().path(),
        backend,
        (ratio, trial) -> {
          Recipe recipe = base.withRatio(ratio);
          RankPlan plan = plans(compressor, text, statistics, base, List.of(ratio)).getFirst();
          compressor.run(
              statistics,
              recipe,
              CompressOutputs.plan(outputs.format(), compressor, recipe, plan),
              text,
              new Compressor.Output(trial, null, Long.MAX_VALUE, true),
              output.progress());
        },
        comparison,
        output,
        out);
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
    quality.check(this::usage);
    if (quality.given()
        && (targetParameters != null || !ratios.isEmpty() || noEvaluation || dryRun)) {
      throw usage(
          "asking for quality takes the place of a size, measures, and writes: leave out --ratio, --target-params, --no-eval and --dry-run");
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
        "--allocation must be uniform, block-influence, residual-noise, fisher or measured, not "
            + name);
  }

  private Recipe withSize(Recipe recipe, double ratio) {
    return targetParameters != null
        ? recipe.withTargetParameters(targetParameters)
        : recipe.withRatio(ratio);
  }

  /// The type of most weights, as far as outputs can have it.
  private static DType own(Transformer model) {
    String name = Architecture.compact().name(Architecture.Global.EMBEDDING);
    DType stored = DType.valueOf(model.tensors().info(name).dtype());
    return stored.quantised() ? DType.BF16 : stored;
  }

  /// Where the model of a ratio goes, without the ending of a file.
  private Path folder(Transformer model, Recipe recipe, boolean several) {
    String size =
        targetParameters != null
            ? targetParameters.toString()
            : quality.given() ? quality.label() : Long.toString(Math.round(100 * recipe.ratio()));
    String name = model.directory().name().replaceAll("\\.gguf$", "") + "-" + size;
    if (folder == null) {
      return Path.of("out", name);
    }
    return several ? folder.resolve(name) : folder;
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
    plan =
        CompressOutputs.plan(
            writing.format(folder, OutputFormat.COMPACT), compressor, recipe, plan);
    PlanTable.print(plan, compressor.sizes(), model, output);
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
}
