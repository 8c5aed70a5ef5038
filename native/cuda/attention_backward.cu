// Gradients of attention in float32: products of 64 x 64 tiles, once from the queries' side and once from the keys', so that
// every sum has one owner and an order of its own. The head size is walked in chunks, so any runs with the same shared memory;
// the gradients themselves are the accumulators, each element read and written by one thread.
#include "common.cuh"

namespace {

constexpr int TILE = 64, THREADS = 256, CHUNK = 32;

struct Gradients {
  const float *q, *k, *v, *dout;
  float *dq, *dk, *dv;
  int64_t q_stride, k_stride, v_stride, dout_stride, dq_stride, dk_stride, dv_stride;
  int64_t length; // of a sequence
  int heads, kv_heads, group;
  int dim, v_dim;
  int window;
  float scale, softcap;
  float *log_sums, *means; // [batch, heads, length]: log-sum-exp of a query's logits, and the mean of dout v under its softmax

  __device__ bool sees(int64_t query, int64_t key) const {
    return query < length && key <= query && (window <= 0 || key > query - window);
  }
};

// Up to TILE rows of one head.
struct Rows {
  const float *data;
  int64_t stride;
  int count, dim;
};

__device__ inline Rows rows_of(const float *data, int64_t stride, int dim, int head, const Gradients &g, int64_t first) {
  return {data + (blockIdx.z * g.length + first) * stride + (int64_t)head * dim, stride,
          (int)(g.length - first < TILE ? g.length - first : TILE), dim};
}

// What is outside the rows or the head is zero.
template <bool WIDE> __device__ inline float4 fetch(const Rows &x, int row, int col) {
  if (row >= x.count || col >= x.dim) return {0, 0, 0, 0};
  const float *p = x.data + row * x.stride + col;
  if (WIDE) return *reinterpret_cast<const float4 *>(p);
  return {p[0], col + 1 < x.dim ? p[1] : 0, col + 2 < x.dim ? p[2] : 0, col + 3 < x.dim ? p[3] : 0};
}

// Place of an element of a matrix with TILE columns. Groups of 4 columns change places with the row, so that both a column's
// and a row's groups lie in different banks.
__device__ inline int place(int row, int col) { return row * TILE + (col ^ row / 4 % 8 * 4); }

__device__ inline void multiply(float (&sum)[4][4], float4 x, float4 y) {
  const float a[4] = {x.x, x.y, x.z, x.w}, b[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
#pragma unroll
    for (int j = 0; j < 4; j++) sum[i][j] = fmaf(a[i], b[j], sum[i][j]);
  }
}

struct Shared {
  union {
    struct {
      float a[CHUNK * TILE], b[CHUNK * TILE];
    };
    float x[TILE * TILE];
  };
  float weights[TILE * TILE]; // [column, row]
};

// A thread's 4 rows of a tile start at row4(), its 4 columns at col4(); 16 neighbouring lanes share the rows.
__device__ inline int row4() { return threadIdx.x / 16 * 4; }
__device__ inline int col4() { return threadIdx.x % 16 * 4; }

// sum = a bᵀ
template <bool WIDE> __device__ void dot_rows(Shared &shared, const Rows &a, const Rows &b, float (&sum)[4][4]) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
#pragma unroll
    for (int j = 0; j < 4; j++) sum[i][j] = 0;
  }
  constexpr int GROUPS = CHUNK / 4, STEP = THREADS / GROUPS;
  const int row = threadIdx.x / GROUPS, col = threadIdx.x % GROUPS * 4;
  for (int c = 0; c < a.dim; c += CHUNK) {
    float4 x[TILE / STEP], y[TILE / STEP];
#pragma unroll
    for (int i = 0; i < TILE / STEP; i++) {
      x[i] = fetch<WIDE>(a, row + i * STEP, c + col);
      y[i] = fetch<WIDE>(b, row + i * STEP, c + col);
    }
    __syncthreads(); // nobody reads the last chunk any more
#pragma unroll
    for (int i = 0; i < TILE / STEP; i++) {
      const float u[4] = {x[i].x, x[i].y, x[i].z, x[i].w}, w[4] = {y[i].x, y[i].y, y[i].z, y[i].w};
#pragma unroll
      for (int j = 0; j < 4; j++) {
        shared.a[place(col + j, row + i * STEP)] = u[j];
        shared.b[place(col + j, row + i * STEP)] = w[j];
      }
    }
    __syncthreads();
#pragma unroll 8
    for (int d = 0; d < CHUNK; d++) {
      multiply(sum, *reinterpret_cast<const float4 *>(shared.a + place(d, row4())),
               *reinterpret_cast<const float4 *>(shared.b + place(d, col4())));
    }
  }
}

