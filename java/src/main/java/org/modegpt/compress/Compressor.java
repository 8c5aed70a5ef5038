package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.DoubleStream;
import org.jspecify.annotations.Nullable;
import org.modegpt.Progress;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.calibrate.OwnText;
import org.modegpt.calibrate.Statistics;
import org.modegpt.io.CheckpointWriter;
import org.modegpt.io.ModelWriter;
import org.modegpt.io.TensorInfo;
import org.modegpt.model.Ahead;
import org.modegpt.model.Architecture;
import org.modegpt.model.Architecture.Global;
import org.modegpt.model.Background;
import org.modegpt.model.BlockWeights;
import org.modegpt.model.DenseBlocks;
import org.modegpt.model.LayerShape;
import org.modegpt.model.ModelConfig;
import org.modegpt.model.Residents;
import org.modegpt.model.Role;
import org.modegpt.model.Transformer;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Makes a smaller checkpoint from a model and its calibration statistics, one block resident at a
/// time. One serial stream, like the back-end; several compressors may share one model and its
/// statistics.
public final class Compressor {

  /// How the output is written.
  ///
  /// @param dtype of the weights; null keeps each tensor's own, BF16 for quantised ones
  /// @param overwrite replace an existing folder
  public record Output(Path folder, @Nullable DType dtype, long maxShardBytes, boolean overwrite) {}

  private final Transformer model;
  private final Backend backend;
  private final ModelConfig config;
  private final BlockSizes sizes;

  /// What allocation finds out about blocks, for their decomposition.
  private final Map<List<Object>, Map<Integer, NystromMlp.Memo>> memos = new HashMap<>();

  public Compressor(Transformer model, Backend backend) {
    this.model = model;
    this.backend = backend;
    this.config = model.config();
    if (config.compressed()) {
      throw new UserException(
          model.directory().path()
              + " is already compressed; compress the original model with a larger ratio");
    }
    this.sizes = BlockSizes.of(config);
  }

  /// The ranks the recipe leads to for each ratio (or for its parameter target when `ratios` is
  /// empty); measurements that serve every ratio are made once.
  public List<RankPlan> plans(
      Statistics statistics,
      Recipe recipe,
      List<Double> ratios,
      CompressionText text,
      Progress progress) {
    requireFit(statistics, recipe);
    List<Long> targets = new ArrayList<>();
    for (double ratio : ratios) {
      targets.add(target(recipe.withRatio(ratio)));
    }
    if (ratios.isEmpty()) {
      targets.add(target(recipe));
    }
    if (recipe.allocation().byCurves()) {
      try (MeasuredAllocation allocation =
          new MeasuredAllocation(
              model, backend, statistics, recipe, text.probe(), memos(statistics, recipe))) {
        return targets.stream().map(target -> allocation.plan(target, progress)).toList();
      }
    }
    Allocation allocation =
        recipe.allocation() == AllocationRule.UNIFORM
            ? Allocation.uniform()
            : new BlockInfluence(
                DoubleStream.of(statistics.blockInfluence()).boxed().toList(),
                recipe.epsilon(),
                recipe.cap());
    return targets.stream()
        .map(target -> {
          double ratio = 1 - (double) target / config.matrixParameters();
          return Budget.plan(
              sizes.under(recipe),
              allocation.allocate(config.layers(), ratio),
              target,
              recipe.multipleOf());
        })
        .toList();
  }

  /// Whether recipes that refit do so in models of this kind.
  public static boolean refits(ModelConfig config) {
    return PrefixRefit.suits(config);
  }

  private void requireFit(Statistics statistics, Recipe recipe) {
    statistics.requireModel(model);
    if (recipe.needsGradients() && !statistics.hasGradients()) {
      throw new UserException(
          statistics.path()
              + " holds no gradients, which the recipe '"
              + recipe.name()
              + "' needs; calibrate again with: modegpt calibrate");
    }
  }

  private Map<Integer, NystromMlp.Memo> memos(Statistics statistics, Recipe recipe) {
    return memos.computeIfAbsent(
        List.of(statistics, recipe.ridge(), recipe.mlp()), _ -> new HashMap<>());
  }

  /// What is refitted on is of the same kind as what the statistics were gathered on.
  private List<int[]> mixed(List<int[]> text, Recipe recipe, Progress progress) {
    double share = recipe.calibration().ownText();
    try (DenseBlocks dense = new DenseBlocks(backend, model)) {
      return new OwnText(model, backend, dense, progress).mixed(text, share, recipe.seed());
    }
  }

  /// The ranks of a uniform allocation, which needs no statistics.
  public RankPlan uniformPlan(Recipe recipe) {
    long target = target(recipe);
    double ratio = 1 - (double) target / config.matrixParameters();
    return Budget.plan(
        sizes.under(recipe),
        Allocation.uniform().allocate(config.layers(), ratio),
        target,
        recipe.multipleOf());
  }

  public BlockSizes sizes() {
    return sizes;
  }

