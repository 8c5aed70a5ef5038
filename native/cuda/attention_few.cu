// Attention of few queries over many keys: bound by reading the keys and values. A block takes one share of the keys of one
// key/value head for up to ROWS of the (query, query head) pairs that read it; shares are merged by a second kernel.
#include "attention.cuh"

namespace {

constexpr int THREADS = 256;
constexpr int SHARE = 1024; // most keys per block
constexpr int LANES = 8;    // lanes that work on one key

struct FewArgs {
  Attention a;
  int shares;
  int64_t share; // of the keys that the longest sequence's queries see
  float *partial; // [batch, heads, queries, shares] of (dv sums, maximum, sum); null with one share
  uint64_t *fault;
};

__device__ inline void put(const Attention &a, int64_t row, int64_t col, float value) {
  if (a.out_bf16) {
    static_cast<bf16 *>(a.out)[row * a.out_stride + col] = __float2bfloat16_rn(value);
  } else {
    static_cast<float *>(a.out)[row * a.out_stride + col] = value;
  }
}

__device__ inline int64_t partial_index(const FewArgs &f, int64_t batch, int64_t head, int64_t query, int share) {
  return (((batch * f.a.heads + head) * f.a.queries + query) * f.shares + share) * (f.a.dv + 2);
}

template <class T, int ROWS, int V> __global__ void __launch_bounds__(THREADS) few_kernel(FewArgs f) {
  after_predecessor();
  extern __shared__ __align__(16) float shared[];
  const Attention &a = f.a;
  const int width = (a.dk + 7) / 8 * 8;
  float *q = shared;                     // [ROWS, width]
  float *logits = q + ROWS * width;      // [ROWS, share]
  float *sums = logits + ROWS * f.share; // [THREADS * V]
  __shared__ float tops[ROWS], totals[ROWS];

  const int rows_of_head = a.group * (int)a.queries;
  const int row_blocks = (rows_of_head + ROWS - 1) / ROWS;
  const int kv_head = blockIdx.y / row_blocks, first = blockIdx.y % row_blocks * ROWS;
  const int rows = min(ROWS, rows_of_head - first);
  const int64_t batch = blockIdx.z;
  const auto query_of = [&](int r) { return (first + r) / a.group; };
  const auto head_of = [&](int r) { return kv_head * a.group + (first + r) % a.group; };
  const int64_t keys = a.counts ? a.counts[batch] : a.keys;
  const int64_t first_row = a.first_rows ? a.first_rows[batch] : batch * a.key_capacity;
  if (a.counts && (keys < a.queries || keys > a.keys || first_row < 0 || first_row + keys > a.key_rows)) {
    if (threadIdx.x == 0) raise_fault(f.fault, FAULT_SPAN, (int)batch);
    return;
  }
  const int64_t first_position = keys - a.queries;
  const int64_t last_position = first_position + query_of(rows - 1);
  const int64_t begin = a.first_key(first_position) + blockIdx.x * f.share;
  const int count = (int)max((int64_t)0, min(f.share, last_position + 1 - begin));

  for (int i = threadIdx.x; i < ROWS * width; i += THREADS) {
    const int r = i / width, c = i % width;
    q[i] =
        r < rows && c < a.dk ? a.q[(batch * a.queries + query_of(r)) * a.q_stride + (int64_t)head_of(r) * a.dk + c] * a.scale : 0;
  }
  __syncthreads();

  const T *k = static_cast<const T *>(a.k) + (first_row + begin) * a.k_stride + (int64_t)kv_head * a.dk;
  for (int key = threadIdx.x / LANES; key < (count + 3) / 4 * 4; key += THREADS / LANES) {
    float dot[ROWS] = {};
    if (key < count) {
      const T *row = k + key * a.k_stride;
#pragma unroll 4
      for (int c = threadIdx.x % LANES * V; c < a.dk; c += LANES * V) {
        float x[V];
        load<V>(row + c, x);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
#pragma unroll
          for (int i = 0; i < V; i++) dot[r] += x[i] * q[r * width + c + i];
        }
      }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
      for (int offset = LANES / 2; offset > 0; offset >>= 1) dot[r] += __shfl_xor_sync(~0u, dot[r], offset);
      if (threadIdx.x % LANES == 0 && key < count && r < rows) {
        const int64_t position = first_position + query_of(r);
        const bool seen = begin + key <= position && begin + key >= a.first_key(position);
        const float logit = a.softcap > 0 ? a.softcap * tanhf(dot[r] / a.softcap) : dot[r];
        logits[r * f.share + key] = seen ? logit : -INFINITY;
      }
    }
  }
  __syncthreads();

