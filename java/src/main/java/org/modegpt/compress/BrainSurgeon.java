package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.modegpt.backend.Backend;
import org.modegpt.model.Residents;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// The order in which an MLP's units leave when each time the one goes whose removal, with the down
/// projection of the others refitted, changes the output least (optimal brain surgeon). With `P =
/// (C_H + λI)⁻¹` on the units left and w_i the rows of the refitted down projection, removing unit
/// i costs `‖w_i‖² / P_ii`; then `W −= P e_i w_iᵀ / P_ii` and `P −= P e_i e_iᵀ P / P_ii`.
///
/// Only the norms of w_i matter, so `K = W Wᵀ` is carried in place of W. Eliminations are gathered
/// in panels ({@link Backend#brainSurgeon}): within one, columns of P and K are brought up to date
/// when they are needed; at its end both matrices are updated by products.
final class BrainSurgeon {
  private static final int PANEL = 64;

  /// Both matrices shrink to the units left when those are at most this share.
  private static final double COMPACT = 0.9;

  private final Backend backend;

  BrainSurgeon(Backend backend) {
    this.backend = backend;
  }

  /// @param order units in the order they leave, as many as were asked for
  /// @param cost squared change of the output, summed over tokens, after each of them: `cost[i]`
  ///   when `order[0..i]` have left
  record Order(int[] order, double[] cost) {

    /// With the one unit of `units` that stayed at the end.
    Order withLast(int units) {
      boolean[] seen = new boolean[units];
      for (int unit : order) {
        seen[unit] = true;
      }
      int[] all = Arrays.copyOf(order, units);
      for (int unit = 0; unit < units; unit++) {
        if (!seen[unit]) {
          all[units - 1] = unit;
        }
      }
      return new Order(all, cost);
    }
  }

  /// @param inverse `P`, F64 `[f, f]` in full, on the back-end's device; destroyed
  /// @param outer `K = W Wᵀ`, F64 `[f, f]` in full, on the back-end's device; destroyed
  /// @param count how many units leave
  Order eliminate(Tensor inverse, Tensor outer, int count) {
    int[] order = new int[count];
    double[] cost = new double[count];
    int[] units = IntStream.range(0, Math.toIntExact(inverse.rows())).toArray();
    Tensor p = inverse;
    Tensor k = outer;
    Arena memory = Arena.ofShared();
    try {
      double sum = 0;
      int done = 0;
      while (done < count) {
        int alive = units.length;
        boolean[] left = new boolean[units.length];
        Arrays.fill(left, true);
        try (Arena call = Arena.ofShared()) {
          Tensor gone = Residents.ints(backend, call, new int[units.length]);
          while (done < count && (alive > COMPACT * units.length || alive == units.length)) {
            int steps = Math.min(PANEL, count - done);
            Panel panel = panel(call, p, k, gone, steps);
            for (int s = 0; s < steps; s++) {
              int pivot = panel.pivots[s];
              sum += panel.costs[s];
              left[pivot] = false;
              order[done] = units[pivot];
              cost[done++] = sum;
            }
            alive -= steps;
          }
          backend.sync();
        }
        if (done < count) {
          int[] kept = IntStream.range(0, units.length).filter(i -> left[i]).toArray();
          Arena next = Arena.ofShared();
          p = compact(p, next, kept);
          k = compact(k, next, kept);
          memory.close();
          memory = next;
          int[] old = units;
          units = IntStream.of(kept).map(i -> old[i]).toArray();
        }
      }
    } finally {
      memory.close();
    }
    return new Order(order, cost);
  }

  private record Panel(int[] pivots, double[] costs) {}

  /// `steps` eliminations, after which P and K are up to date.
  private Panel panel(Arena call, Tensor p, Tensor k, Tensor gone, int steps) {
    Tensor rows = backend.allocate(call, DType.F64, 4L * steps, p.rows());
    Tensor pivots = backend.allocate(call, DType.I32, 1, steps);
    Tensor costs = backend.allocate(call, DType.F64, 1, steps);
    backend.brainSurgeon(p, k, gone, rows, pivots, costs);
    Tensor a = rows.rows(steps, 2L * steps);
    Tensor u = rows.rows(3L * steps, 4L * steps);
    backend.gemm(true, false, -1, a, u, 1, p);
    backend.gemm(true, false, -1, rows.rows(0, 2L * steps), rows.rows(steps, 3L * steps), 1, k);
    return new Panel(
        Residents.download(backend, call, pivots).toInts(), Residents.doubles(backend, costs));
  }

  /// The rows and columns of `kept` of a symmetric matrix, in `memory`.
  private Tensor compact(Tensor square, Arena memory, int... kept) {
    Tensor result = backend.allocate(memory, DType.F64, kept.length, kept.length);
    try (Arena call = Arena.ofShared()) {
      Tensor index = Residents.ints(backend, call, kept);
      Tensor rows = backend.allocate(call, DType.F64, kept.length, square.cols());
      backend.gatherRows(square, index, rows);
      backend.gatherColumns(rows, index, result);
      backend.sync();
    }
    return result;
  }
}
