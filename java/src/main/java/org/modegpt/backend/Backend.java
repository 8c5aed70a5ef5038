package org.modegpt.backend;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Everything the engine computes, on one device. Shapes, units and formulas of the kernels are
/// those of the function of the same name in `native/include/modegpt.h`; the dense linear algebra
/// at the end is documented here.
///
/// A backend is one serial stream and not thread-safe: use one per thread (they share nothing but
/// the machine). Tensors passed to it must have been allocated by it or, for a backend with {@link
/// #unifiedMemory()}, be any host tensor. Outputs are arguments, so callers own all memory. Bad
/// arguments are {@link IllegalArgumentException} before anything is computed; a failing device is
/// {@link BackendException}.
public interface Backend extends AutoCloseable {

  /// `cpu`, `cuda:0` or `reference`.
  String name();

  /// One line for people: instruction set, threads, libraries.
  String describe();

  /// Whether host tensors can be passed to every operation (true on CPU back-ends).
  boolean unifiedMemory();

  /// How {@link #linear} and {@link #crossGram} multiply float32 factors.
  default Products products() {
    return Products.F32;
  }

  /// The dtype that products read their left side in: {@link #rmsNorm}, {@link #attention} and
  /// {@link #gatedActivation} write it besides F32, and {@link #linear}, {@link #gram}, {@link
  /// #crossGram} and {@link #headGram} read it. What only products read is best kept in it.
  default DType operandType() {
    return DType.F32;
  }

  /// The same for products of so many rows, where few are multiplied in another way than many.
  default DType operandType(long rows) {
    return operandType();
  }

  /// Rows that go through a block at once for full speed: enough for large products, little enough
  /// for caches and scratch memory.
  default int passRows() {
    return 2048;
  }

  /// A second stream of work on the same device, for uploads beside the computation; null where
  /// memory is unified. The caller closes it, before this backend. Memory of either may be used on
  /// both once the stream that works on it is synchronised.
  default @Nullable Backend sideStream() {
    return null;
  }

  /// Bytes that {@link #allocate} can still give.
  default long freeMemory() {
    return Long.MAX_VALUE;
  }

  /// Host memory that copies to and from the device are fast with.
  default MemorySegment hostMemory(Arena arena, long bytes) {
    return arena.allocate(bytes, 64);
  }

  /// Uninitialised memory of this device that lives as long as `arena`.
  Tensor allocate(Arena arena, DType dtype, long rows, long cols);

  /// Copies between host and device or within the device; same dtype and shape.
  void copy(Tensor source, Tensor destination);

  void fillZero(Tensor x);

  /// Waits for all work of this backend.
  void sync();

  // ---- element-wise and row-wise

  void cast(Tensor source, Tensor destination);

  void transpose(Tensor source, Tensor destination);

  long countNonFinite(Tensor x);

  void embed(Tensor table, Tensor ids, Tensor out);

  void rmsNorm(Tensor x, @Nullable Tensor weight, float eps, Tensor y);

  void layerNorm(Tensor x, @Nullable Tensor weight, @Nullable Tensor bias, float eps, Tensor y);

  void rope(Tensor x, Tensor positions, Tensor frequencies, int heads);

  /// @param spans I32 `[2, batch]` where every sequence has a number of keys of its own: the row of
  ///   its first key, and how many there are; null where the shape says it for all
  void attention(
      Tensor q, Tensor k, Tensor v, AttentionShape shape, @Nullable Tensor spans, Tensor out);

  /// {@link #attention} over sequences of the same length.
  default void attention(Tensor q, Tensor k, Tensor v, AttentionShape shape, Tensor out) {
    attention(q, k, v, shape, null, out);
  }

  void gatedActivation(Tensor gate, Tensor up, Activation activation, Tensor y);

  void activation(Tensor x, Activation activation);

  /// `y += alpha * x`; a one-row `x` is added to every row.
  void add(float alpha, Tensor x, Tensor y);

  void scale(float alpha, float softcap, Tensor x);

  void gatherColumns(Tensor x, Tensor index, Tensor y);

  void gatherRows(Tensor x, Tensor index, Tensor y);

  void scatterRows(Tensor x, Tensor index, Tensor y);

  /// Makes a square matrix lower triangular, in place.
  void clearUpper(Tensor x);

  /// Makes a square matrix symmetric by its lower triangle, in place.
  void mirrorLower(Tensor x);

  // ---- losses

  void nll(Tensor logits, Tensor targets, Tensor nll, @Nullable Tensor argmax);

  void klDivergence(Tensor p, Tensor q, Tensor kl);

  // ---- gradients: what a loss with the gradient `dy` at an operation's output has at its inputs

  void rmsNormBackward(Tensor x, @Nullable Tensor weight, float eps, Tensor dy, Tensor dx);

  void layerNormBackward(Tensor x, @Nullable Tensor weight, float eps, Tensor dy, Tensor dx);

  /// Of {@link #gatedActivation}, or without `up` and `dup` of {@link #activation}.
  void activationBackward(
      Tensor gate,
      @Nullable Tensor up,
      Activation activation,
      Tensor dy,
      Tensor dgate,
      @Nullable Tensor dup);

