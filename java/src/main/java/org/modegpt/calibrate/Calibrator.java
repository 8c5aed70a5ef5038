package org.modegpt.calibrate;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.DoubleStream;
import org.jspecify.annotations.Nullable;
import org.modegpt.Progress;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.model.Background;
import org.modegpt.model.DenseBlocks;
import org.modegpt.model.ModelConfig;
import org.modegpt.model.Residents;
import org.modegpt.model.StreamingPass;
import org.modegpt.model.Transformer;

/// Runs the dense model once over calibration sequences, layer by layer, and writes the statistics
/// of every layer. A run that was killed is continued by the same call: finished layers are kept
/// beside the output in `<output>.partial`, and the arithmetic is repeatable, so the file is the
/// same byte for byte.
public final class Calibrator {
  private final Transformer model;
  private final Backend backend;

  public Calibrator(Transformer model, Backend backend) {
    this.model = model;
    this.backend = backend;
  }

  /// Calibrates and writes `output` (replacing nothing: it must not exist).
  ///
  /// @throws UserException when the data does not fit the model or the disk is full
  public void run(CalibrationData asked, Path output, Progress progress) {
    requireFit(asked);
    Map<String, String> metadata = metadata(model, asked);
    try (PartialCalibration partial = PartialCalibration.open(output, metadata, model.config())) {
      try {
        run(asked, partial, progress);
        partial.finish();
      } catch (UserException e) {
        partial
            .discard(); // trying again would fail again; only what was killed or cancelled goes on
        throw e;
      }
    }
  }

  /// Calibrates and keeps the statistics of all layers on the device, where its memory is its own
  /// and has room for them besides the pass; else null. A run that is stopped leaves nothing.
  ///
  /// @param path names the statistics in messages
  public @Nullable Statistics resident(CalibrationData asked, Path path, Progress progress) {
    requireFit(asked);
    if (backend.unifiedMemory() || backend.freeMemory() < residentBytes(asked)) {
      return null;
    }
    ModelConfig config = model.config();
    ResidentStatistics statistics = new ResidentStatistics(path, metadata(model, asked), backend);
    try (LossGradients gradients = gradients(asked)) {
      CalibrationData data = prepared(asked, gradients, progress);
      try (StreamingPass stream = new StreamingPass(backend, model, data.count(), data.tokens())) {
        stream.embed(data.sequences());
        for (int layer = 0; layer < config.layers(); layer++) {
          try (Arena arena = Arena.ofShared()) {
            statistics.add(gather(stream, layer, data, gradients, arena, progress));
          }
        }
        long all = (long) config.layers() * data.count();
        progress.update("calibrate", all, all, "sequence-layer");
        return statistics;
      }
    } catch (RuntimeException e) {
      statistics.close();
      throw e;
    }
  }

  /// Device memory for statistics of all layers and what works on them: first the pass, then
  /// decompositions. A twentieth more is for the streams of an allocation's probe, and for gaps.
  long residentBytes(CalibrationData data) {
    ModelConfig config = model.config();
    long block = 0;
    for (int layer = 0; layer < config.layers(); layer++) {
      block = Math.max(block, model.bytes(backend, layer, Transformer.Residence.F32));
    }
    // This block, the next one with what it is converted from, and the last one's result.
    long blocks = 4 * block;
    long work =
        Math.max(
            StreamingPass.bytes(backend, config, data.count(), data.tokens()),
            DenseBlocks.decompositionBytes(config));
    long gradients =
        data.gradients() ? LossGradients.bytes(config, data.count(), data.tokens()) : 0;
    long bytes = ResidentStatistics.bytes(config, data.gradients()) + blocks + work + gradients;
    return bytes + bytes / 20;
  }

  private void requireFit(CalibrationData data) {
    ModelConfig config = model.config();
    if (config.compressed()) {
      throw new UserException(
          model.directory().path() + " is already compressed; calibrate the original model");
    }
    if (data.tokens() > config.contextLength()) {
      throw new UserException(
          "sequences of "
              + data.tokens()
              + " tokens exceed the model's context of "
              + config.contextLength()
              + "; give a smaller --max-seq-length");
    }
  }