// y = weights x, or, after the first time, y += weights x.
template <bool WIDE>
__device__ void add_weighted(Shared &shared, const float (&weights)[4][4], const Rows &x, float *y, int64_t y_stride, int y_rows,
                             bool first) {
  __syncthreads(); // nobody reads the last weights any more
#pragma unroll
  for (int j = 0; j < 4; j++) {
    *reinterpret_cast<float4 *>(shared.weights + place(col4() + j, row4())) = {weights[0][j], weights[1][j], weights[2][j],
                                                                               weights[3][j]};
  }
  constexpr int STEP = THREADS / (TILE / 4);
  const int row = threadIdx.x / (TILE / 4);
  for (int c = 0; c < x.dim; c += TILE) {
    float4 part[TILE / STEP];
#pragma unroll
    for (int i = 0; i < TILE / STEP; i++) part[i] = fetch<WIDE>(x, row + i * STEP, c + col4());
    __syncthreads();
#pragma unroll
    for (int i = 0; i < TILE / STEP; i++) *reinterpret_cast<float4 *>(shared.x + (row + i * STEP) * TILE + col4()) = part[i];
    __syncthreads();
    float sum[4][4] = {};
#pragma unroll 8
    for (int o = 0; o < TILE; o++) {
      multiply(sum, *reinterpret_cast<const float4 *>(shared.weights + place(o, row4())),
               *reinterpret_cast<const float4 *>(shared.x + o * TILE + col4()));
    }
    const int col = c + col4();
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (row4() + i >= y_rows) break;
      float *p = y + (row4() + i) * y_stride + col;
      if (WIDE) {
        if (col >= x.dim) break;
        const float4 old = first ? float4{0, 0, 0, 0} : *reinterpret_cast<const float4 *>(p);
        *reinterpret_cast<float4 *>(p) = {old.x + sum[i][0], old.y + sum[i][1], old.z + sum[i][2], old.w + sum[i][3]};
      } else {
#pragma unroll
        for (int j = 0; j < 4; j++) {
          if (col + j < x.dim) p[j] = (first ? 0 : p[j]) + sum[i][j];
        }
      }
    }
  }
}

__device__ inline float logit(const Gradients &g, float dot) {
  const float x = dot * g.scale;
  return g.softcap > 0 ? g.softcap * tanhf(x / g.softcap) : x;
}

// The derivative of a logit by the product of query and key.
__device__ inline float slope(const Gradients &g, float logit) {
  const float t = g.softcap > 0 ? logit / g.softcap : 0;
  return g.scale * (1 - t * t);
}

// A block takes a tile of queries of one head, twice over the keys: for the sums of the softmax, then for dq.
template <bool WIDE> __global__ void __launch_bounds__(THREADS, 2) query_kernel(Gradients g) {
  __shared__ __align__(16) Shared shared;
  const int head = blockIdx.x % g.heads, kv = head / g.group;
  // the last queries see the most keys: they start first, so that the short blocks fill the end
  const int64_t q0 = (int64_t)(gridDim.x / g.heads - 1 - blockIdx.x / g.heads) * TILE;
  const Rows q = rows_of(g.q, g.q_stride, g.dim, head, g, q0), dout = rows_of(g.dout, g.dout_stride, g.v_dim, head, g, q0);
  const int64_t first = g.window > 0 && q0 >= g.window ? (q0 - g.window + 1) / TILE * TILE : 0;

  float s[4][4], dp[4][4];
  float top[4], total[4] = {}, weighted[4] = {}; // a thread's columns alone
#pragma unroll
  for (int i = 0; i < 4; i++) top[i] = -INFINITY;
  for (int64_t k0 = first; k0 <= q0; k0 += TILE) {
    dot_rows<WIDE>(shared, q, rows_of(g.k, g.k_stride, g.dim, kv, g, k0), s);
    dot_rows<WIDE>(shared, dout, rows_of(g.v, g.v_stride, g.v_dim, kv, g, k0), dp);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      float most = top[i];
#pragma unroll
      for (int j = 0; j < 4; j++) {
        s[i][j] = g.sees(q0 + row4() + i, k0 + col4() + j) ? logit(g, s[i][j]) : -INFINITY;
        most = fmaxf(most, s[i][j]);
      }
      if (most > top[i]) {
        const float factor = expf(top[i] - most);
        total[i] *= factor;
        weighted[i] *= factor;
        top[i] = most;
      }
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const float e = s[i][j] == -INFINITY ? 0 : expf(s[i][j] - top[i]);
        total[i] += e;
        weighted[i] += e * dp[i][j];
      }
    }
  }
  float log_sum[4], mean[4];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    float most = top[i];
