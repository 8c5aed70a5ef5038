package org.modegpt.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.function.DoubleFunction;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.advise.Advisor;
import org.modegpt.advise.Advisor.Prediction;
import org.modegpt.advise.Estimate;
import org.modegpt.io.ByteSize;
import org.modegpt.io.Json;
import org.modegpt.model.Transformer;
import org.modegpt.runs.Figures;
import org.modegpt.runs.ModelFingerprint;
import org.modegpt.runs.RunSettings;
import org.modegpt.runs.RunStore;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tools.jackson.databind.node.ObjectNode;

@Command(
    name = "advise",
    description =
        "Predicts size, perplexity, speed and memory of untried ratios from recorded runs, and says what to try for a target.",
    mixinStandardHelpOptions = true,
    footer = {
      "",
      "Every compress, bench and generate of a model, and of what was made from it, makes the predictions better; bands are two standard errors.",
      "",
      "Examples:",
      "  modegpt advise my-model --max-memory 2GiB",
      "  modegpt advise my-model --target-tokens-per-second 40 --max-perplexity 12",
      "  modegpt advise my-model --ratio 0.35 --statistics my-model.statistics"
    })
final class AdviseCommand implements Callable<Integer> {
  private static final List<Double> RATIOS =
      List.of(0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5);

  @Mixin private ModelOption source;

  @Option(
      names = "--target-tokens-per-second",
      paramLabel = "N",
      description = "Generation must be at least this fast.")
  private @Nullable Double tokensPerSecond;

  @Option(
      names = "--max-memory",
      paramLabel = "SIZE",
      description = "Generating may need at most this much memory.")
  private @Nullable String memory;

  @Option(
      names = "--max-size",
      paramLabel = "SIZE",
      description = "The model's files may be at most this large.")
  private @Nullable String size;

  @Option(
      names = "--max-perplexity",
      paramLabel = "P",
      description = "Perplexity may be at most this.")
  private @Nullable Double perplexity;

  @Option(
      names = "--ratio",
      paramLabel = "R",
      split = ",",
      description = "Ratios to predict (default: 0.1 to 0.5).")
  private List<Double> ratios = RATIOS;

  @Option(
      names = "--statistics",
      paramLabel = "FILE",
      description =
          "Statistics whose removal curves, kept beside them, say which modules to spare.")
  private @Nullable Path statistics;

  @Mixin private OutputOptions output;

  @Override
  public Integer call() {
    for (double ratio : ratios) {
      if (!(ratio >= 0 && ratio <= 0.95)) {
        throw new UserException("--ratio must be between 0 and 0.95, not " + ratio);
      }
    }
    Advisor.Target target =
        new Advisor.Target(tokensPerSecond, bytes(memory), bytes(size), perplexity);
    try (RunStore store = RunStore.open(RunSettings.fromEnvironment().location())) {
      Advisor advisor = Advisor.of(store, model(), statistics);
      List<Prediction> predictions = advisor.predict(ratios, target);
      Optional<Prediction> best = asked() ? Advisor.best(predictions) : Optional.empty();
      if (output.json) {
        ObjectNode node = Json.MAPPER.createObjectNode();
        node.set("predictions", Json.MAPPER.valueToTree(predictions));
        best.ifPresent(b -> node.set("advice", Json.MAPPER.valueToTree(b)));
        node.set("basis", Json.MAPPER.valueToTree(advisor.basis()));
        output.print(node);
      } else {
        print(advisor, predictions, best);
      }
    }
    return 0;
  }

  private boolean asked() {
    return tokensPerSecond != null || memory != null || size != null || perplexity != null;
  }

  private static @Nullable Double bytes(@Nullable String size) {
    return size == null ? null : (double) ByteSize.parse(size);
  }

  private Advisor.Model model() {
    try (Transformer model = source.open()) {
      ModelFingerprint print = ModelFingerprint.of(source.path());
      double share = (double) model.config().matrixParameters() / model.parameters();
      return new Advisor.Model(print.hash(), print.bytes(), share);
    } catch (IOException e) {
      throw new UserException("cannot read " + source.path() + ": " + e.getMessage(), e);
    }
  }

  private void print(Advisor advisor, List<Prediction> predictions, Optional<Prediction> best) {
    Table table =
        new Table("recipe", "ratio", "size", "perplexity", "tokens/s", "memory", "measured", "");
    for (Prediction p : predictions) {
      table.row(
          p.recipe(),
          String.format(Locale.ROOT, "%.2f", p.ratio()),
          ByteSize.format((long) p.bytes().value()),
          figure(p.perplexity(), false),
          figure(p.tokensPerSecond(), false),
          figure(p.memory(), true),
          p.measured() ? "yes" : "",
          asked() ? p.meets() ? "meets the target" : "no" : "");
    }
    output.out().print(table);
    if (asked()) {
      output.out().println(advice(advisor, best));
    }
    output.out().println("rests on:");
    advisor.basis().forEach(line -> output.out().println("  " + line));
    output.out().flush();
  }

  private String advice(Advisor advisor, Optional<Prediction> best) {
    if (best.isEmpty()) {
      return "No ratio and recipe known here meets the target by these predictions; a smaller data type (--dtype bf16 for a float32 model) halves size without a ratio.";
    }
    Prediction p = best.get();
    List<String> spare = advisor.spare(p.recipe(), p.ratio());
    List<String> words = new ArrayList<>();
    words.add(
        String.format(Locale.ROOT, "advice: --recipe %s --ratio %.2f", p.recipe(), p.ratio()));
    if (!spare.isEmpty()) {
      words.add("layers that limit, to be spared: " + String.join(", ", spare));
    }
    return String.join("\n", words);
  }

  private static String figure(@Nullable Estimate e, boolean size) {
    if (e == null) {
      return "";
    }
    DoubleFunction<String> show = size ? bytes -> ByteSize.format((long) bytes) : Figures::number;
    return "%s (%s - %s)"
        .formatted(show.apply(e.value()), show.apply(e.low()), show.apply(e.high()));
  }
}
