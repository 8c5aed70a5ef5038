package org.modegpt.cli;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.compress.BlockSizes;
import org.modegpt.compress.CompressionReport;
import org.modegpt.compress.Compressor;
import org.modegpt.compress.MlpPlan;
import org.modegpt.compress.RankPlan;
import org.modegpt.compress.Recipe;
import org.modegpt.export.Export;
import org.modegpt.export.OutputFormat;
import org.modegpt.io.ModelWriter;
import org.modegpt.model.Transformer;
import org.modegpt.tensor.DType;

/// What one compression writes: a model in one format and one or several types. All but a single
/// compact folder are made from a compact model in F32 beside them, which is removed afterwards.
final class CompressOutputs {
  /// Widths of {@link OutputFormat#UNIFORM} unless the recipe says otherwise: whole blocks of the
  /// quantised types.
  private static final int UNIFORM_MULTIPLE = 32;

  private final OutputFormat format;
  private final SequencedMap<String, @Nullable DType> types = new LinkedHashMap<>();
  private final long maxShardBytes;
  private final boolean overwrite;
  private final int threads;

  /// @param dtypes names, `auto` for the model's own
  CompressOutputs(
      OutputFormat format,
      List<String> dtypes,
      long maxShardBytes,
      boolean overwrite,
      int threads) {
    this.format = format;
    this.maxShardBytes = maxShardBytes;
    this.overwrite = overwrite;
    this.threads = threads;
    for (String name : dtypes) {
      DType type = DTypes.parse(name);
      if (type != null) {
        format.requireType(type);
      }
      types.put(type == null ? name : type.label(), type);
    }
  }

  /// Told of each output.
  @FunctionalInterface
  interface Told {
    /// @param type the name of its type where there are several
    void output(Path path, @Nullable String type, CompressionReport report);
  }

  /// The plan as the format can have it.
  static RankPlan plan(
      OutputFormat format, Compressor compressor, Recipe recipe, RankPlan ordinary) {
    if (!format.mlpOnly()) {
      return ordinary;
    }
    BlockSizes sizes = compressor.sizes();
    int layers = ordinary.layers().size();
    long target = ordinary.parameters(sizes);
    return format.uniform()
        ? MlpPlan.uniform(sizes, layers, target, Math.max(recipe.multipleOf(), UNIFORM_MULTIPLE))
        : MlpPlan.perLayer(ordinary, sizes, target, OutputFormat.DECI_MULTIPLE);
  }

  OutputFormat format() {
    return format;
  }

  private Path path(Path base, String type) {
    String name = base.getFileName().toString().replaceFirst("\\.gguf$", "");
    String typed = types.size() > 1 ? name + "-" + type : name;
    return base.resolveSibling(format.gguf() ? typed + ".gguf" : typed);
  }

  void requireFree(Path base) {
    for (String type : types.keySet()) {
      Path out = path(base, type);
      if (Files.exists(out) && !overwrite) {
        throw new UserException(
            out + " exists already; choose another --output or add --overwrite");
      }
    }
  }

  /// A place beside `base` for a model that is needed for a while. It goes away when it is closed,
  /// or when the next run starts if this one is killed.
  static ModelWriter workplace(Path base) {
    return new ModelWriter(base.resolveSibling(base.getFileName() + ".work"), true);
  }

  /// @param own the model's own type
  /// @param compress makes the compact model
  void write(
      Path base,
      DType own,
      Function<Compressor.Output, CompressionReport> compress,
      OutputOptions output,
      Told told) {
    if (format == OutputFormat.COMPACT && types.size() == 1) {
      Path out = path(base, "");
      DType type = types.firstEntry().getValue();
      CompressionReport report =
          compress.apply(new Compressor.Output(out, type, maxShardBytes, overwrite));
      told.output(out, null, report);
      return;
    }
    CompressionReport report;
    try (ModelWriter work = workplace(base)) {
      Path compact = work.folder().resolve("compact");
      report = compress.apply(new Compressor.Output(compact, DType.F32, maxShardBytes, false));
      try (Transformer model = Transformer.open(compact)) {
        for (Map.Entry<String, @Nullable DType> entry : types.entrySet()) {
          DType type = entry.getValue() == null ? own : entry.getValue();
          new Export(model, format, type)
              .write(
                  path(base, entry.getKey()), overwrite, maxShardBytes, threads, output.progress())
              .forEach(output::say);
        }
      }
    }
    types
        .keySet()
        .forEach(type -> told.output(path(base, type), types.size() > 1 ? type : null, report));
  }
}
