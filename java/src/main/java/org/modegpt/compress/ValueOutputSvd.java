package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.modegpt.backend.Backend;
import org.modegpt.calibrate.LayerStatistics;
import org.modegpt.model.Residents;
import org.modegpt.model.Role;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Type III, SVD of values and output. Attention mixes rows, not columns, so nothing stands between the two: per key/value head
/// minimise `Σ_j ‖C_X^½ (W_v W_o,j − W_v' W_o,j')‖²` over its query heads j. Only `h × h` matrices are decomposed:
///
///     G_v = W_vᵀ C_X W_v = A Aᵀ        G_o = Σ_j W_o,j W_o,jᵀ = B Bᵀ        Aᵀ B = U Σ Vᵀ
///     W_v' = W_v A⁻ᵀ U_r Σ_r^½          W_o,j' = Σ_r^½ V_rᵀ B⁻¹ W_o,j
///
/// whose error is the tail `Σ_{i>r} σ_i²`. The published rule for grouped queries takes the r first right singular vectors V of
/// `C_X^½ W_v` (eigenvectors of `G_v`) instead: `W_v' = W_v V`, `W_o,j' = Vᵀ W_o,j`.
///
/// Rows of attention sum to one, so a value bias reaches the output as the constant `Σ_j b_v W_o,j`: it moves to the output bias.
///
/// An instance belongs to one block: where the workspace keeps what serves every rank, it remembers the decompositions.
final class ValueOutputSvd implements Decomposition {
  private final ValueOutputRule rule;
  private @Nullable List<Maps> decomposed;

  ValueOutputSvd(ValueOutputRule rule) {
    this.rule = rule;
  }

  /// The new pair of one key/value head is `W_v valueᵀ` and `output W_o,j`.
  ///
  /// @param value `[r, h]`
  /// @param output `[r, h]`
  /// @param singular all singular values, descending
  record Maps(Tensor value, Tensor output, double[] singular, double lost, double total) {

    private Maps copy(Workspace workspace) {
      return new Maps(workspace.copy(value), workspace.copy(output), singular, lost, total);
    }

    /// Those of a rank that is not larger.
    Maps first(int rank) {
      return new Maps(
          value.rows(0, rank), output.rows(0, rank), singular, energy(singular, rank), total);
    }
  }

  @Override
  public Module module() {
    return Module.VALUE_OUTPUT;
  }

  @Override
  public ModuleResult apply(
      Workspace workspace,
      Arena arena,
      BlockSizes sizes,
      Map<Role, Tensor> weights,
      LayerStatistics statistics,
      int rank) {
    workspace.reset();
    Backend backend = workspace.backend;
    int h = sizes.headDim();
    int group = sizes.group();
    Prepared prepared =
        workspace.lasting(
            Prepared.class,
            weights.get(Role.V),
            statistics.headOutput(),
            () -> prepare(workspace, sizes, weights, statistics));
    Tensor value = prepared.value;
    Tensor output = prepared.output;
    Tensor newValue = workspace.matrix((long) sizes.kvHeads() * rank, sizes.hidden());
    Tensor newOutput = workspace.matrix(sizes.hidden(), (long) sizes.heads() * rank);
    double lost = 0;
    double total = 0;
    List<List<Double>> tails = new ArrayList<>();
    List<Maps> all =
        IntStream.range(0, sizes.kvHeads())
            .mapToObj(kv ->
                prepared.decomposed.isEmpty()
                    ? published(
                        workspace, prepared.valueGrams.get(kv), prepared.outputGrams.get(kv), rank)
                    : prepared.decomposed.get(kv).first(rank))
            .toList();
    for (int kv = 0; kv < sizes.kvHeads(); kv++) {
      Maps maps = all.get(kv);
      backend.gemm(false, false, 1, maps.value, head(value, kv, h), 0, head(newValue, kv, rank));
      for (int j = kv * group; j < (kv + 1) * group; j++) {
        backend.gemm(
            false, true, 1, block(output, j, h), maps.output, 0, block(newOutput, j, rank));
      }
      lost += maps.lost;
      total += maps.total;
      tails.add(DoubleStream.of(maps.singular).skip(rank).boxed().toList());
    }
    Map<Role, Tensor> result = new EnumMap<>(Role.class);
    result.put(Role.V, single(backend, arena, newValue));
    result.put(Role.O, single(backend, arena, newOutput));
    Tensor bias = outputBias(workspace, arena, sizes, output, weights);
    if (bias != null) {
      result.put(Role.O_BIAS, bias);
    }
    ModuleReport report =
        new ModuleReport(
            Module.VALUE_OUTPUT, rank, h, ModuleReport.relative(lost, total), 0, tails);
    return new ModuleResult(result, List.of(), report);
  }

