package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.model.LayerShape;
import org.modegpt.model.Role;
import org.modegpt.tensor.Tensor;

/// Shrinks decoder blocks, one after the other. A module whose rank is full is left alone, bit for
/// bit.
///
/// Holds scratch memory of about `f² + 2 f r` doubles for MLP width f until closed. One serial
/// stream, like the back-end: for several ratios at once use one compressor and back-end per
/// thread; weights and statistics may be shared.
public final class BlockCompressor implements AutoCloseable {
  private final BlockSizes sizes;
  private final Workspace workspace;
  private final List<Decomposition> decompositions;

  public BlockCompressor(Backend backend, BlockSizes sizes, Recipe recipe) {
    if (!sizes.rotary() || !sizes.gated()) {
      throw new UserException(
          "only models with rotary embeddings and a gated MLP can be compressed");
    }
    this.sizes = sizes;
    this.workspace = new Workspace(backend);
    this.decompositions =
        List.of(
            new ColumnRowQk(),
            new ValueOutputSvd(recipe.valueOutput()),
            new NystromMlp(recipe.ridge()));
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
    Map<Role, Tensor> result = new EnumMap<>(weights);
    List<ModuleReport> reports = new ArrayList<>();
    List<List<Integer>> pairs = LayerShape.full(1, sizes.headDim(), sizes.kvHeads()).rotaryPairs();
    List<Integer> units = IntStream.range(0, sizes.mlpWidth()).boxed().toList();
    for (Decomposition decomposition : decompositions) {
      Module module = decomposition.module();
      int rank = ranks.of(module);
      requireRank(layer, module, rank);
      if (rank == sizes.fullRank(module)) {
        reports.add(ModuleReport.untouched(module, rank));
        continue;
      }
      ModuleResult shrunk = decomposition.apply(workspace, arena, sizes, weights, statistics, rank);
      result.keySet().removeAll(module.roles());
      result.putAll(shrunk.weights());
      reports.add(shrunk.report());
      switch (module) {
        case QUERY_KEY -> pairs = shrunk.kept();
        case MLP -> units = shrunk.kept().getFirst();
        case VALUE_OUTPUT -> {}
      }
    }
    workspace.backend.sync();
    LayerShape shape = new LayerShape(ranks.mlpWidth(), ranks.qkRank(), ranks.voRank(), pairs);
    return new CompressedBlock(shape, result, units, reports);
  }

  private void requireRank(int layer, Module module, int rank) {
    boolean odd = module == Module.QUERY_KEY && rank % 2 != 0;
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
            case GATE, UP -> shaped(tensor, f, d);
            case DOWN -> shaped(tensor, d, f);
            case Q_BIAS -> tensor == null || shaped(tensor, 1, q);
            case K_BIAS, V_BIAS -> tensor == null || shaped(tensor, 1, k);
            case GATE_BIAS, UP_BIAS -> tensor == null || shaped(tensor, 1, f);
            case O_BIAS, DOWN_BIAS -> tensor == null || shaped(tensor, 1, d);
            case ATTENTION_NORM, MLP_NORM -> true;
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
    workspace.close();
  }
}
