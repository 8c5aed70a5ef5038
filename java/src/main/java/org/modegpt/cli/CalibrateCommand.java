package org.modegpt.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.modegpt.backend.Backend;
import org.modegpt.calibrate.CalibrationData;
import org.modegpt.calibrate.Calibrator;
import org.modegpt.calibrate.Statistics;
import org.modegpt.compress.Recipe;
import org.modegpt.io.Json;
import org.modegpt.model.Transformer;
import org.modegpt.runs.ModelUse;
import org.modegpt.runs.Run;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tools.jackson.databind.node.ObjectNode;

@Command(
    name = "calibrate",
    description = "Gathers the statistics that compression needs, once for every ratio and recipe.",
    mixinStandardHelpOptions = true,
    footer = {
      "",
      "A run that was stopped goes on where it was when the same command is given again.",
      "",
      "Examples:",
      "  modegpt calibrate my-model --calibration my.txt -o my-model.statistics",
      "  modegpt compress my-model --statistics my-model.statistics --ratio 0.3",
      "  modegpt calibrate --in-file a.statistics --in-file b.statistics -o both.statistics"
    })
final class CalibrateCommand implements Callable<Integer> {
  @Mixin private ModelOption source;

  @Option(
      names = {"-o", "--output"},
      paramLabel = "FILE",
      required = true,
      description = "Statistics file to write; it must not exist.")
  private Path file;

  @Option(
      names = "--in-file",
      paramLabel = "FILE",
      description =
          "Add up these statistics files of one model instead of calibrating; repeatable.")
  private List<Path> inputs = List.of();

  @Option(names = "--show-statistics", description = "Print block influence and tokens per layer.")
  private boolean show;

  @Mixin private CalibrationOptions calibration;
  @Mixin private EngineOptions engine;
  @Mixin private RecordOptions record;
  @Mixin private OutputOptions output;

  @Override
  public Integer call() {
    if (inputs.isEmpty()) {
      record.record(
          "calibrate", calibration.parameters(engine.parameters(source)), this::calibrate);
    } else {
      Statistics.merge(inputs, file);
    }
    try (Statistics statistics = Statistics.open(file)) {
      print(statistics);
    }
    return 0;
  }

  private int calibrate(Run run) {
    output.recordIn(run);
    try (Transformer model = source.open();
        Backend backend = engine.open()) {
      CalibrationData data = calibration.data(model, Recipe.DEFAULT, output);
      output.say(
          "calibrating %s on %d x %d tokens of %s"
              .formatted(model.directory().name(), data.count(), data.tokens(), data.source()));
      run.model(ModelUse.SUBJECT, model.directory().path(), model.parameters());
      new Calibrator(model, backend).run(data, file, output.progress());
      run.metric("calibration_tokens", (double) data.count() * data.tokens());
    }
    return 0;
  }

  private void print(Statistics statistics) {
    double[] influence = statistics.blockInfluence();
    if (output.json) {
      ObjectNode node = Json.MAPPER.createObjectNode();
      node.put("file", file.toString());
      node.set("metadata", Json.MAPPER.valueToTree(statistics.metadata()));
      node.set("block_influence", Json.MAPPER.valueToTree(influence));
      output.print(node);
      return;
    }
    if (show) {
      Table table = new Table("layer", "block influence");
      for (int layer = 0; layer < influence.length; layer++) {
        table.row(layer, String.format(java.util.Locale.ROOT, "%.4f", influence[layer]));
      }
      output.out().print(table);
    }
    output.out().println(file);
    output.out().flush();
  }
}
