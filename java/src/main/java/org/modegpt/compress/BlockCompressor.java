package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.function.BiFunction;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.modegpt.Futures;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.model.Design.QkNorm;
import org.modegpt.model.LayerAttention;
import org.modegpt.model.LayerShape;
import org.modegpt.model.ModelConfig;
import org.modegpt.model.Role;
import org.modegpt.tensor.Tensor;

/// Shrinks decoder blocks, one after the other. A module whose rank is full is left alone, bit for
/// bit.
///
/// Holds scratch memory of about `f² + 2 f r` doubles for MLP width f until closed. Where the
/// back-end has other streams, attention is shrunk beside the MLP. One serial stream for the
/// caller, like the back-end: for several ratios at once use one compressor and back-end per
/// thread; weights and statistics may be shared.
public final class BlockCompressor implements AutoCloseable {
  /// Ridge of the logit covariance, relative to the mean of its diagonal.
  private static final double LOGIT_RIDGE = 1e-3;

  private final BlockSizes sizes;
  private final IntFunction<LayerShape> dense;
  private final QkNorm qkNorm;
  private final Workspace workspace;
  private final @Nullable Lane lane;
  private final Recipe recipe;
  private final Map<Integer, NystromMlp.Memo> memos;
  private final Map<Integer, List<Decomposition>> decompositions = new HashMap<>();

  /// For blocks that are all alike.
  public BlockCompressor(Backend backend, BlockSizes sizes, Recipe recipe) {
    this(
        backend,
        sizes,
        _ -> sizes.dense(LayerAttention.FULL),
        QkNorm.NONE,
        recipe,
        new HashMap<>());
  }

  /// For the blocks of a model.
  public BlockCompressor(Backend backend, ModelConfig config, Recipe recipe) {
    this(backend, config, recipe, new HashMap<>());
  }

  /// @param memos by layer, of the same model, statistics and ridge; read and added to
  BlockCompressor(
      Backend backend, ModelConfig config, Recipe recipe, Map<Integer, NystromMlp.Memo> memos) {
    this(
        backend,
        BlockSizes.of(config),
        config.shapes()::get,
        config.design().qkNorm(),
        recipe,
        memos);
  }

  private BlockCompressor(
      Backend backend,
      BlockSizes sizes,
      IntFunction<LayerShape> dense,
      QkNorm qkNorm,
      Recipe recipe,
      Map<Integer, NystromMlp.Memo> memos) {
    this.memos = memos;
    this.sizes = sizes;
    this.dense = dense;
    this.qkNorm = qkNorm;
    this.workspace = new Workspace(backend);
    this.lane = Lane.beside(backend);
    this.recipe = recipe;
  }

  /// For callers that shrink one block to many ranks before the next, and come back to it: what all
  /// ranks need is computed once, and kept in up to another `f² + d f` doubles, and for every block
  /// in `2 h²` doubles for each of its key/value heads of size h.
  BlockCompressor forManyRanks() {
    workspace.keepLasting();
    if (lane != null) {
      lane.keepLasting();
    }
    return this;
  }

  /// Shrinks one block to the given ranks.
  ///
  /// @param arena owns the new weights
  /// @param layer names the block in messages
  /// @param weights all weights of the block on the back-end's device, matrices `[out, in]`, of any
  ///   float dtype; not changed
  /// @param statistics of the same block, on the same device; not changed
  public CompressedBlock compress(
      Arena arena,
      int layer,
      Map<Role, Tensor> weights,
      LayerStatistics statistics,
      LayerRanks ranks) {
    requireShapes(layer, weights, statistics);
    requireFinite(layer, statistics);
    BiFunction<Workspace, Module, ModuleResult> shrink =
        (by, module) -> shrink(by, arena, layer, weights, statistics, module, ranks.of(module));
    Map<Module, ModuleResult> shrunk = new EnumMap<>(Module.class);
    Lane beside = lane;
    if (beside == null) {
      for (Module module : Module.values()) {
        shrunk.put(module, shrink.apply(workspace, module));
      }
    } else {
      decompositions(layer); // both threads look there
      workspace.backend.sync();
      Future<Map<Module, ModuleResult>> attention =
          beside.begin(side -> {
            Map<Module, ModuleResult> results = new EnumMap<>(Module.class);
            for (Module module : List.of(Module.QUERY_KEY, Module.VALUE_OUTPUT)) {
              results.put(module, shrink.apply(side, module));
            }
            return results;
          });
      try {
        shrunk.put(Module.MLP, shrink.apply(workspace, Module.MLP));
      } finally {
        Futures.end(attention);
      }
      shrunk.putAll(Futures.await(attention, "decomposing attention"));
    }
    CompressedBlock block = untouched(layer, weights);
    for (Module module : Module.values()) {
      block = with(layer, block, module, ranks.of(module), shrunk.get(module));
    }
    return block;
  }

