// Elimination of the units of an MLP: two small kernels a step, since each step depends on the one before.
#include "common.cuh"

namespace {

constexpr int CHOOSERS = 1024;

struct Surgery {
  const double *p, *k;
  int64_t n, p_stride, k_stride, panel_stride;
  int32_t *gone, *pivots;
  double *costs, *panel;
  double *diagonal_p, *diagonal_k; // as of this step
  double *chosen;                  // P_ii and K_ii of the pivot
  int steps;
};

__global__ void __launch_bounds__(256) diagonal_kernel(Surgery a) {
  const int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x;
  if (i >= a.n) return;
  a.diagonal_p[i] = a.p[i * a.p_stride + i];
  a.diagonal_k[i] = a.k[i * a.k_stride + i];
}

// One block: the unit of least cost, the lowest on ties.
__global__ void __launch_bounds__(CHOOSERS) choose_kernel(Surgery a, int step) {
  __shared__ double costs[32];
  __shared__ int units[32];
  double least = INFINITY;
  int best = -1;
  for (int i = threadIdx.x; i < a.n; i += CHOOSERS) {
    if (a.gone[i]) continue;
    const double cost = fmax(0.0, a.diagonal_k[i]) / a.diagonal_p[i];
    if (best < 0 || cost < least) {
      least = cost;
      best = i;
    }
  }
  const auto join = [&](double cost, int unit) {
    if (unit >= 0 && (best < 0 || cost < least || (cost == least && unit < best))) {
      least = cost;
      best = unit;
    }
  };
  for (int offset = 16; offset > 0; offset /= 2)
    join(__shfl_xor_sync(~0u, least, offset), __shfl_xor_sync(~0u, best, offset));
  if (threadIdx.x % 32 == 0) {
    costs[threadIdx.x / 32] = least;
    units[threadIdx.x / 32] = best;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int w = 1; w < CHOOSERS / 32; w++) join(costs[w], units[w]);
  a.pivots[step] = best;
  a.costs[step] = least;
  if (best < 0) return;
  a.gone[best] = 1;
  a.chosen[0] = a.diagonal_p[best];
  a.chosen[1] = a.diagonal_k[best];
}

// A thread per unit brings its entry of both columns of the pivot up to date.
__global__ void __launch_bounds__(128) eliminate_kernel(Surgery a, int step) {
  const int64_t j = (int64_t)blockIdx.x * 128 + threadIdx.x, block = a.steps * a.panel_stride;
  const int64_t i = a.pivots[step];
  if (j >= a.n || i < 0) return;
  const double *c = a.panel, *s = c + block, *kappa = s + block, *u = kappa + block;
  double column = a.p[i * a.p_stride + j], outer = a.k[i * a.k_stride + j];
#pragma unroll 8
  for (int t = 0; t < step; t++) {
    const int64_t row = t * a.panel_stride;
    const double scaled = s[row + j];
    column -= scaled * u[row + i];
    outer -= scaled * kappa[row + i] + c[row + j] * s[row + i];
  }
  const double scaled = column / a.chosen[0], corrected = outer - scaled * a.chosen[1];
  double *out = a.panel + step * a.panel_stride + j;
  out[0] = corrected;
  out[block] = scaled;
  out[2 * block] = outer;
  out[3 * block] = column;
  a.diagonal_p[j] -= scaled * column;
  a.diagonal_k[j] -= scaled * (outer + corrected);
}

} // namespace

int32_t mg_brain_surgeon(mg_context *ctx, const mg_tensor *p, const mg_tensor *k, mg_tensor *gone, mg_tensor *panel,
                         mg_tensor *pivots, mg_tensor *costs) {
  return guarded(ctx, "brain_surgeon", [&] {
    require("p", p, {MG_F64});
    require("k", k, {MG_F64});
    require("panel", panel, {MG_F64});
    require_shape("p", p, p->rows, p->rows);
    require_shape("k", k, p->rows, p->rows);
    require_vector("gone", gone, MG_I32, p->rows);
    if (panel->rows % 4 != 0) fail(MG_EINVAL, "panel has %lld rows, not four per step", (long long)panel->rows);
    const int steps = (int)(panel->rows / 4);
    require_shape("panel", panel, panel->rows, p->rows);
    require_vector("pivots", pivots, MG_I32, steps);
    require_vector("costs", costs, MG_F64, steps);
    if (empty(p) || steps == 0) return;
    const int64_t n = p->rows;
    if (n > INT32_MAX) fail(MG_EINVAL, "%lld units are too many", (long long)n);
    double *work = static_cast<double *>(scratch(ctx, (int64_t)sizeof(double) * (2 * n + 2)));
    const Surgery a{pointer<double>(p),       pointer<double>(k),    n,        p->stride, k->stride, panel->stride,
                    pointer<int32_t>(gone),   pointer<int32_t>(pivots), pointer<double>(costs), pointer<double>(panel),
                    work, work + n, work + 2 * n, steps};
    diagonal_kernel<<<(unsigned)ceil_div(n, 256), 256, 0, ctx->stream>>>(a);
    for (int step = 0; step < steps; step++) {
      choose_kernel<<<1, CHOOSERS, 0, ctx->stream>>>(a, step);
      eliminate_kernel<<<(unsigned)ceil_div(n, 128), 128, 0, ctx->stream>>>(a, step);
    }
    launched();
  });
}
