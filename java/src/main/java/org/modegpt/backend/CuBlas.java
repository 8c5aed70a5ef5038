package org.modegpt.backend;

/// The calls of cuBLAS that the engine makes, with cuBLAS's own conventions: column-major matrices
/// of device memory, given by address and leading dimension in elements. Work is queued on the
/// stream that was given when the binding was made. One handle, so not thread-safe.
public interface CuBlas extends AutoCloseable {

  /// Numbers of `cudaDataType`.
  int F32 = 0;

  int F64 = 1;
  int BF16 = 14;

  /// Numbers of `cublasComputeType_t`: the type of sums, and how float32 operands may be rounded.
  int COMPUTE_F32 = 68;

  int COMPUTE_F64 = 70;
  int COMPUTE_TF32 = 77;

  /// One matrix operand, or `batch` of them `step` elements apart.
  ///
  /// @param type number of a `cudaDataType`
  /// @param lead leading dimension
  record Matrix(long address, int type, int lead, long step) {
    public Matrix(long address, int type, int lead) {
      this(address, type, lead, 0);
    }
  }

  /// A way to call cuBLAS, found as a service.
  interface Binding {
    String name();

    /// @param stream address of a `cudaStream_t` on which work is queued
    /// @throws BackendException when it cannot be used on this machine
    CuBlas open(long stream);
  }

  /// How the binding is called: `ffm` or `jcuda`.
  String name();

  /// `c = alpha op(a) op(b) + beta c` for each of `batch` products, c `[m, n]`, k terms.
  ///
  /// @throws BackendException when cuBLAS refuses
  void gemm(
      boolean transposeA,
      boolean transposeB,
      int m,
      int n,
      int k,
      double alpha,
      Matrix a,
      Matrix b,
      double beta,
      Matrix c,
      int batch,
      int compute);

  /// Solves `op(A) X = B` (left) or `X op(A) = B` in place of b `[m, n]`, F64, A triangular with
  /// its own diagonal.
  void triangularSolve(
      boolean left, boolean upper, boolean transpose, int m, int n, Matrix a, Matrix b);

  @Override
  void close();
}
