// Losses over a row of logits, read once: one block per row, online log-sum-exp. And the gradient of a sampled token's.
#include "common.cuh"

namespace {

constexpr int THREADS = 512;

// exp(a - b) where either may be -infinity.
__device__ inline float scaled(float a, float b) {
  return a == -INFINITY ? 0 : expf(a - b);
}

// Running maximum, and sums of exp(x - maximum) and of exp(x - maximum) * weight. Sums in float64: four terms at a time are
// added in float32, so that this costs little on cards slow at it.
struct Running {
  float top = -INFINITY;
  double sum = 0, weighted = 0;

  __device__ void raise(float candidate) {
    if (candidate <= top) return;
    const float factor = scaled(top, candidate);
    sum *= factor;
    weighted *= factor;
    top = candidate;
  }

  template <int V> __device__ void take(const float (&x)[V], const float (&weight)[V]) {
    float most = x[0];
#pragma unroll
    for (int i = 1; i < V; i++) most = fmaxf(most, x[i]);
    raise(most);
    float part = 0, weighted_part = 0;
#pragma unroll
    for (int i = 0; i < V; i++) {
      const float e = scaled(x[i], top);
      part += e;
      weighted_part += e == 0 ? 0 : e * weight[i];
    }
    sum += part;
    weighted += weighted_part;
  }

  // The totals over the block, known to every thread.
  __device__ void combine() {
    __shared__ float shared[THREADS / 32];
    const float warp_top = warp_reduce(top, Max());
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = warp_top;
    __syncthreads();
    float all = -INFINITY;
    for (int w = 0; w < THREADS / 32; w++) all = fmaxf(all, shared[w]);
    const float factor = scaled(top, all);
    sum = block_sum(sum * factor);
    weighted = block_sum(weighted * factor);
    top = all;
  }

