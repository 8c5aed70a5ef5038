// Singular value decompositions of many small square matrices at once: one-sided Jacobi, a block per matrix.
#include "common.cuh"

namespace {

constexpr int MOST = 256; // columns
constexpr int SWEEPS = 40;
constexpr double TOLERANCE = 1e-15; // of the cosine between two rows

struct SvdArgs {
  const double *a;
  double *u, *s, *vt, *rotations, *matrices; // the last two [batch, n, n], matrices null where they fit into shared memory
  int n;
  int64_t a_stride, u_stride, s_stride, vt_stride;
};

// Rotates pairs of rows until all are orthogonal: J a = diag(s) vt with J orthogonal, so u = Jᵀ. In a round every row meets one
// other, as in a tournament; n - 1 rounds are a sweep.
__global__ void __launch_bounds__(1024) svd_kernel(SvdArgs g) {
  extern __shared__ double memory[];
  __shared__ int turned;
  __shared__ int order[MOST];
  __shared__ double norms[MOST];
  const int n = g.n, lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32, even = n + n % 2;
  const double *a = g.a + (int64_t)blockIdx.x * n * g.a_stride;
  double *j = g.rotations + (int64_t)blockIdx.x * n * n;
  double *rows = g.matrices ? g.matrices + (int64_t)blockIdx.x * n * n : memory;
  for (int e = threadIdx.x; e < n * n; e += blockDim.x) {
    rows[e] = a[e / n * g.a_stride + e % n];
    j[e] = e / n == e % n ? 1 : 0;
  }
  for (int sweep = 0; sweep < SWEEPS; sweep++) {
    __syncthreads();
    if (threadIdx.x == 0) turned = 0;
    for (int round = 0; round < even - 1; round++) {
      __syncthreads();
      for (int pair = warp; pair < even / 2; pair += warps) {
        const int p = pair == 0 ? even - 1 : (round + pair) % (even - 1);
        const int q = (round + even - 1 - pair) % (even - 1);
        if (p >= n || q >= n) continue;
        double *x = rows + p * n, *y = rows + q * n;
        double xx = 0, yy = 0, xy = 0;
        for (int i = lane; i < n; i += 32) {
          xx += x[i] * x[i];
          yy += y[i] * y[i];
          xy += x[i] * y[i];
        }
        xx = warp_reduce(xx, Sum());
        yy = warp_reduce(yy, Sum());
        xy = warp_reduce(xy, Sum());
        if (!(fabs(xy) > TOLERANCE * sqrt(xx) * sqrt(yy))) continue;
        if (lane == 0) turned = 1;
        const double zeta = (yy - xx) / (2 * xy);
        const double t = copysign(1.0, zeta) / (fabs(zeta) + sqrt(1 + zeta * zeta));
        const double c = 1 / sqrt(1 + t * t), s = c * t;
        double *jx = j + p * n, *jy = j + q * n;
        for (int i = lane; i < n; i += 32) {
          const double u = x[i], v = y[i], ju = jx[i], jv = jy[i];
          x[i] = c * u - s * v;
          y[i] = s * u + c * v;
          jx[i] = c * ju - s * jv;
          jy[i] = s * ju + c * jv;
        }
      }
    }
    __syncthreads();
    if (!turned) break;
  }
  for (int row = warp; row < n; row += warps) {
    double sum = 0;
    for (int i = lane; i < n; i += 32) sum += rows[row * n + i] * rows[row * n + i];
    sum = warp_reduce(sum, Sum());
    if (lane == 0) norms[row] = sqrt(sum);
  }
  __syncthreads();
  for (int row = threadIdx.x; row < n; row += blockDim.x) {
    int place = 0;
    for (int other = 0; other < n; other++) place += norms[other] > norms[row] || (norms[other] == norms[row] && other < row);
    order[place] = row;
  }
  __syncthreads();
  for (int e = threadIdx.x; e < n * n; e += blockDim.x) {
    const int k = e / n, i = e % n, from = order[k];
    const double norm = norms[from];
    g.vt[((int64_t)blockIdx.x * n + k) * g.vt_stride + i] = norm > 0 ? rows[from * n + i] / norm : 0;
    g.u[((int64_t)blockIdx.x * n + i) * g.u_stride + k] = j[from * n + i];
    if (i == 0) g.s[blockIdx.x * g.s_stride + k] = norm;
  }
}

} // namespace

int32_t mg_svd_batch(mg_context *ctx, const mg_tensor *a, mg_tensor *u, mg_tensor *s, mg_tensor *vt) {
  return guarded(ctx, "svd_batch", [&] {
    require("a", a, {MG_F64});
    require("u", u, {MG_F64});
    require("s", s, {MG_F64});
    require("vt", vt, {MG_F64});
    const int64_t n = a->cols;
    if (n == 0 || a->rows == 0) return;
    const int64_t batch = require_squares(a, MOST);
    require_shape("u", u, a->rows, n);
    require_shape("vt", vt, a->rows, n);
    require_shape("s", s, batch, n);
    const int bytes = (int)(n * n * sizeof(double));
    const bool shared = fits_shared(ctx, bytes);
    if (shared) ask_for_shared(svd_kernel, bytes);
    double *rotations = static_cast<double *>(scratch(ctx, batch * bytes * (shared ? 1 : 2)));
    double *matrices = shared ? nullptr : rotations + batch * n * n;
    const SvdArgs args{pointer<double>(a), pointer<double>(u), pointer<double>(s), pointer<double>(vt), rotations,
                       matrices, (int)n, a->stride, u->stride, s->stride, vt->stride};
    svd_kernel<<<(unsigned)batch, 1024, shared ? bytes : 0, ctx->stream>>>(args);
    launched();
  });
}