#pragma unroll
    for (int offset = 8; offset > 0; offset >>= 1) most = fmaxf(most, __shfl_xor_sync(~0u, most, offset));
    const float factor = top[i] == -INFINITY ? 0 : expf(top[i] - most);
    float sum = total[i] * factor, sum_weighted = weighted[i] * factor;
#pragma unroll
    for (int offset = 8; offset > 0; offset >>= 1) {
      sum += __shfl_xor_sync(~0u, sum, offset);
      sum_weighted += __shfl_xor_sync(~0u, sum_weighted, offset);
    }
    log_sum[i] = most + logf(sum);
    mean[i] = sum_weighted / sum;
    const int64_t query = q0 + row4() + i;
    if (threadIdx.x % 16 == 0 && query < g.length) {
      const int64_t at = ((int64_t)blockIdx.z * g.heads + head) * g.length + query;
      g.log_sums[at] = log_sum[i];
      g.means[at] = mean[i];
    }
  }

  float *dq = g.dq + (blockIdx.z * g.length + q0) * g.dq_stride + (int64_t)head * g.dim;
  for (int64_t k0 = first; k0 <= q0; k0 += TILE) {
    const Rows k = rows_of(g.k, g.k_stride, g.dim, kv, g, k0);
    dot_rows<WIDE>(shared, q, k, s);
    dot_rows<WIDE>(shared, dout, rows_of(g.v, g.v_stride, g.v_dim, kv, g, k0), dp);
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const float l = logit(g, s[i][j]);
        const bool seen = g.sees(q0 + row4() + i, k0 + col4() + j);
        s[i][j] = seen ? expf(l - log_sum[i]) * (dp[i][j] - mean[i]) * slope(g, l) : 0;
      }
    }
    add_weighted<WIDE>(shared, s, k, dq, g.dq_stride, q.count, k0 == first);
  }
}

// A block takes a tile of keys of one key/value head, and all queries that see some of it.
template <bool WIDE> __global__ void __launch_bounds__(THREADS, 2) key_kernel(Gradients g) {
  __shared__ __align__(16) Shared shared;
  const int kv = blockIdx.x % g.kv_heads;
  const int64_t k0 = (int64_t)(blockIdx.x / g.kv_heads) * TILE; // the first keys are seen by the most queries
  const Rows k = rows_of(g.k, g.k_stride, g.dim, kv, g, k0), v = rows_of(g.v, g.v_stride, g.v_dim, kv, g, k0);
  const int64_t windowed = k0 + TILE - 1 + g.window; // the first query that none of these keys is in the window of
  const int64_t end = g.window > 0 && windowed < g.length ? windowed : g.length;
  float *dk = g.dk + (blockIdx.z * g.length + k0) * g.dk_stride + (int64_t)kv * g.dim;
  float *dv = g.dv + (blockIdx.z * g.length + k0) * g.dv_stride + (int64_t)kv * g.v_dim;
  bool first = true;
  for (int head = kv * g.group; head < (kv + 1) * g.group; head++) {
    const int64_t sums = ((int64_t)blockIdx.z * g.heads + head) * g.length;
    for (int64_t q0 = k0; q0 < end; q0 += TILE) {
      const Rows q = rows_of(g.q, g.q_stride, g.dim, head, g, q0), dout = rows_of(g.dout, g.dout_stride, g.v_dim, head, g, q0);
      float s[4][4], dp[4][4];
      dot_rows<WIDE>(shared, k, q, s);
      dot_rows<WIDE>(shared, v, dout, dp);
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const int64_t query = q0 + col4() + j;
        const float log_sum = query < g.length ? g.log_sums[sums + query] : 0;
        const float mean = query < g.length ? g.means[sums + query] : 0;
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const float l = logit(g, s[i][j]);
          s[i][j] = g.sees(query, k0 + row4() + i) ? expf(l - log_sum) : 0;
          dp[i][j] = s[i][j] * (dp[i][j] - mean) * slope(g, l);
        }
      }
      add_weighted<WIDE>(shared, s, dout, dv, g.dv_stride, k.count, first);
      add_weighted<WIDE>(shared, dp, q, dk, g.dk_stride, k.count, first);
      first = false;
    }
  }
}