  /// What serves every rank.
  ///
  /// @param value `[kvHeads * h, d]`
  /// @param output `[d, heads * h]`
  /// @param decomposed per key/value head; empty where the published rule decides
  private record Prepared(
      Tensor value,
      Tensor output,
      List<Tensor> valueGrams,
      List<Tensor> outputGrams,
      List<Maps> decomposed) {}

  private Prepared prepare(
      Workspace workspace,
      BlockSizes sizes,
      Map<Role, Tensor> weights,
      LayerStatistics statistics) {
    int h = sizes.headDim();
    int group = sizes.group();
    Tensor value = workspace.doubles(weights.get(Role.V));
    Tensor output = workspace.doubles(weights.get(Role.O));
    List<Maps> known = decomposed;
    if (known != null) {
      return new Prepared(value, output, List.of(), List.of(), known);
    }
    // A value bias is part of what heads emit, and of nothing that is left to approximate.
    boolean emitted = rule == ValueOutputRule.HEAD_OUTPUT && weights.get(Role.V_BIAS) == null;
    double[] energy = emitted ? headEnergy(workspace, statistics.headOutput(), sizes) : ones(sizes);
    Tensor weighted = emitted ? value : inputWeighted(workspace, statistics, sizes, value);
    List<Tensor> valueGrams = new ArrayList<>();
    List<Tensor> outputGrams = new ArrayList<>();
    for (int kv = 0; kv < sizes.kvHeads(); kv++) {
      valueGrams.add(
          emitted
              ? emittedGram(workspace, statistics.headOutput(), kv, sizes)
              : workspace.product(head(value, kv, h), false, head(weighted, kv, h), true));
      Tensor outputGram = workspace.zeros(h, h);
      for (int j = kv * group; j < (kv + 1) * group; j++) {
        Tensor o = block(output, j, h);
        workspace.backend.gemm(true, false, energy[j], o, o, 1, outputGram);
      }
      outputGrams.add(outputGram);
    }
    boolean published = rule == ValueOutputRule.PUBLISHED && group > 1;
    if (published) {
      return new Prepared(value, output, valueGrams, outputGrams, List.of());
    }
    List<Maps> made = decompose(workspace, valueGrams, outputGrams);
    if (workspace.keeps()) {
      decomposed = workspace.keep(() -> made.stream().map(m -> m.copy(workspace)).toList());
    }
    return new Prepared(value, output, valueGrams, outputGrams, made);
  }

  /// The tail of the singular values below the smallest rank holds those of all.
  @Override
  public double[] removalCosts(
      Workspace workspace,
      BlockSizes sizes,
      Map<Role, Tensor> weights,
      LayerStatistics statistics,
      int... ranks) {
    int least = IntStream.of(ranks).min().orElse(sizes.headDim());
    if ((rule == ValueOutputRule.PUBLISHED && sizes.group() > 1) || least == sizes.headDim()) {
      return Decomposition.super.removalCosts(workspace, sizes, weights, statistics, ranks);
    }
    try (Arena arena = Arena.ofShared()) {
      List<List<Double>> tails =
          apply(workspace, arena, sizes, weights, statistics, least).report().tail();
      return IntStream.of(ranks)
          .mapToDouble(rank ->
              tails.stream()
                  .flatMap(tail -> tail.stream().skip(rank - least))
                  .mapToDouble(s -> s * s)
                  .sum())
          .toArray();
    }
  }

