// Cholesky factors of many small matrices at once, with their inverses: a block per matrix.
#include "common.cuh"

namespace {

constexpr int THREADS = 1024;
constexpr int MOST = 256; // columns
constexpr int TOGETHER = 8; // threads that share a column of the inverse

struct CholeskyArgs {
  double *a, *inverse;
  int32_t *failed;
  int n;
  int64_t a_stride, inverse_stride;
  bool shared; // the matrix fits into shared memory
};

// Leaves L in the lower triangle of m and returns 0, or the order of the first bad minor, the same in all threads.
__device__ int factor(double *m, int64_t pitch, int n, double *column) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = THREADS / 32;
  for (int k = 0; k < n; k++) {
    const double pivot = m[k * pitch + k];
    if (!(pivot > 0) || isinf(pivot)) return k + 1;
    const double root = sqrt(pivot);
    for (int i = k + 1 + threadIdx.x; i < n; i += THREADS) {
      column[i] = m[i * pitch + k] / root;
      m[i * pitch + k] = column[i];
    }
    __syncthreads();
    if (threadIdx.x == 0) m[k * pitch + k] = root;
    for (int i = k + 1 + warp; i < n; i += warps) {
      for (int j = k + 1 + lane; j <= i; j += 32) m[i * pitch + j] -= column[i] * column[j];
    }
    __syncthreads();
  }
  return 0;
}

// Column j of the inverse of the lower triangle, without its diagonal, into row j above the diagonal: nobody else looks there.
__device__ void invert_column(double *m, int64_t pitch, int n, int j) {
  const int part = threadIdx.x % TOGETHER;
  const unsigned together = ((1u << TOGETHER) - 1) << (threadIdx.x % 32 - part);
  double *x = m + j * pitch;
  const double first = 1 / x[j];
  for (int i = j + 1; i < n; i++) {
    const double *row = m + i * pitch;
    double sum = part == 0 ? row[j] * first : 0;
    for (int k = j + 1 + part; k < i; k += TOGETHER) sum += row[k] * x[k];
    for (int step = TOGETHER / 2; step > 0; step /= 2) sum += __shfl_xor_sync(together, sum, step);
    if (part == 0) x[i] = -sum / row[i];
    __syncwarp(together);
  }
}

__global__ void __launch_bounds__(THREADS) cholesky_kernel(CholeskyArgs g) {
  extern __shared__ double memory[];
  __shared__ double column[MOST];
  const int n = g.n;
  double *a = g.a + (int64_t)blockIdx.x * n * g.a_stride;
  double *m = g.shared ? memory : a;
  const int64_t pitch = g.shared ? n + 1 : g.a_stride;
  if (g.shared) {
    for (int e = threadIdx.x; e < n * n; e += THREADS) m[e / n * pitch + e % n] = a[e / n * g.a_stride + e % n];
    __syncthreads();
  }
  const int bad = factor(m, pitch, n, column);
  if (threadIdx.x == 0) g.failed[blockIdx.x] = bad;
  if (bad) return;
  for (int j = threadIdx.x / TOGETHER; j < n; j += THREADS / TOGETHER) invert_column(m, pitch, n, j);
  __syncthreads();
  double *inverse = g.inverse + (int64_t)blockIdx.x * n * g.inverse_stride;
  for (int e = threadIdx.x; e < n * n; e += THREADS) {
    const int i = e / n, j = e % n;
    inverse[i * g.inverse_stride + j] = i > j ? m[j * pitch + i] : i == j ? 1 / m[i * pitch + i] : 0;
  }
  __syncthreads(); // without shared memory the inverse was read from where zeros go
  for (int e = threadIdx.x; e < n * n; e += THREADS) {
    const int i = e / n, j = e % n;
    a[i * g.a_stride + j] = j <= i ? m[i * pitch + j] : 0;
  }
}

} // namespace

int32_t mg_cholesky_batch(mg_context *ctx, mg_tensor *a, mg_tensor *inverse, mg_tensor *failed) {
  return guarded(ctx, "cholesky_batch", [&] {
    require("a", a, {MG_F64});
    require("inverse", inverse, {MG_F64});
    const int64_t n = a->cols;
    if (n == 0 || a->rows == 0) return;
    const int64_t batch = require_squares(a, MOST);
    require_shape("inverse", inverse, a->rows, n);
    require_vector("failed", failed, MG_I32, batch);
    const int bytes = (int)(n * (n + 1) * sizeof(double));
    const bool shared = fits_shared(ctx, bytes);
    if (shared) ask_for_shared(cholesky_kernel, bytes);
    const CholeskyArgs args{pointer<double>(a),  pointer<double>(inverse), pointer<int32_t>(failed), (int)n, a->stride,
                            inverse->stride, shared};
    cholesky_kernel<<<(unsigned)batch, THREADS, shared ? bytes : 0, ctx->stream>>>(args);
    launched();
  });
}