  private CompressedBlock untouched(int layer, Map<Role, Tensor> weights) {
    List<ModuleReport> reports = new ArrayList<>();
    for (Module module : Module.values()) {
      reports.add(ModuleReport.untouched(module, sizes.fullRank(module)));
    }
    return new CompressedBlock(
        dense.apply(layer),
        weights,
        IntStream.range(0, sizes.mlpWidth()).boxed().toList(),
        reports);
  }

  /// A block with one module at another rank, its other modules as they are in `block`.
  ///
  /// @param weights of the dense block
  CompressedBlock replace(
      Arena arena,
      int layer,
      Map<Role, Tensor> weights,
      LayerStatistics statistics,
      CompressedBlock block,
      Module module,
      int rank) {
    return with(
        layer,
        block,
        module,
        rank,
        shrink(workspace, arena, layer, weights, statistics, module, rank));
  }

  private ModuleResult shrink(
      Workspace by,
      Arena arena,
      int layer,
      Map<Role, Tensor> weights,
      LayerStatistics statistics,
      Module module,
      int rank) {
    requireRank(layer, module, rank);
    ModuleResult shrunk =
        rank == sizes.fullRank(module)
            ? keep(layer, weights, module)
            : decomposition(layer, module).apply(by, arena, sizes, weights, statistics, rank);
    by.backend.sync();
    return shrunk;
  }

  private CompressedBlock with(
      int layer, CompressedBlock block, Module module, int rank, ModuleResult shrunk) {
    Map<Role, Tensor> result = new EnumMap<>(block.weights());
    result.keySet().removeAll(module.roles());
    result.putAll(shrunk.weights());
    List<ModuleReport> reports = new ArrayList<>(block.reports());
    reports.replaceAll(r -> r.module() == module ? shrunk.report() : r);
    LayerShape old = block.shape();
    LayerAttention attention = shrunk.attention();
    LayerShape shape =
        switch (module) {
          case QUERY_KEY ->
              old.withQueryKey(
                  rank,
                  shrunk.kept(),
                  attention == null ? dense.apply(layer).attention() : attention);
          case VALUE_OUTPUT -> old.withVoDim(rank);
          case MLP -> old.withMlpWidth(rank);
        };
    List<Integer> units = module == Module.MLP ? shrunk.kept().getFirst() : block.units();
    return new CompressedBlock(shape, result, units, reports);
  }

  private ModuleResult keep(int layer, Map<Role, Tensor> weights, Module module) {
    Map<Role, Tensor> same = new EnumMap<>(weights);
    same.keySet().retainAll(module.roles());
    CompressedBlock full = untouched(layer, weights);
    return new ModuleResult(
        same,
        module == Module.MLP ? List.of(full.units()) : full.shape().rotaryPairs(),
        ModuleReport.untouched(module, sizes.fullRank(module)));
  }

  private Decomposition decomposition(int layer, Module module) {
    return decompositions(layer).stream()
        .filter(d -> d.module() == module)
        .findFirst()
        .orElseThrow();
  }

  private List<Decomposition> decompositions(int layer) {
    return decompositions.computeIfAbsent(
        layer,
        _ ->
            List.of(
                queryKey(dense.apply(layer)),
                new ValueOutputSvd(recipe.valueOutput()),
                new NystromMlp(
                    recipe.ridge(),
                    recipe.mlp(),
                    memos.computeIfAbsent(layer, _ -> new NystromMlp.Memo()))));
  }

