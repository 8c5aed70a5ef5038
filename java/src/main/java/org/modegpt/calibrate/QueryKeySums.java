package org.modegpt.calibrate;

import java.lang.foreign.Arena;
import java.util.LinkedHashMap;
import java.util.Map;
import org.modegpt.backend.Activation;
import org.modegpt.backend.Backend;
import org.modegpt.calibrate.LayerStatistics.Size;
import org.modegpt.model.Design.QkNorm;
import org.modegpt.model.LayerShape;
import org.modegpt.model.ModelConfig;
import org.modegpt.model.Residents;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Sums over queries and keys that only some layers need, in {@link LayerStatistics#extra}.
///
/// Where not all columns of a head turn:
///
/// * `query_gram` `[heads * h, h]` and `key_gram` `[kvHeads * h, h]`: per head `qᵀq` and `kᵀk`,
///   biases included;
/// * `key_sum` `[1, kvHeads * h]`: the sum of the keys.
///
/// Where queries and keys are normalised, of both before their norm:
///
/// * `query_norm_energy`, `key_norm_energy` `[1, heads * h]`: column sums of squares;
/// * `query_norm_squares`, `key_norm_squares` `[n, g]`: within every group of g columns that a norm
///   takes the mean of (a head, or all n columns) the Gram matrix of the squares.
public final class QueryKeySums {
  private QueryKeySums() {}

  /// The sums that a layer of this shape has.
  static Map<String, Size> sizes(ModelConfig config, LayerShape shape) {
    Map<String, Size> sizes = new LinkedHashMap<>();
    long h = config.headDim();
    long q = config.heads() * h;
    long k = config.kvHeads() * h;
    if (2L * shape.pairs() < h) {
      sizes.put("query_gram", new Size(q, h));
      sizes.put("key_gram", new Size(k, h));
      sizes.put("key_sum", new Size(1, k));
    }
    QkNorm norm = config.design().qkNorm();
    if (norm != QkNorm.NONE) {
      boolean head = norm == QkNorm.HEAD;
      sizes.put("query_norm_energy", new Size(1, q));
      sizes.put("key_norm_energy", new Size(1, k));
      sizes.put("query_norm_squares", new Size(q, head ? h : q));
      sizes.put("key_norm_squares", new Size(k, head ? h : k));
    }
    return sizes;
  }

  /// Adds queries and keys as they are before the rotary embedding.
  static void add(Backend backend, Map<String, Tensor> sums, Tensor q, Tensor k) {
    if (!sums.containsKey("query_gram")) {
      return;
    }
    long h = sums.get("query_gram").cols();
    backend.headGram(q, Math.toIntExact(q.cols() / h), sums.get("query_gram"));
    backend.headGram(k, Math.toIntExact(k.cols() / h), sums.get("key_gram"));
    try (Arena call = Arena.ofShared()) {
      Tensor ones = Tensor.allocate(call, DType.F32, k.rows(), 1);
      for (long i = 0; i < ones.rows(); i++) {
        ones.set(i, 0, 1);
      }
      backend.crossGram(Residents.upload(backend, call, ones), k, sums.get("key_sum"));
      backend.sync();
    }
  }

  /// Adds queries and keys as they are before their norms.
  static void addUnnormed(Backend backend, Map<String, Tensor> sums, Tensor q, Tensor k) {
    backend.columnEnergy(q, sums.get("query_norm_energy"));
    backend.columnEnergy(k, sums.get("key_norm_energy"));
    try (Arena call = Arena.ofShared()) {
      addSquares(backend, call, q, sums.get("query_norm_squares"));
      addSquares(backend, call, k, sums.get("key_norm_squares"));
      backend.sync();
    }
  }

  private static void addSquares(Backend backend, Arena call, Tensor x, Tensor sum) {
    Tensor squares = backend.allocate(call, DType.F32, x.rows(), x.cols());
    backend.gatedActivation(x, x, Activation.IDENTITY, squares);
    backend.headGram(squares, Math.toIntExact(x.cols() / sum.cols()), sum);
  }
}
