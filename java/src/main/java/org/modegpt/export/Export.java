package org.modegpt.export;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.modegpt.Progress;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.compress.CompactConfig;
import org.modegpt.io.CheckpointWriter;
import org.modegpt.io.ModelWriter;
import org.modegpt.io.TensorInfo;
import org.modegpt.model.Residents;
import org.modegpt.model.Transformer;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;
import tools.jackson.databind.node.ObjectNode;

/// Writes a model in another format or type. Memory holds one block; outputs appear complete or not
/// at all.
public final class Export {
  /// What a compression says of itself beside the model.
  private static final List<String> RECORDS = List.of("README.md", "recipe.json", "report.json");

  private final Transformer source;
  private final OutputFormat format;
  private final DType dtype;

  /// @param format any; COMPACT only of a model that is compact already
  /// @param dtype of the matrices: F32, F16 or BF16, and in GGUF files also Q8_0 and Q4_0
  public Export(Transformer source, OutputFormat format, DType dtype) {
    format.requireType(dtype);
    this.source = source;
    this.format = format;
    this.dtype = dtype;
  }

  /// Writes the folder or file `out`.
  ///
  /// @param threads of the CPU; 0 for all processors
  /// @return what a user should know about the output, a line each; mostly nothing
  /// @throws UserException if the format cannot have this model or `out` cannot be written; nothing
  ///   is left then
  public List<String> write(
      Path out, boolean overwrite, long maxShardBytes, int threads, Progress progress) {
    try (Backend backend = Backends.open("cpu", threads)) {
      if (format == OutputFormat.COMPACT) {
        compact(out, overwrite, maxShardBytes, backend, progress);
      } else if (format.gguf()) {
        return gguf(out, overwrite, backend, progress);
      } else {
        folder(out, overwrite, maxShardBytes, backend, progress);
      }
      return List.of();
    }
  }

  private List<String> gguf(Path out, boolean overwrite, Backend backend, Progress progress) {
    if (Files.exists(out) && (!overwrite || !Files.isRegularFile(out))) {
      throw new UserException(
          "%s exists already: choose another output file%s"
              .formatted(
                  out, Files.isRegularFile(out) ? ", or say that it may be overwritten" : ""));
    }
    createFolder(out.toAbsolutePath().getParent());
    DenseModel model = new DenseModel(source, format.layout(), backend);
    boolean deci = format.layout() == OutputFormat.Layout.DECI;
    GgufLayout target = new GgufLayout(model, deci);
    new GgufExport(model, target, dtype, backend)
        .write(
            source.directory(),
            name(out),
            out,
            layer -> progress.update("write", layer, model.sizes().layers(), "layer"));
    return target.notes();
  }

  private static String name(Path out) {
    return out.getFileName().toString().replaceFirst("\\.gguf$", "");
  }

  private static byte[] read(Path file) {
    try {
      return Files.readAllBytes(file);
    } catch (IOException e) {
      throw new UserException("cannot read %s: %s".formatted(file, e.getMessage()), e);
    }
  }

  private static void createFolder(Path folder) {
    try {
      Files.createDirectories(folder);
    } catch (IOException e) {
      throw new UserException("cannot create %s: %s".formatted(folder, e.getMessage()), e);
    }
  }

  private void folder(
      Path out, boolean overwrite, long maxShardBytes, Backend backend, Progress progress) {
    DenseModel model = new DenseModel(source, format.layout(), backend);
    FamilyFolder tensors = new FamilyFolder(model, dtype);
    ObjectNode config = format == OutputFormat.DECI ? DeciConfig.of(model) : model.config();
    try (ModelWriter writer = new ModelWriter(out, overwrite)) {
      CheckpointWriter weights = writer.tensors(tensors.declarations(), maxShardBytes);
      tensors.writeGlobals(weights, backend);
      for (int layer = 0; layer < model.sizes().layers(); layer++) {
        Progress.checkCancelled();
        tensors.writeBlock(weights, backend, layer);
        progress.update("write", layer + 1, model.sizes().layers(), "layer");
      }
      finish(writer, config);
    }
  }

  /// A compact model in another type.
  private void compact(
      Path out, boolean overwrite, long maxShardBytes, Backend backend, Progress progress) {
    if (!source.directory().config().has("modegpt")) {
      throw new UserException(
          "%s is not compressed, so it has no compact form; compress it, or choose another --format"
              .formatted(source.directory().path()));
    }
    List<String> names = List.copyOf(source.tensors().names());
    List<TensorInfo> declarations =
        names.stream()
            .map(name -> TensorInfo.of(name, dtype, source.tensors().info(name).shape()))
            .toList();
    try (ModelWriter writer = new ModelWriter(out, overwrite)) {
      CheckpointWriter weights = writer.tensors(declarations, maxShardBytes);
      int done = 0;
      for (String name : names) {
        Progress.checkCancelled();
        try (Arena arena = Arena.ofShared()) {
          Tensor stored = source.tensors().get(name, arena);
          Tensor cast = Residents.converted(backend, arena, stored, dtype);
          weights.write(name, Residents.download(backend, arena, cast));
        }
        progress.update("write", ++done, names.size(), "tensor");
      }
      finish(writer, source.directory().config());
    }
  }

  private void finish(ModelWriter writer, ObjectNode config) {
    config.remove("dtype");
    config.put("torch_dtype", dtype.torchName());
    writer.write("config.json", config);
    if (config.has("modegpt")) {
      writer.write(CompactConfig.CODE, CompactConfig.code());
    }
    source.directory().tagAlongFiles().forEach(writer::write);
    for (String name : RECORDS) {
      Path record = source.directory().path().resolve(name);
      if (source.config().compressed() && Files.isRegularFile(record)) {
        writer.write(name, read(record));
      }
    }
    writer.commit();
  }
}