  /// Matrix parameters to keep.
  private long target(Recipe recipe) {
    long matrices = config.matrixParameters();
    double removable =
        Math.min(Recipe.MAX_RATIO, sizes.under(recipe).removable(recipe.multipleOf()));
    Long wanted = recipe.targetParameters();
    if (wanted == null) {
      boolean whole = recipe.queryKey() == QueryKeyRule.KEEP;
      if (whole && recipe.ratio() > removable) {
        throw new UserException(
            "with queries and keys whole at most %.0f %% of this model can be removed; lower --ratio or choose --format compact"
                .formatted(Math.floor(100 * removable)));
      }
      return Budget.target(sizes, config.layers(), recipe.ratio());
    }
    long target = wanted - (model.parameters() - matrices);
    if (target > matrices || target < (1 - removable) * matrices) {
      long least = Math.round(model.parameters() - removable * matrices);
      throw new UserException(
          "%,d parameters cannot be reached: the model has %,d and can be compressed to %,d"
              .formatted(wanted, model.parameters(), least));
    }
    return target;
  }

  /// Decomposes every block by the plan and writes the new model folder.
  public CompressionReport run(
      Statistics statistics,
      Recipe recipe,
      RankPlan plan,
      CompressionText text,
      Output output,
      Progress progress) {
    requireFit(statistics, recipe);
    plan.requireFit(sizes, config.layers());
    long start = System.nanoTime();
    List<CompressionReport.Layer> layers = new ArrayList<>();
    List<CompactConfig.Layer> kept = new ArrayList<>();
    List<TensorInfo> tensors = outputTensors(plan, output);
    double[] influence = statistics.blockInfluence();
    try (ModelWriter writer = new ModelWriter(output.folder(), output.overwrite())) {
      CheckpointWriter weights = writer.tensors(tensors, output.maxShardBytes());
      boolean refits =
          recipe.refit().sequences() > 0
              && refits(config)
              && plan.parameters(sizes) < config.matrixParameters();
      try (BlockCompressor blocks =
              new BlockCompressor(backend, config, recipe, memos(statistics, recipe));
          Ahead<BlockWeights> dense = model.blocksAhead(backend);
          Ahead<LayerStatistics> sums = statistics.ahead(backend);
          Background writes = new Background(backend);
          PrefixRefit refit =
              refits
                  ? new PrefixRefit(
                      model, backend, recipe.refit(), mixed(text.calibration(), recipe, progress))
                  : null) {
        for (int layer = 0; layer < config.layers(); layer++) {
          Progress.checkCancelled();
          progress.update("compress", layer, config.layers(), "layer");
          LayerRanks ranks = plan.layers().get(layer);
          CompressedBlock block =
              compress(
                  blocks, refit, sums, layer, ranks, dense.get(layer), writes, weights, output);
          if (backend.unifiedMemory()) {
            writes.finish(); // or a second block would be in the memory that decompositions need
          }
          kept.add(new CompactConfig.Layer(block.shape(), block.weights().keySet()));
          double share = (double) sizes.parameters(ranks) / sizes.parameters();
          layers.add(
              new CompressionReport.Layer(
                  layer,
                  ranks,
                  share,
                  influence[layer],
                  plan.costs() == null ? null : plan.costs().get(layer),
                  block.reports()));
        }
      }
      copyOthers(weights, output);
      progress.update("compress", config.layers(), config.layers(), "layer");
      CompressionReport report =
          new CompressionReport(
              model.directory().name(),
              recipe.name(),
              1 - (double) target(recipe) / config.matrixParameters(),
              plan.ratio(sizes),
              config.matrixParameters(),
              plan.parameters(sizes),
              model.parameters(),
              tensors.stream().mapToLong(TensorInfo::elements).sum(),
              model.bytes(),
              tensors.stream().mapToLong(TensorInfo::bytes).sum(),
              (System.nanoTime() - start) / 1e9,
              plan.divergence(),
              layers);
      writer.write(
          "config.json",
          CompactConfig.of(
              model.directory().config(),
              config,
              kept,
              dtype(Architecture.compact().name(Global.EMBEDDING), output)));
      writer.write(CompactConfig.CODE, CompactConfig.code());
      Map<String, byte[]> others = model.directory().tagAlongFiles();
      others.forEach(writer::write);
      if (!others.containsKey(CompactConfig.TOKENIZER_CONFIG)) {
        writer.write(CompactConfig.TOKENIZER_CONFIG, CompactConfig.tokenizer());
      }
      writer.write("recipe.json", recipe.toJson());
      writer.write("report.json", report.toJson());
      writer.write("README.md", ModelCard.of(model.directory(), recipe, report, statistics));
      writer.commit();
      return report;
    }
  }

