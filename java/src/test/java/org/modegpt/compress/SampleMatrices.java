package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.util.Random;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// A random inverse Gram matrix and down projection, and the elimination order by its definition:
/// after every removal the inverse and the down projection are updated in full.
final class SampleMatrices {
  private final double[][] inverse;
  private final double[][] down;

  SampleMatrices(int units, int outputs, long seed) {
    Random random = new Random(seed);
    double[][] gram = new double[units][units];
    for (int token = 0; token < 3 * units; token++) {
      double[] h = random.doubles(units, -1, 1).toArray();
      for (int i = 0; i < units; i++) {
        for (int j = 0; j < units; j++) {
          gram[i][j] += h[i] * h[j] * (1 + i % 7) * (1 + j % 7);
        }
      }
    }
    inverse = SmallMatrix.inverse(gram);
    down = new double[units][];
    for (int i = 0; i < units; i++) {
      down[i] = random.doubles(outputs, -1, 1).toArray();
    }
  }

  Tensor inverse(Arena arena) {
    return tensor(arena, inverse);
  }

  Tensor outer(Arena arena) {
    double[][] k = new double[down.length][down.length];
    for (int i = 0; i < down.length; i++) {
      for (int j = 0; j < down.length; j++) {
        for (int c = 0; c < down[i].length; c++) {
          k[i][j] += down[i][c] * down[j][c];
        }
      }
    }
    return tensor(arena, k);
  }

  private static Tensor tensor(Arena arena, double[][] values) {
    Tensor t = Tensor.allocate(arena, DType.F64, values.length, values.length);
    for (int i = 0; i < values.length; i++) {
      for (int j = 0; j < values.length; j++) {
        t.set(i, j, values[i][j]);
      }
    }
    return t;
  }

  BrainSurgeon.Order naiveOrder() {
    int n = inverse.length;
    boolean[] gone = new boolean[n];
    int[] order = new int[n - 1];
    double[] cost = new double[n - 1];
    double sum = 0;
    for (int step = 0; step < n - 1; step++) {
      int best = -1;
      for (int i = 0; i < n; i++) {
        if (!gone[i] && (best < 0 || cost(i) < cost(best))) {
          best = i;
        }
      }
      sum += cost(best);
      order[step] = best;
      cost[step] = sum;
      gone[best] = true;
      eliminate(best);
    }
    return new BrainSurgeon.Order(order, cost);
  }

  private double cost(int i) {
    double norm = 0;
    for (double w : down[i]) {
      norm += w * w;
    }
    return norm / inverse[i][i];
  }

  private void eliminate(int i) {
    double[] column = inverse[i].clone();
    double[] row = down[i].clone();
    double pivot = column[i];
    for (int j = 0; j < column.length; j++) {
      double a = column[j] / pivot;
      for (int c = 0; c < row.length; c++) {
        down[j][c] -= a * row[c];
      }
      for (int l = 0; l < column.length; l++) {
        inverse[j][l] -= a * column[l];
      }
    }
  }
}
