// Elimination of the units of an MLP: one small kernel a step, since each step depends on the one before.
#include "common.cuh"

namespace {

constexpr int CHOOSERS = 1024;
constexpr int THREADS = 128;

struct Surgery {
  const double *p, *k;
  int64_t n, p_stride, k_stride, panel_stride;
  int32_t *gone, *pivots;
  double *costs, *panel;
  double *diagonal_p, *diagonal_k; // as of this step
  double *chosen;                  // P_ii and K_ii of the pivot
  double *block_costs;             // the best unit of every block
  int *block_units, *finished;     // blocks that have found theirs
  int steps;
};

__global__ void __launch_bounds__(256) diagonal_kernel(Surgery a) {
  const int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x;
  if (i >= a.n) return;
  a.diagonal_p[i] = a.p[i * a.p_stride + i];
  a.diagonal_k[i] = a.k[i * a.k_stride + i];
}

// The unit of least cost, the lowest on ties.
struct Choice {
  double cost = INFINITY;
  int unit = -1;
  __device__ void join(double other_cost, int other) {
    if (other >= 0 && (unit < 0 || other_cost < cost || (other_cost == cost && other < unit))) {
      cost = other_cost;
      unit = other;
    }
  }
  // The best of the block; known to thread 0.
  __device__ void join_block() {
    __shared__ double costs[32];
    __shared__ int units[32];
    for (int offset = 16; offset > 0; offset /= 2) join(__shfl_xor_sync(~0u, cost, offset), __shfl_xor_sync(~0u, unit, offset));
    __syncthreads();
    if (threadIdx.x % 32 == 0) {
      costs[threadIdx.x / 32] = cost;
      units[threadIdx.x / 32] = unit;
    }
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (unsigned w = 1; w < blockDim.x / 32; w++) join(costs[w], units[w]);
  }
};

// By thread 0 of one block.
__device__ void choose(const Surgery &a, int step, Choice best) {
  a.pivots[step] = best.unit;
  a.costs[step] = best.cost;
  if (best.unit < 0) return;
  a.gone[best.unit] = 1;
  a.chosen[0] = __ldcg(a.diagonal_p + best.unit); // another block may have written it just now
  a.chosen[1] = __ldcg(a.diagonal_k + best.unit);
}

__global__ void __launch_bounds__(CHOOSERS) first_kernel(Surgery a) {
  Choice best;
  for (int i = threadIdx.x; i < a.n; i += CHOOSERS) {
    if (!a.gone[i]) best.join(fmax(0.0, a.diagonal_k[i]) / a.diagonal_p[i], i);
  }
  best.join_block();
  if (threadIdx.x == 0) choose(a, 0, best);
}

// A thread per unit brings its entry of both columns of the pivot up to date; the block that ends last takes the next pivot.
__global__ void __launch_bounds__(THREADS) eliminate_kernel(Surgery a, int step) {
  __shared__ bool last;
  const int64_t j = (int64_t)blockIdx.x * THREADS + threadIdx.x, block = a.steps * a.panel_stride;
  const int64_t i = a.pivots[step];
  Choice best;
  if (j < a.n && i >= 0) {
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
    const double p = a.diagonal_p[j] - scaled * column, k = a.diagonal_k[j] - scaled * (outer + corrected);
    a.diagonal_p[j] = p;
    a.diagonal_k[j] = k;
    if (!a.gone[j]) best.join(fmax(0.0, k) / p, (int)j);
  }
  if (step + 1 == a.steps) return;
  best.join_block();
  if (threadIdx.x == 0) {
    a.block_costs[blockIdx.x] = best.cost;
    a.block_units[blockIdx.x] = best.unit;
    __threadfence();
    last = atomicAdd(a.finished, 1) == (int)gridDim.x - 1;
  }
  __syncthreads();
  if (!last) return;
  __threadfence();
  best = Choice();
  for (unsigned b = threadIdx.x; b < gridDim.x; b += THREADS) best.join(__ldcg(a.block_costs + b), __ldcg(a.block_units + b));
  best.join_block();
  if (threadIdx.x != 0) return;
  choose(a, step + 1, best);
  *a.finished = 0;
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
    const int64_t blocks = ceil_div(n, THREADS);
    double *work =
        static_cast<double *>(scratch(ctx, (int64_t)sizeof(double) * (2 * n + 2 + blocks) + (int64_t)sizeof(int) * (blocks + 1)));
    int *ints = reinterpret_cast<int *>(work + 2 * n + 2 + blocks);
    const Surgery a{pointer<double>(p),
                    pointer<double>(k),
                    n,
                    p->stride,
                    k->stride,
                    panel->stride,
                    pointer<int32_t>(gone),
                    pointer<int32_t>(pivots),
                    pointer<double>(costs),
                    pointer<double>(panel),
                    work,
                    work + n,
                    work + 2 * n,
                    work + 2 * n + 2,
                    ints,
                    ints + blocks,
                    steps};
    check(cudaMemsetAsync(a.finished, 0, sizeof(int), ctx->stream), "clearing a counter");
    diagonal_kernel<<<(unsigned)ceil_div(n, 256), 256, 0, ctx->stream>>>(a);
    first_kernel<<<1, CHOOSERS, 0, ctx->stream>>>(a);
    for (int step = 0; step < steps; step++) eliminate_kernel<<<(unsigned)blocks, THREADS, 0, ctx->stream>>>(a, step);
    launched();
  });
}