  /// `C_X W_v`, transposed.
  private static Tensor inputWeighted(
      Workspace workspace, LayerStatistics statistics, BlockSizes sizes, Tensor value) {
    Tensor gram = workspace.matrix(sizes.hidden(), sizes.hidden());
    workspace.mirror(statistics.attentionInput(), gram);
    return workspace.product(value, false, gram, false);
  }

  /// `Σ_j Z_jᵀ Z_j` over the query heads of one value head.
  private static Tensor emittedGram(
      Workspace workspace, Tensor headOutput, int kv, BlockSizes sizes) {
    int h = sizes.headDim();
    Tensor sum = workspace.copy(head(headOutput, kv * sizes.group(), h));
    for (int j = kv * sizes.group() + 1; j < (kv + 1) * sizes.group(); j++) {
      workspace.backend.add(1, head(headOutput, j, h), sum);
    }
    return sum;
  }

  /// Energy of what each query head emits, relative to the mean.
  private static double[] headEnergy(Workspace workspace, Tensor headOutput, BlockSizes sizes) {
    List<Tensor> heads =
        IntStream.range(0, sizes.heads())
            .mapToObj(j -> head(headOutput, j, sizes.headDim()))
            .toList();
    double[] energy =
        Stream.of(workspace.diagonals(heads)).mapToDouble(d -> DoubleStream.of(d).sum()).toArray();
    double mean = DoubleStream.of(energy).average().orElseThrow();
    return mean > 0 ? DoubleStream.of(energy).map(e -> e / mean).toArray() : ones(sizes);
  }

  private static double[] ones(BlockSizes sizes) {
    return DoubleStream.generate(() -> 1).limit(sizes.heads()).toArray();
  }

  /// The two maps that minimise `‖A^½ (I − valueᵀ output) B^½‖` for Gram matrices A and B, at full
  /// rank.
  static Maps joint(Workspace workspace, Tensor valueGram, Tensor outputGram) {
    return decompose(workspace, List.of(valueGram), List.of(outputGram)).getFirst();
  }

  /// Of all heads, whose decompositions are computed together where their cores are square.
  private static List<Maps> decompose(
      Workspace workspace, List<Tensor> valueGrams, List<Tensor> outputGrams) {
    Backend backend = workspace.backend;
    int heads = valueGrams.size();
    long h = valueGrams.getFirst().rows();
    List<GramFactor> a = GramFactor.of(workspace, valueGrams);
    List<GramFactor> b = GramFactor.of(workspace, outputGrams);
    List<Core> cores = new ArrayList<>();
    if (Stream.concat(a.stream(), b.stream()).allMatch(f -> f.factor().cols() == h)) {
      Tensor core = workspace.matrix(heads * h, h);
      Tensor u = workspace.matrix(heads * h, h);
      Tensor s = workspace.matrix(heads, h);
      Tensor vt = workspace.matrix(heads * h, h);
      for (int i = 0; i < heads; i++) {
        Tensor one = head(core, i, (int) h);
        backend.gemm(true, false, 1, a.get(i).factor(), b.get(i).factor(), 0, one);
      }
      backend.svdBatch(core, u, s, vt);
      double[] singular = Residents.doubles(backend, s);
      for (int i = 0; i < heads; i++) {
        double[] own = Arrays.copyOfRange(singular, i * (int) h, (i + 1) * (int) h);
        cores.add(new Core(head(u, i, (int) h), own, head(vt, i, (int) h)));
      }
    } else {
      for (int i = 0; i < heads; i++) {
        Tensor core = workspace.product(a.get(i).factor(), true, b.get(i).factor(), false);
        long k = Math.min(core.rows(), core.cols());
        Tensor u = workspace.matrix(core.rows(), k);
        Tensor s = workspace.matrix(1, k);
        Tensor vt = workspace.matrix(k, core.cols());
        backend.svd(core, u, s, vt);
        cores.add(new Core(u, Residents.doubles(backend, s), vt));
      }
    }
    return IntStream.range(0, heads)
        .mapToObj(i -> whole(workspace, a.get(i), b.get(i), cores.get(i), h))
        .toList();
  }