  __device__ double log_sum() const {
    return (double)top + log(sum);
  }
};

struct NllArgs {
  const float *logits;
  const int32_t *targets;
  double *nll;
  int32_t *argmax;
  int64_t stride, cols;
  uint64_t *fault;
};

struct Best {
  float value;
  int32_t index;
  __device__ void take(float v, int32_t i) {
    if (v > value || (v == value && i < index)) {
      value = v;
      index = i;
    }
  }
};

__device__ Best block_best(Best best) {
  __shared__ Best shared[THREADS / 32];
  for (int offset = 16; offset > 0; offset >>= 1) {
    best.take(__shfl_xor_sync(~0u, best.value, offset), __shfl_xor_sync(~0u, best.index, offset));
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = best;
  __syncthreads();
  for (int w = 0; w < THREADS / 32; w++) best.take(shared[w].value, shared[w].index);
  return best;
}

template <int V> __global__ void __launch_bounds__(THREADS) nll_kernel(NllArgs a) {
  const float *x = a.logits + blockIdx.x * a.stride;
  const int32_t target = a.targets[blockIdx.x];
  if (target >= a.cols && threadIdx.x == 0) raise_fault(a.fault, FAULT_TARGET, target);
  Running running;
  Best best{-INFINITY, INT32_MAX};
  for (int64_t col = threadIdx.x * V; col < a.cols; col += THREADS * V) {
    float v[V];
    load<V>(x + col, v);
    running.take(v, v);
    if (a.argmax) {
#pragma unroll
      for (int i = 0; i < V; i++) best.take(v[i], (int32_t)col + i);
    }
  }
  running.combine();
  if (a.argmax) best = block_best(best);
  if (threadIdx.x != 0) return;
  const bool counted = target >= 0 && target < a.cols;
  a.nll[blockIdx.x] = counted ? running.log_sum() - x[target] : 0;
  if (a.argmax) a.argmax[blockIdx.x] = best.index == INT32_MAX ? 0 : best.index; // a row of NaN alone has no largest
}

struct KlArgs {
  const float *p, *q;
  double *kl;
  int64_t p_stride, q_stride, cols;
};

// sum softmax(p) (p - q) - logsumexp(p) + logsumexp(q)
template <int V> __global__ void __launch_bounds__(THREADS) kl_kernel(KlArgs a) {
  const float *p = a.p + blockIdx.x * a.p_stride, *q = a.q + blockIdx.x * a.q_stride;
  Running of_p, of_q;
  for (int64_t col = threadIdx.x * V; col < a.cols; col += THREADS * V) {
    float x[V], y[V], difference[V];
    load<V>(p + col, x);
    load<V>(q + col, y);
#pragma unroll
    for (int i = 0; i < V; i++) difference[i] = x[i] - y[i];
    of_p.take(x, difference);
    of_q.take(y, y);
  }
  of_p.combine();
  of_q.combine();
  if (threadIdx.x == 0) a.kl[blockIdx.x] = of_p.weighted / of_p.sum - of_p.log_sum() + of_q.log_sum();
}

struct SampleArgs {
  float *logits;
  const float *uniforms;
  int32_t *ids;
  int64_t stride, cols;
  float softcap;
};

// The first read takes the sums, each warp those of a part of its own, so that the token is looked for in one part only.
template <int V> __global__ void __launch_bounds__(THREADS) sample_kernel(SampleArgs a) {
  constexpr int WARPS = THREADS / 32;
  __shared__ float tops[WARPS];
  __shared__ double sums[WARPS], scanned[WARPS];
  __shared__ int32_t found;
  float *x = a.logits + blockIdx.x * a.stride;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t part = ceil_div(ceil_div(a.cols, WARPS), 32 * V) * 32 * V;
  Running running;
  for (int64_t col = warp * part + lane * V; col < (warp + 1) * part && col < a.cols; col += 32 * V) {
    float v[V];
    load<V>(x + col, v);
    running.take(v, v);
  }
  const float warp_top = warp_reduce(running.top, Max());
  const double warp_sum = warp_reduce(running.sum * scaled(running.top, warp_top), Sum());
  if (lane == 0) {
    tops[warp] = warp_top;
    sums[warp] = warp_sum;
  }
  if (threadIdx.x == 0) found = INT32_MAX;
  __syncthreads();
  float top = -INFINITY;
  for (int w = 0; w < WARPS; w++) top = fmaxf(top, tops[w]);
  double total = 0;
  for (int w = 0; w < WARPS; w++) total += sums[w] * scaled(tops[w], top);
  const double target = a.uniforms[blockIdx.x] * total;
  double before = 0;
  int64_t start = a.cols;
  for (int w = 0; w < WARPS; w++) {
    const double sum = sums[w] * scaled(tops[w], top);
    if (before + sum > target) {
      start = w * part;
      break;
    }
    before += sum;
  }

  // Sums in another order round otherwise, so the token may be just beyond the part: the search ends at the row's end only.
  for (; start < a.cols; start += THREADS * V) {
    const int64_t col = start + threadIdx.x * V;
    float e[V];
    double sum = 0;
    if (col < a.cols) {
      load<V>(x + col, e);
#pragma unroll
      for (int i = 0; i < V; i++) {
        e[i] = scaled(e[i], top);
        sum += e[i];
      }
    }
    double inclusive = sum;
#pragma unroll
    for (int offset = 1; offset < 32; offset <<= 1) {
      const double other = __shfl_up_sync(~0u, inclusive, offset);
      if (lane >= offset) inclusive += other;
    }
    if (lane == 31) scanned[warp] = inclusive;
    __syncthreads();
    double reached = before;
    for (int w = 0; w < WARPS; w++) {
      if (w == warp) reached += inclusive - sum;
      if (w < warp) reached += scanned[w];
      before += scanned[w];
    }
    if (col < a.cols) {
      for (int i = 0; i < V; i++) {
        reached += e[i];
        if (e[i] > 0 && reached > target) {
          atomicMin(&found, (int32_t)col + i);
          break;
        }
      }
    }
    __syncthreads();
    if (found != INT32_MAX) break;
  }
  const int64_t id = found == INT32_MAX ? a.cols - 1 : found;
  if (threadIdx.x == 0) a.ids[blockIdx.x] = (int32_t)id;

  const float inverse = (float)(1 / total);
  for (int64_t col = threadIdx.x * V; col < a.cols; col += THREADS * V) {
    float v[V];
    load<V>(x + col, v);
#pragma unroll
    for (int i = 0; i < V; i++) {
      const float t = a.softcap > 0 ? v[i] / a.softcap : 0;
      v[i] = (scaled(v[i], top) * inverse - (col + i == id ? 1 : 0)) * (1 - t * t);
    }
    store<V>(x + col, v);
  }
}

} // namespace

int32_t mg_nll(mg_context *ctx, const mg_tensor *logits, const mg_tensor *targets, mg_tensor *nll, mg_tensor *argmax) {
  return guarded(ctx, "nll", [&] {
    require("logits", logits, {MG_F32});
    require_vector("targets", targets, MG_I32, logits->rows);
    require_vector("nll", nll, MG_F64, logits->rows);
    if (argmax) require_vector("argmax", argmax, MG_I32, logits->rows);
    if (empty(logits)) return;
    const NllArgs a{pointer<float>(logits),
                    pointer<int32_t>(targets),
                    pointer<double>(nll),
                    argmax ? pointer<int32_t>(argmax) : nullptr,
                    logits->stride,
                    logits->cols,
                    ctx->fault};
    if (logits->cols % 4 == 0 && aligned(logits, 16)) {
      nll_kernel<4><<<(unsigned)logits->rows, THREADS, 0, ctx->stream>>>(a);
    } else {
      nll_kernel<1><<<(unsigned)logits->rows, THREADS, 0, ctx->stream>>>(a);
    }
    launched();
  });
}

int32_t mg_kl_divergence(mg_context *ctx, const mg_tensor *p, const mg_tensor *q, mg_tensor *kl) {
  return guarded(ctx, "kl_divergence", [&] {
    require("p", p, {MG_F32});
    require("q", q, {MG_F32});
    require_shape("q", q, p->rows, p->cols);
    require_vector("kl", kl, MG_F64, p->rows);
    if (empty(p)) return;
    const KlArgs a{pointer<float>(p), pointer<float>(q), pointer<double>(kl), p->stride, q->stride, p->cols};
    if (p->cols % 4 == 0 && aligned(p, 16) && aligned(q, 16)) {
      kl_kernel<4><<<(unsigned)p->rows, THREADS, 0, ctx->stream>>>(a);
    } else {
      kl_kernel<1><<<(unsigned)p->rows, THREADS, 0, ctx->stream>>>(a);
    }
    launched();
  });
}

int32_t mg_sampled_gradient(mg_context *ctx, mg_tensor *logits, float softcap, const mg_tensor *uniforms, mg_tensor *ids) {
  return guarded(ctx, "sampled_gradient", [&] {
    require("logits", logits, {MG_F32});
    require_vector("uniforms", uniforms, MG_F32, logits->rows);
    require_vector("ids", ids, MG_I32, logits->rows);
    if (empty(logits)) return;
    if (logits->cols > INT32_MAX) fail(MG_EUNSUPPORTED, "%lld columns; 2^31 - 1 at most", (long long)logits->cols);
    const SampleArgs a{
        pointer<float>(logits), pointer<float>(uniforms), pointer<int32_t>(ids), logits->stride, logits->cols, softcap};
    if (logits->cols % 4 == 0 && aligned(logits, 16)) {
      sample_kernel<4><<<(unsigned)logits->rows, THREADS, 0, ctx->stream>>>(a);
    } else {
      sample_kernel<1><<<(unsigned)logits->rows, THREADS, 0, ctx->stream>>>(a);
    }
    launched();
  });
}