  /// What the queries and keys of a layer allow: only dropping pairs where all columns turn, any
  /// mixing of those that do not.
  private Decomposition queryKey(LayerShape shape) {
    boolean published = recipe.queryKey() != QueryKeyRule.MULTIPLIERS;
    if (qkNorm != QkNorm.NONE) {
      return new NormedQk(qkNorm, shape.attention(), published, LOGIT_RIDGE);
    }
    if (2 * shape.pairs() < shape.qkDim()) {
      return new LowRankQk(shape.pairs(), !published);
    }
    return published ? new ColumnRowQk() : new MultiplierQk(LOGIT_RIDGE);
  }

  /// The squared change of a module's output on the calibration text at each rank, up to a factor
  /// that is the same for all ranks.
  double[] localErrors(
      int layer,
      Map<Role, Tensor> weights,
      LayerStatistics statistics,
      Module module,
      int... ranks) {
    return decomposition(layer, module).removalCosts(workspace, sizes, weights, statistics, ranks);
  }

  private void requireRank(int layer, Module module, int rank) {
    boolean odd = module == Module.QUERY_KEY && sizes.rotary() && rank % 2 != 0;
    if (rank < 1 || rank > sizes.fullRank(module) || odd) {
      throw new IllegalArgumentException(
          "layer " + layer + ": " + module.label() + " rank " + rank);
    }
  }

  private void requireFinite(int layer, LayerStatistics statistics) {
    statistics
        .named()
        .forEach((name, tensor) -> {
          long bad = workspace.backend.countNonFinite(tensor);
          if (bad != 0) {
            throw new UserException(
                "calibration statistics of layer %d: %d values of %s are NaN or infinite; check the model's weights and calibrate again"
                    .formatted(layer, bad, name));
          }
        });
  }

  private void requireShapes(int layer, Map<Role, Tensor> weights, LayerStatistics statistics) {
    long d = sizes.hidden();
    long q = (long) sizes.heads() * sizes.headDim();
    long k = (long) sizes.kvHeads() * sizes.headDim();
    long f = sizes.mlpWidth();
    for (Role role : Role.values()) {
      Tensor tensor = weights.get(role);
      boolean fits =
          switch (role) {
            case Q -> shaped(tensor, q, d);
            case K, V -> shaped(tensor, k, d);
            case O -> shaped(tensor, d, q);
            case GATE -> sizes.gated() ? shaped(tensor, f, d) : tensor == null;
            case UP -> shaped(tensor, f, d);
            case DOWN -> shaped(tensor, d, f);
            case Q_BIAS -> tensor == null || shaped(tensor, 1, q);
            case K_BIAS, V_BIAS -> tensor == null || shaped(tensor, 1, k);
            case GATE_BIAS, UP_BIAS -> tensor == null || shaped(tensor, 1, f);
            case O_BIAS, DOWN_BIAS -> tensor == null || shaped(tensor, 1, d);
            default -> true; // norms, which nothing here looks at
          };
      if (!fits) {
        throw new IllegalArgumentException(
            "layer "
                + layer
                + ": "
                + role.key()
                + " is "
                + (tensor == null ? "missing" : tensor.describe()));
      }
    }
    boolean fits =
        shaped(statistics.attentionInput(), d, d)
            && shaped(statistics.mlpInner(), f, f)
            && shaped(statistics.queryEnergy(), 1, q)
            && shaped(statistics.keyEnergy(), 1, k);
    if (!fits) {
      throw new UserException(
          "the calibration statistics of layer "
              + layer
              + " are those of a model of other sizes; calibrate this model");
    }
  }

  private static boolean shaped(@Nullable Tensor tensor, long rows, long cols) {
    return tensor != null && tensor.rows() == rows && tensor.cols() == cols;
  }

  @Override
  public void close() {
    if (lane != null) {
      lane.close();
    }
    workspace.close();
  }
}