  @SuppressWarnings("ReferenceEquality") // the same tensor is what an unchanged weight is
  private CompressedBlock compress(
      BlockCompressor blocks,
      @Nullable PrefixRefit refit,
      Ahead<LayerStatistics> statistics,
      int layer,
      LayerRanks ranks,
      Ahead<BlockWeights>.Loaded loaded,
      Background writes,
      CheckpointWriter writer,
      Output output) {
    Arena arena = Arena.ofShared();
    try (loaded) {
      BlockWeights dense = loaded.value();
      CompressedBlock block = compress(blocks, arena, statistics, layer, dense.tensors(), ranks);
      if (refit != null) {
        block = refit.next(arena, dense, block);
      }
      Map<String, Tensor> ready = new LinkedHashMap<>();
      block
          .weights()
          .forEach((role, tensor) -> {
            String name = Architecture.compact().name(role, layer);
            boolean same = tensor == dense.optional(role);
            // What did not change is copied as it is stored.
            Tensor source = same ? model.tensors().get(name, arena) : asStored(role, tensor, arena);
            ready.put(name, Residents.converted(backend, arena, source, dtype(name, output)));
          });
      backend.sync();
      writes.run(
          downloads -> ready.forEach((name, tensor) -> writer.write(name, downloads.host(tensor))),
          arena::close);
      return block;
    } catch (RuntimeException e) {
      backend.sync();
      arena.close();
      throw e;
    }
  }

  /// The block's statistics are here no longer than its decomposition takes: written out and read
  /// ahead, two more blocks are in memory meanwhile.
  private CompressedBlock compress(
      BlockCompressor blocks,
      Arena arena,
      Ahead<LayerStatistics> statistics,
      int layer,
      Map<Role, Tensor> weights,
      LayerRanks ranks) {
    try (Ahead<LayerStatistics>.Loaded sums = statistics.get(layer)) {
      CompressedBlock block = blocks.compress(arena, layer, weights, sums.value(), ranks);
      backend.sync();
      return block;
    }
  }

  /// Norm weights multiply with the design's offset added, and are stored without.
  private Tensor asStored(Role role, Tensor tensor, Arena arena) {
    float offset = config.design().normOffset();
    if (!role.normWeight() || offset == 0) {
      return tensor;
    }
    float[] values = Residents.floats(backend, tensor);
    for (int i = 0; i < values.length; i++) {
      values[i] -= offset;
    }
    return Residents.upload(
        backend, arena, Tensor.ofFloats(arena, tensor.rows(), tensor.cols(), values));
  }

  private void copyOthers(CheckpointWriter writer, Output output) {
    for (String name : others()) {
      try (Arena arena = Arena.ofShared()) {
        Tensor tensor =
            Residents.converted(
                backend, arena, model.tensors().get(name, arena), dtype(name, output));
        writer.write(name, Residents.download(backend, arena, tensor));
      }
    }
  }

  /// Names of the tensors outside the blocks.
  private List<String> others() {
    List<String> blockNames = new ArrayList<>();
    for (int layer = 0; layer < config.layers(); layer++) {
      for (Role role : Role.values()) {
        blockNames.add(Architecture.compact().name(role, layer));
      }
    }
    return model.tensors().names().stream().filter(n -> !blockNames.contains(n)).toList();
  }

  private List<TensorInfo> outputTensors(RankPlan plan, Output output) {
    List<TensorInfo> declarations = new ArrayList<>();
    for (int layer = 0; layer < config.layers(); layer++) {
      LayerRanks ranks = plan.layers().get(layer);
      LayerShape shape =
          new LayerShape(ranks.mlpWidth(), ranks.qkRank(), ranks.voRank(), List.of());
      for (Role role : roles(layer, ranks)) {
        String name = Architecture.compact().name(role, layer);
        long rows = config.rows(role, shape);
        long cols = config.cols(role, shape);
        declarations.add(
            declaration(name, role.compressible() ? List.of(rows, cols) : List.of(cols), output));
      }
    }
    for (String name : others()) {
      declarations.add(declaration(name, model.tensors().info(name).shape(), output));
    }
    return declarations;
  }

  /// Roles of a compressed block: a value bias has become an output bias.
  private List<Role> roles(int layer, LayerRanks ranks) {
    boolean moved =
        ranks.voRank() < sizes.headDim()
            && model.tensors().has(Architecture.compact().name(Role.V_BIAS, layer));
    List<Role> roles = new ArrayList<>();
    for (Role role : Role.values()) {
      boolean present = model.tensors().has(Architecture.compact().name(role, layer));
      boolean kept = (moved && role == Role.O_BIAS) || (present && !(moved && role == Role.V_BIAS));
      if (kept) {
        roles.add(role);
      }
    }
    return roles;
  }

  private TensorInfo declaration(String name, List<Long> shape, Output output) {
    return TensorInfo.of(name, dtype(name, output), shape);
  }

  /// The type a tensor is written in; small vectors keep theirs.
  private DType dtype(String name, Output output) {
    if (!model.tensors().has(name)) {
      return dtype(Architecture.compact().name(Role.O, 0), output); // a bias that compression made
    }
    TensorInfo info = model.tensors().info(name);
    DType stored = DType.valueOf(info.dtype());
    boolean matrix = info.shape().size() > 1;
    if (output.dtype() != null && matrix) {
      return output.dtype();
    }
    return stored.quantised() ? DType.BF16 : stored;
  }
}