  private void run(CalibrationData asked, PartialCalibration partial, Progress progress) {
    int layers = model.config().layers();
    try (LossGradients gradients = gradients(asked)) {
      CalibrationData data = prepared(asked, gradients, progress);
      try (StreamingPass pass = new StreamingPass(backend, model, data.count(), data.tokens());
          Background saving = new Background(backend)) {
        int start = partial.restore(backend, pass);
        if (start == 0) {
          pass.embed(data.sequences());
        }
        for (int layer = start; layer < layers; layer++) {
          if (partial.has(layer)) {
            pass.block(layer, StreamingPass.LayerTap.NONE);
          } else {
            save(pass, layer, data, gradients, partial, saving, progress);
          }
          if (partial.wantsCheckpoint()) {
            int next = layer + 1;
            saving.run(d -> partial.checkpoint(pass.stream(), next, d), () -> {});
            saving.finish();
          }
        }
        saving.finish();
        long all = (long) layers * data.count();
        progress.update("calibrate", all, all, "sequence-layer");
      }
    }
  }

  /// Gathers the sums of a layer, which are saved while the next one's are gathered.
  private void save(
      StreamingPass pass,
      int layer,
      CalibrationData data,
      @Nullable LossGradients gradients,
      PartialCalibration partial,
      Background saving,
      Progress progress) {
    Arena arena = Arena.ofShared();
    try {
      LayerStatistics sums = gather(pass, layer, data, gradients, arena, progress);
      saving.run(downloads -> partial.save(layer, sums, downloads), arena::close);
    } catch (RuntimeException e) {
      arena.close();
      throw e;
    }
  }

  private @Nullable LossGradients gradients(CalibrationData data) {
    return data.gradients() ? new LossGradients(model, backend, data) : null;
  }

  /// The data with a share of it written by the model, and the gradients taken where they are
  /// wanted.
  private CalibrationData prepared(
      CalibrationData asked, @Nullable LossGradients gradients, Progress progress) {
    try (DenseBlocks dense = new DenseBlocks(backend, model)) {
      CalibrationData data =
          asked.withSequences(
              new OwnText(model, backend, dense, progress)
                  .mixed(asked.sequences(), asked.ownText(), asked.seed()));
      if (gradients != null) {
        gradients.forth(dense, data.sequences(), progress);
        gradients.back(dense, asked.seed(), progress);
      }
      return data;
    }
  }

  /// Sums of one layer on the device, owned by `arena`.
  private LayerStatistics gather(
      StreamingPass pass,
      int layer,
      CalibrationData data,
      @Nullable LossGradients gradients,
      Arena arena,
      Progress progress) {
    LayerStatistics statistics =
        LayerStatistics.zeros(backend, arena, model.config(), layer, gradients != null);
    if (gradients != null) {
      gradients.addTo(layer, statistics);
    }
    long base = (long) layer * data.count();
    long all = (long) model.config().layers() * data.count();
    progress.update("calibrate", base, all, "sequence-layer");
    try (StatisticsTap tap =
        new StatisticsTap(
            backend,
            model.config(),
            model.config().shapes().get(layer),
            pass.batch(),
            data.tokens(),
            statistics,
            (done, total) -> progress.update("calibrate", base + done, all, "sequence-layer"))) {
      pass.block(layer, tap);
    }
    check(layer, statistics);
    return statistics;
  }

  private void check(int layer, LayerStatistics statistics) {
    double[] influence = Residents.doubles(backend, statistics.influence());
    double total = influence[0] + influence[1];
    total += DoubleStream.of(Residents.doubles(backend, statistics.queryEnergy())).sum();
    if (!Double.isFinite(total)) {
      throw new UserException(
          "layer "
              + layer
              + " of "
              + model.directory().path()
              + " gives non-finite activations; the checkpoint is damaged");
    }
  }

  /// What identifies the statistics of `model` on `data`; the metadata of the file.
  public static Map<String, String> metadata(Transformer model, CalibrationData data) {
    Map<String, String> metadata = new LinkedHashMap<>();
    metadata.put(Statistics.FORMAT, Statistics.FORMAT_VERSION);
    metadata.put(Statistics.MODEL_HASH, model.directory().hash());
    metadata.put("model", model.directory().name());
    metadata.put(Statistics.LAYERS, Integer.toString(model.config().layers()));
    metadata.putAll(data.identity());
    return metadata;
  }
}