Gradients checked(const mg_tensor *q, const mg_tensor *k, const mg_tensor *v, const mg_attention_params *p, const mg_tensor *dout,
                  mg_tensor *dq, mg_tensor *dk, mg_tensor *dv) {
  if (!p) fail(MG_EINVAL, "params is NULL");
  require("q", q, {MG_F32});
  require("k", k, {MG_F32});
  require("v", v, {MG_F32});
  require("dout", dout, {MG_F32});
  require("dq", dq, {MG_F32});
  require("dk", dk, {MG_F32});
  require("dv", dv, {MG_F32});
  if (p->heads <= 0 || p->kv_heads <= 0 || p->heads % p->kv_heads != 0) {
    fail(MG_EINVAL, "%d key/value heads do not divide %d heads", p->kv_heads, p->heads);
  }
  if (p->batch < 0 || p->queries < 0 || p->queries != p->keys || p->keys != p->key_capacity) {
    fail(MG_EINVAL, "batch %lld, queries %lld, keys %lld, capacity %lld: queries = keys = capacity must hold",
         (long long)p->batch, (long long)p->queries, (long long)p->keys, (long long)p->key_capacity);
  }
  if (q->cols % p->heads != 0) fail(MG_EINVAL, "q's %lld columns are not %d heads", (long long)q->cols, p->heads);
  if (v->cols % p->kv_heads != 0) fail(MG_EINVAL, "v's %lld columns are not %d heads", (long long)v->cols, p->kv_heads);
  const int64_t rows = p->batch * p->queries, dim = q->cols / p->heads, v_dim = v->cols / p->kv_heads;
  require_shape("q", q, rows, q->cols);
  require_shape("k", k, rows, p->kv_heads * dim);
  require_shape("v", v, rows, v->cols);
  require_shape("dout", dout, rows, p->heads * v_dim);
  require_shape("dq", dq, rows, q->cols);
  require_shape("dk", dk, rows, k->cols);
  require_shape("dv", dv, rows, v->cols);
  if (p->keys > 1 << 24) fail(MG_EUNSUPPORTED, "%lld keys; 2^24 at most", (long long)p->keys);
  if (p->window < 0) fail(MG_EINVAL, "window is %d; it must not be negative", p->window);
  if (p->batch > 65535) fail(MG_EUNSUPPORTED, "a batch of %lld; 65535 at most", (long long)p->batch);
  return {pointer<float>(q),
          pointer<float>(k),
          pointer<float>(v),
          pointer<float>(dout),
          pointer<float>(dq),
          pointer<float>(dk),
          pointer<float>(dv),
          q->stride,
          k->stride,
          v->stride,
          dout->stride,
          dq->stride,
          dk->stride,
          dv->stride,
          p->queries,
          p->heads,
          p->kv_heads,
          p->heads / p->kv_heads,
          (int)dim,
          (int)v_dim,
          p->window,
          p->scale,
          p->softcap,
          nullptr,
          nullptr};
}

template <bool WIDE> void launch(mg_context *ctx, const Gradients &g, int64_t batch) {
  const int64_t tiles = ceil_div(g.length, TILE);
  query_kernel<WIDE><<<dim3((unsigned)(tiles * g.heads), 1, (unsigned)batch), THREADS, 0, ctx->stream>>>(g);
  launched();
  key_kernel<WIDE><<<dim3((unsigned)(tiles * g.kv_heads), 1, (unsigned)batch), THREADS, 0, ctx->stream>>>(g);
  launched();
}

} // namespace

int32_t mg_attention_backward(mg_context *ctx, const mg_tensor *q, const mg_tensor *k, const mg_tensor *v,
                              const mg_attention_params *params, const mg_tensor *dout, mg_tensor *dq, mg_tensor *dk,
                              mg_tensor *dv) {
  return guarded(ctx, "attention_backward", [&] {
    Gradients g = checked(q, k, v, params, dout, dq, dk, dv);
    if (q->rows == 0) return;
    if (g.dim == 0) fail(MG_EINVAL, "q has no columns");
    const int64_t sums = params->batch * g.heads * g.length;
    g.log_sums = static_cast<float *>(scratch(ctx, 2 * sums * (int64_t)sizeof(float)));
    g.means = g.log_sums + sums;
    bool wide = g.dim % 4 == 0 && g.v_dim % 4 == 0;
    for (const mg_tensor *x : {q, k, v, dout, (const mg_tensor *)dq, (const mg_tensor *)dk, (const mg_tensor *)dv}) {
      wide = wide && aligned(x, 16);
    }
    wide ? launch<true>(ctx, g, params->batch) : launch<false>(ctx, g, params->batch);
  });
}
