package org.modegpt.compress;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.function.IntPredicate;
import java.util.function.IntUnaryOperator;
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
/// in panels: within one, columns of P and K are brought up to date when they are needed; at its
/// end both matrices are updated by products.
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
    int[] units = new int[Math.toIntExact(inverse.rows())];
    Arrays.setAll(units, i -> i);
    int[] order = new int[count];
    double[] cost = new double[count];
    boolean[] gone = new boolean[units.length];
    Arena memory = Arena.ofShared();
    try {
      Tensor p = inverse;
      Tensor k = outer;
      double sum = 0;
      int done = 0;
      while (done < count) {
        Panel panel = new Panel(p, k, gone);
        int steps = Math.min(PANEL, count - done);
        for (int s = 0; s < steps; s++) {
          int pivot = panel.cheapest();
          sum += panel.costOf(pivot);
          order[done] = units[pivot];
          cost[done++] = sum;
          panel.eliminate(pivot);
        }
        panel.update();
        int[] left = IntStream.range(0, units.length).filter(toGone(gone).negate()).toArray();
        if (left.length <= COMPACT * units.length && done < count) {
          Arena next = Arena.ofShared();
          p = compact(p, next, left);
          k = compact(k, next, left);
          backend.sync();
          memory.close();
          memory = next;
          units = IntStream.of(left).map(toUnit(units)).toArray();
          gone = new boolean[left.length];
        }
      }
      backend.sync();
    } finally {
      memory.close();
    }
    return new Order(order, cost);
  }

  private static IntPredicate toGone(boolean[] gone) {
    return i -> gone[i];
  }

  private static IntUnaryOperator toUnit(int... units) {
    return i -> units[i];
  }

  /// The rows and columns of `left` of a symmetric matrix, in `memory`.
  private Tensor compact(Tensor square, Arena memory, int... left) {
    try (Arena call = Arena.ofShared()) {
      Tensor index = Residents.ints(backend, call, left);
      Tensor columns = backend.allocate(call, DType.F64, square.rows(), left.length);
      backend.gatherColumns(square, index, columns);
      Tensor rows = backend.allocate(call, DType.F64, left.length, square.rows());
      backend.transpose(columns, rows);
      Tensor result = backend.allocate(memory, DType.F64, left.length, left.length);
      backend.gatherColumns(rows, index, result);
      backend.sync();
      return result;
    }
  }

  /// Eliminations that P and K do not contain yet. Step s keeps `a_s = P e_i / P_ii`, the column
  /// `u_s = P e_i`, `κ_s = K e_i` and `c_s = κ_s − a_s K_ii`, so that `K' = K − a κᵀ − c aᵀ`.
  private final class Panel {
    private final Tensor p;
    private final Tensor k;
    private final int n;
    private final double[] diagonalP;
    private final double[] diagonalK;
    private final boolean[] gone;
    private final double[][] a = new double[PANEL][];
    private final double[][] u = new double[PANEL][];
    private final double[][] kappa = new double[PANEL][];
    private final double[][] c = new double[PANEL][];
    private int steps;

    Panel(Tensor p, Tensor k, boolean[] gone) {
      this.p = p;
      this.k = k;
      this.n = Math.toIntExact(p.rows());
      this.diagonalP = diagonal(p);
      this.diagonalK = diagonal(k);
      this.gone = gone;
    }

    /// Consecutive elements of the diagonal are one row and one column apart.
    private double[] diagonal(Tensor square) {
      Tensor view =
          new Tensor(
              square.dtype(),
              square.rows(),
              1,
              square.stride() + 1,
              square.data(),
              square.onDevice());
      return Residents.doubles(backend, view);
    }

    double costOf(int i) {
      return Math.max(0, diagonalK[i]) / diagonalP[i];
    }

    int cheapest() {
      int best = -1;
      for (int i = 0; i < n; i++) {
        if (!gone[i] && (best < 0 || costOf(i) < costOf(best))) {
          best = i;
        }
      }
      return best;
    }

    void eliminate(int i) {
      double[] column = Residents.doubles(backend, p.rows(i, i + 1L));
      double[] outer = Residents.doubles(backend, k.rows(i, i + 1L));
      for (int s = 0; s < steps; s++) {
        subtract(column, a[s], u[s][i]);
        subtract(outer, a[s], kappa[s][i]);
        subtract(outer, c[s], a[s][i]);
      }
      double pivot = column[i];
      double[] scaled = new double[n];
      double[] corrected = new double[n];
      double own = outer[i];
      for (int j = 0; j < n; j++) {
        scaled[j] = column[j] / pivot;
        corrected[j] = outer[j] - scaled[j] * own;
        diagonalP[j] -= scaled[j] * column[j];
        diagonalK[j] -= scaled[j] * (outer[j] + corrected[j]);
      }
      a[steps] = scaled;
      u[steps] = column;
      kappa[steps] = outer;
      c[steps] = corrected;
      steps++;
      gone[i] = true;
    }

    /// `P −= A Uᵀ`, `K −= A Κᵀ + C Aᵀ`.
    void update() {
      try (Arena arena = Arena.ofShared()) {
        Tensor left = rows(arena, a);
        backend.gemm(true, false, -1, left, rows(arena, u), 1, p);
        backend.gemm(true, false, -1, left, rows(arena, kappa), 1, k);
        backend.gemm(true, false, -1, rows(arena, c), left, 1, k);
        backend.sync();
      }
    }

    private Tensor rows(Arena arena, double[]... values) {
      Tensor tensor = Tensor.allocate(arena, DType.F64, steps, n);
      for (int s = 0; s < steps; s++) {
        MemorySegment.copy(values[s], 0, tensor.data(), JAVA_DOUBLE_UNALIGNED, (long) s * n * 8, n);
      }
      return Residents.upload(backend, arena, tensor);
    }
  }

  private static void subtract(double[] y, double[] x, double factor) {
    for (int j = 0; j < y.length; j++) {
      y[j] -= factor * x[j];
    }
  }
}