  for (int r = threadIdx.x / 32; r < rows; r += THREADS / 32) {
    float top = -INFINITY, total = 0;
    for (int key = threadIdx.x % 32; key < count; key += 32) top = fmaxf(top, logits[r * f.share + key]);
    top = warp_reduce(top, Max());
    for (int key = threadIdx.x % 32; key < count; key += 32) {
      const float logit = logits[r * f.share + key];
      const float e = logit == -INFINITY ? 0 : expf(logit - top);
      logits[r * f.share + key] = e;
      total += e;
    }
    total = warp_reduce(total, Sum());
    if (threadIdx.x % 32 == 0) {
      tops[r] = top;
      totals[r] = total;
    }
  }
  __syncthreads();

  const T *v = static_cast<const T *>(a.v) + (first_row + begin) * a.v_stride + (int64_t)kv_head * a.dv;
  for (int c0 = 0; c0 < a.dv; c0 += THREADS * V) {
    const int pieces = min((a.dv - c0 + V - 1) / V, THREADS);
    const int sharers = THREADS / pieces; // threads that work on the same columns
    const int piece = threadIdx.x % pieces, sharer = threadIdx.x / pieces;
    float sum[ROWS][V] = {};
    if (sharer < sharers) {
#pragma unroll 4
      for (int key = sharer; key < count; key += sharers) {
        float x[V];
        load<V>(v + key * a.v_stride + c0 + piece * V, x);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
          const float weight = logits[r * f.share + key];
#pragma unroll
          for (int i = 0; i < V; i++) sum[r][i] += weight * x[i];
        }
      }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      __syncthreads();
      if (sharer < sharers) store<V>(&sums[(sharer * pieces + piece) * V], sum[r]);
      __syncthreads();
      if (r >= rows) continue;
      for (int c = threadIdx.x; c < pieces * V; c += THREADS) {
        float all = 0;
        for (int s = 0; s < sharers; s++) all += sums[s * pieces * V + c];
        if (f.partial) {
          f.partial[partial_index(f, batch, head_of(r), query_of(r), blockIdx.x) + c0 + c] = all;
        } else {
          put(a, batch * a.queries + query_of(r), (int64_t)head_of(r) * a.dv + c0 + c, all / totals[r]);
        }
      }
    }
  }
  if (f.partial && (int)threadIdx.x < rows) {
    float *ends = f.partial + partial_index(f, batch, head_of(threadIdx.x), query_of(threadIdx.x), blockIdx.x) + a.dv;
    ends[0] = tops[threadIdx.x];
    ends[1] = totals[threadIdx.x];
  }
}

__global__ void __launch_bounds__(128) merge_kernel(FewArgs f) {
  after_predecessor();
  const int64_t query = blockIdx.x, head = blockIdx.y, batch = blockIdx.z;
  const float *partial = f.partial + partial_index(f, batch, head, query, 0);
  const int step = f.a.dv + 2;
  float top = -INFINITY, total = 0;
  for (int s = 0; s < f.shares; s++) top = fmaxf(top, partial[s * step + f.a.dv]);
  for (int s = 0; s < f.shares; s++) total += partial[s * step + f.a.dv + 1] * expf(partial[s * step + f.a.dv] - top);
  for (int c = threadIdx.x; c < f.a.dv; c += 128) {
    float sum = 0;
    for (int s = 0; s < f.shares; s++) sum += partial[s * step + c] * expf(partial[s * step + f.a.dv] - top);
    put(f.a, batch * f.a.queries + query, head * f.a.dv + c, sum / total);
  }
}