  /// Of {@link #attention} over whole sequences.
  void attentionBackward(
      Tensor q,
      Tensor k,
      Tensor v,
      AttentionShape shape,
      Tensor dout,
      Tensor dq,
      Tensor dk,
      Tensor dv);

  /// Draws a token of every row and makes the row the gradient of its negative log-likelihood.
  ///
  /// @param softcap of the logits, which they have already; 0 for none
  /// @param uniforms F32 `[1, N]` in `[0, 1)`
  /// @param ids I32 `[1, N]`, the tokens drawn
  void sampledGradient(Tensor logits, float softcap, Tensor uniforms, Tensor ids);

  // ---- statistics (add to an F64 output)

  /// Lower triangle of `c += xᵀ x`.
  void gram(Tensor x, Tensor c);

  void crossGram(Tensor x, Tensor y, Tensor c);

  void headGram(Tensor x, int heads, Tensor c);

  void columnEnergy(Tensor x, Tensor energy);

  /// Covariance of the rotary pairs' shares in the attention logits of one sequence, under
  /// attention, per query head; `queries` I32 `[1, M]` are the positions sampled.
  void logitCovariance(
      Tensor q, Tensor k, Tensor queries, int heads, int kvHeads, float scale, Tensor c);

  void blockInfluence(Tensor x, Tensor y, Tensor accumulator);

  // ---- elimination

  /// A panel of optimal brain surgeon steps; see `mg_brain_surgeon`.
  ///
  /// @param gone I32 `[1, n]`, in and out
  /// @param panel F64 `[4 steps, n]`: rows c, a, κ and u
  void brainSurgeon(Tensor p, Tensor k, Tensor gone, Tensor panel, Tensor pivots, Tensor costs);

  // ---- dense linear algebra

  /// `y = x wᵀ (+ bias)`: x F32 [N, in], w [out, in] of any float or quantised dtype, y F32 [N,
  /// out]. Chooses between the memory-bound kernel (few rows) and GEMM.
  void linear(Tensor x, Tensor w, @Nullable Tensor bias, Tensor y);

  /// One of several matrices that read the same rows.
  record Projection(Tensor weight, @Nullable Tensor bias, Tensor output) {}

  /// {@link #linear} of all of them; a device may read small ones together faster.
  default void project(Tensor x, List<Projection> projections) {
    projections.forEach(p -> linear(x, p.weight(), p.bias(), p.output()));
  }

  /// `c = alpha * op(a) op(b) + beta * c`; all F32 or all F64.
  void gemm(
      boolean transposeA,
      boolean transposeB,
      double alpha,
      Tensor a,
      Tensor b,
      double beta,
      Tensor c);

  /// Lower Cholesky factor of a symmetric F64 matrix in place; reads and writes the lower triangle
  /// only. Returns 0, or the 1-based order of the first leading minor that is not positive definite
  /// (the contents are then undefined).
  long cholesky(Tensor a);

  /// Solves `op(L) X = B` (left) or `X op(L) = B` (right) in place of `b`; `l` is lower triangular;
  /// F64.
  void triangularSolve(Tensor l, boolean left, boolean transpose, Tensor b);

  /// Replaces the lower triangle of `l` with that of its inverse, and leaves the upper one
  /// undefined; F64. `l` must have a non-zero diagonal.
  void triangularInverse(Tensor l);

  /// Eigenvalues (ascending, `values` F64 [1, n]) and eigenvectors (row i of `a` belongs to value
  /// i) of a symmetric F64 matrix; reads the lower triangle, which must be finite.
  void symmetricEigen(Tensor a, Tensor values);

  /// {@link #cholesky} of matrices below each other, a [b * n, n], and the inverses of the factors,
  /// both 0 above the diagonal. Returns per matrix what `cholesky` would; where that is not 0, both
  /// results are undefined.
  default long[] choleskyBatch(Tensor a, Tensor inverse) {
    long n = a.cols();
    long[] failed = new long[Math.toIntExact(a.rows() / n)];
    for (int i = 0; i < failed.length; i++) {
      Tensor factor = a.rows(i * n, (i + 1) * n);
      failed[i] = cholesky(factor);
      if (failed[i] == 0) {
        Tensor inverted = inverse.rows(i * n, (i + 1) * n);
        clearUpper(factor);
        copy(factor, inverted);
        triangularInverse(inverted);
        clearUpper(inverted);
      }
    }
    return failed;
  }

  /// Thin singular value decomposition `a = u diag(s) vt`, F64: a [m, n] (finite, destroyed), u [m,
  /// k], s [1, k] descending, vt [k, n], k = min(m, n).
  void svd(Tensor a, Tensor u, Tensor s, Tensor vt);

  /// {@link #svd} of square matrices below each other: a [b * n, n], u and vt [b * n, n], s [b, n].
  /// What belongs to a singular value of 0 may be 0.
  default void svdBatch(Tensor a, Tensor u, Tensor s, Tensor vt) {
    long n = a.cols();
    for (long i = 0; i < s.rows(); i++) {
      long from = i * n;
      long to = from + n;
      svd(a.rows(from, to), u.rows(from, to), s.rows(i, i + 1), vt.rows(from, to));
    }
  }

  @Override
  void close();
}