  /// `AᵀB = u diag(singular) vt`.
  private record Core(Tensor u, double[] singular, Tensor vt) {}

  /// The maps of a head at full rank `[h, h]`: those of a smaller one are their first rows.
  private static Maps whole(Workspace workspace, GramFactor a, GramFactor b, Core core, long h) {
    double[] singular = core.singular;
    double[] roots = DoubleStream.of(singular).map(Math::sqrt).toArray();
    Tensor scale = workspace.scaling(h, singular.length, roots);
    Tensor value = a.timesInverse(workspace.product(scale, false, core.u, true));
    Tensor output = b.timesInverse(workspace.product(scale, false, core.vt, false));
    return new Maps(value, output, singular, 0, energy(singular, 0));
  }

  private static Maps published(
      Workspace workspace, Tensor valueGram, Tensor outputGram, int rank) {
    Backend backend = workspace.backend;
    int h = Math.toIntExact(valueGram.rows());
    double total = workspace.dot(valueGram, outputGram);
    Tensor vectors = workspace.copy(valueGram);
    Tensor values = workspace.matrix(1, h);
    backend.symmetricEigen(vectors, values);
    double[] ascending = Residents.doubles(backend, values);
    double lost = 0;
    if (rank < h) {
      Tensor dropped = vectors.rows(0, h - (long) rank);
      double[] rows = Residents.doubles(backend, dropped);
      double[] through =
          Residents.doubles(backend, workspace.product(dropped, false, outputGram, false));
      for (int i = 0; i < rows.length; i++) {
        lost += Math.max(0, ascending[i / h]) * through[i] * rows[i];
      }
    }
    Tensor kept = vectors.rows(h - rank, h);
    double[] singular = new double[h];
    for (int i = 0; i < h; i++) {
      singular[i] = Math.sqrt(Math.max(0, ascending[h - 1 - i]));
    }
    return new Maps(kept, kept, singular, lost, total);
  }

  private static double energy(double[] singular, int from) {
    return DoubleStream.of(singular).skip(from).map(s -> s * s).sum();
  }

  /// `b_o + Σ_j b_v W_o,j`, or null when there is no bias at all.
  private static @Nullable Tensor outputBias(
      Workspace workspace,
      Arena arena,
      BlockSizes sizes,
      Tensor output,
      Map<Role, Tensor> weights) {
    Tensor valueBias = weights.get(Role.V_BIAS);
    Tensor outputBias = weights.get(Role.O_BIAS);
    if (valueBias == null) {
      return outputBias;
    }
    Backend backend = workspace.backend;
    int h = sizes.headDim();
    Tensor b = workspace.doubles(valueBias);
    Tensor sum =
        outputBias == null ? workspace.zeros(1, sizes.hidden()) : workspace.doubles(outputBias);
    for (int j = 0; j < sizes.heads(); j++) {
      backend.gemm(false, true, 1, block(b, j / sizes.group(), h), block(output, j, h), 1, sum);
    }
    return single(backend, arena, sum);
  }

  private static Tensor single(Backend backend, Arena arena, Tensor source) {
    Tensor t = backend.allocate(arena, DType.F32, source.rows(), source.cols());
    backend.cast(source, t);
    return t;
  }

  /// Rows of one head.
  private static Tensor head(Tensor x, int index, int size) {
    return x.rows((long) index * size, (index + 1L) * size);
  }

  /// Columns of one head.
  private static Tensor block(Tensor x, int index, int size) {
    return x.columns((long) index * size, (index + 1L) * size);
  }
}