template <class T, int ROWS, int V> void launch(mg_context *ctx, const FewArgs &f) {
  const Attention &a = f.a;
  const size_t bytes = sizeof(float) * (ROWS * ((a.dk + 7) / 8 * 8 + f.share) + THREADS * V);
  if (bytes > 48 * 1024) {
    if (bytes > (size_t)ctx->shared_limit) fail(MG_EUNSUPPORTED, "heads of %d columns", a.dk);
    ask_for_shared(few_kernel<T, ROWS, V>, (int)bytes);
  }
  const int64_t row_blocks = ceil_div(a.group * a.queries, ROWS);
  if (row_blocks * a.kv_heads > 65535)
    fail(MG_EUNSUPPORTED, "%lld queries of heads of %d and %d columns", (long long)a.queries, a.dk, a.dv);
  const dim3 grid((unsigned)f.shares, (unsigned)(row_blocks * a.kv_heads), (unsigned)a.batch);
  launch_early(ctx, few_kernel<T, ROWS, V>, grid, THREADS, bytes, f);
  if (!f.partial) return;
  launch_early(ctx, merge_kernel, dim3((unsigned)a.queries, (unsigned)a.heads, (unsigned)a.batch), 128, 0, f);
}

template <class T, int V> void launch_rows(mg_context *ctx, FewArgs f) {
  const Attention &a = f.a;
  const int64_t rows = a.group * a.queries;
  const int rows_per_block = rows >= 8 ? 8 : rows > 2 ? 4 : (int)rows;
  // enough blocks to fill the device, with at least 64 keys each
  const int64_t span = a.keys - a.first_key(a.keys - a.queries);
  const int64_t blocks = ceil_div(rows, rows_per_block) * a.kv_heads * a.batch;
  int64_t shares = ceil_div(4 * (int64_t)ctx->multiprocessors, blocks);
  if (shares > ceil_div(span, 64)) shares = ceil_div(span, 64);
  if (shares < ceil_div(span, SHARE)) shares = ceil_div(span, SHARE);
  f.share = ceil_div(ceil_div(span, shares), 4) * 4; // keeps the arrays behind the logits on 16 bytes
  f.shares = (int)ceil_div(span, f.share);
  f.partial = nullptr;
  if (f.shares > 1) {
    f.partial =
        static_cast<float *>(scratch(ctx, (int64_t)sizeof(float) * a.batch * a.heads * a.queries * f.shares * (a.dv + 2)));
  }
  switch (rows_per_block) {
  case 1:
    return launch<T, 1, V>(ctx, f);
  case 2:
    return launch<T, 2, V>(ctx, f);
  case 4:
    return launch<T, 4, V>(ctx, f);
  default:
    return launch<T, 8, V>(ctx, f);
  }
}

bool rows_aligned(const void *data, int64_t stride, int cols, int element, int bytes) {
  return reinterpret_cast<uintptr_t>(data) % bytes == 0 && stride * element % bytes == 0 && (int64_t)cols * element % bytes == 0;
}

} // namespace

void attend_few(mg_context *ctx, const Attention &a) {
  FewArgs f{a, 1, 0, nullptr, ctx->fault};
  const int element = a.kv_bf16 ? 2 : 4;
  const auto vector = [&](int bytes) {
    return rows_aligned(a.k, a.k_stride, a.dk, element, bytes) && rows_aligned(a.v, a.v_stride, a.dv, element, bytes);
  };
  if (a.kv_bf16) {
    vector(16) ? launch_rows<bf16, 8>(ctx, f) : vector(8) ? launch_rows<bf16, 4>(ctx, f) : launch_rows<bf16, 1>(ctx, f);
  } else {
    vector(16) ? launch_rows<float, 4>(ctx, f) : launch_rows<float, 1>(ctx, f);
  }
}
