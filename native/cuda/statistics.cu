// Sums over tokens, added to float64 outputs. Everything is summed in a fixed order: two runs give the same bits.
#include "common.cuh"

namespace {

// ---- c += xᵀ y ------------------------------------------------------------------------------------------------------

constexpr int TILE = 64;   // columns of x and of y per block; each of 256 threads owns 4 x 4 results
constexpr int STEP = 16;   // rows per round trip through shared memory
constexpr int FLUSH = 128; // rows summed in float32 before they join the float64 sum

struct GramArgs {
  const float *x, *y;
  double *c;
  int64_t rows, n, m, x_stride, y_stride, c_stride;
  int64_t x_head, c_head; // distance from one head (blockIdx.z) to the next
  bool lower;             // x is y: blocks above the diagonal have nothing to do
  bool mirror;            // and what they would have written is written from below
};

__device__ inline void fetch(const float *base, int64_t stride, int64_t rows, int64_t cols, int64_t row, int64_t col,
                             float (&v)[4]) {
#pragma unroll
  for (int i = 0; i < 4; i++) v[i] = row < rows && col + i < cols ? base[row * stride + col + i] : 0;
}

template <bool ALIGNED>
__device__ inline void fetch4(const float *base, int64_t stride, int64_t rows, int64_t cols, int64_t row, int64_t col,
                              float (&v)[4]) {
  if (ALIGNED && row < rows && col + 4 <= cols) {
    load<4>(base + row * stride + col, v);
  } else {
    fetch(base, stride, rows, cols, row, col, v);
  }
}

template <bool ALIGNED> __global__ void __launch_bounds__(256) gram_kernel(GramArgs a) {
  if (a.lower && blockIdx.x > blockIdx.y) return;
  __shared__ __align__(16) float xs[STEP][TILE], ys[STEP][TILE];
  const int64_t i0 = (int64_t)blockIdx.y * TILE, j0 = (int64_t)blockIdx.x * TILE;
  const float *x = a.x + blockIdx.z * a.x_head, *y = a.y + blockIdx.z * a.x_head;
  double *c = a.c + blockIdx.z * a.c_head;
  const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;

  float part[4][4] = {};
  double sum[4][4] = {};
  float next_x[4], next_y[4];
  fetch4<ALIGNED>(x, a.x_stride, a.rows, a.n, ty, i0 + tx * 4, next_x);
  fetch4<ALIGNED>(y, a.y_stride, a.rows, a.m, ty, j0 + tx * 4, next_y);
  for (int64_t row = 0; row < a.rows; row += STEP) {
    __syncthreads();
    store<4>(&xs[ty][tx * 4], next_x);
    store<4>(&ys[ty][tx * 4], next_y);
    __syncthreads();
    if (row + STEP < a.rows) {
      fetch4<ALIGNED>(x, a.x_stride, a.rows, a.n, row + STEP + ty, i0 + tx * 4, next_x);
      fetch4<ALIGNED>(y, a.y_stride, a.rows, a.m, row + STEP + ty, j0 + tx * 4, next_y);
    }
#pragma unroll
    for (int k = 0; k < STEP; k++) {
      float p[4], q[4];
      load<4>(&xs[k][ty * 4], p);
      load<4>(&ys[k][tx * 4], q);
#pragma unroll
      for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) part[i][j] += p[i] * q[j];
      }
    }
    if ((row + STEP) % FLUSH == 0 || row + STEP >= a.rows) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
          sum[i][j] += part[i][j];
          part[i][j] = 0;
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const int64_t r = i0 + ty * 4 + i, s = j0 + tx * 4 + j;
      if (r >= a.n || s >= a.m || (a.lower && s > r)) continue;
      c[r * a.c_stride + s] += sum[i][j];
      if (a.mirror && s < r) c[s * a.c_stride + r] += sum[i][j];
    }
  }
}

void gram(mg_context *ctx, const GramArgs &a, unsigned heads, bool vector) {
  const dim3 grid((unsigned)ceil_div(a.m, TILE), (unsigned)ceil_div(a.n, TILE), heads);
  if (grid.y > 65535 || heads > 65535) fail(MG_EINVAL, "%lld columns are too many", (long long)a.n);
  if (vector) {
    gram_kernel<true><<<grid, 256, 0, ctx->stream>>>(a);
  } else {
    gram_kernel<false><<<grid, 256, 0, ctx->stream>>>(a);
  }
  launched();
}

// ---- shares of the rotary pairs in the logits -----------------------------------------------------------------------

struct LogitArgs {
  const float *q, *k;
  const int32_t *queries;
  double *partial; // [heads, shares, h, h]
  float *weights;  // [heads, shares, tokens]
  int64_t q_stride, k_stride, count, h, tokens;
  int group, shares;
  float scale;
};

__device__ inline float block_reduce(float v, bool maximum, float *shared) {
  for (int offset = 16; offset > 0; offset /= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, v, offset);
    v = maximum ? fmaxf(v, other) : v + other;
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = v;
  __syncthreads();
  v = shared[0];
  for (unsigned i = 1; i < blockDim.x / 32; i++) v = maximum ? fmaxf(v, shared[i]) : v + shared[i];
  return v;
}

constexpr int PAIRS = 64;     // rotary pairs of one tile side: with both coordinates 128 columns of the keys
constexpr int LOGIT_KEYS = 16; // keys per round trip through shared memory

// Centred keys of PAIRS pairs from `first` on, both coordinates; those of `weighted` times their weight.
__device__ inline void logit_tile(const LogitArgs &a, const float *keys, const float *w, const float *mean, int64_t key0, int64_t n,
                                  float least, int64_t first, bool weighted, float (*tile)[2 * PAIRS]) {
  const int64_t half = a.h / 2;
  for (int e = threadIdx.x; e < LOGIT_KEYS * 2 * PAIRS; e += 256) {
    const int row = e / (2 * PAIRS), col = e % (2 * PAIRS);
    const int64_t key = key0 + row, pair = first + col % PAIRS, t = pair + (col < PAIRS ? 0 : half);
    float value = 0;
    if (key < n && pair < half && w[key] >= least) {
      value = keys[key * a.k_stride + t] - mean[t];
      if (weighted) value *= w[key];
    }
    tile[row][col] = value;
  }
}

// One block per head and share of the queries. A thread forms the covariance of the keys between 4 pairs and 4 pairs, which is
// all that the same pairs' covariance of the features needs: they are linear in the key.
__global__ void __launch_bounds__(256) logit_kernel(LogitArgs a) {
  __shared__ float query[256], mean[256], reduce[8];
  __shared__ __align__(16) float xs[LOGIT_KEYS][2 * PAIRS], ys[LOGIT_KEYS][2 * PAIRS];
  const int64_t head = blockIdx.x, h = a.h, half = h / 2;
  const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  const float *keys = a.k + head / a.group * h;
  float *w = a.weights + (head * a.shares + blockIdx.y) * a.tokens;
  double *out = a.partial + (head * a.shares + blockIdx.y) * h * h;
  for (int64_t i = blockIdx.y; i < a.count; i += a.shares) {
    const int64_t m = a.queries[i], n = m + 1;
    __syncthreads();
    for (int64_t t = threadIdx.x; t < h; t += blockDim.x) query[t] = a.q[m * a.q_stride + head * h + t] * a.scale;
    __syncthreads();
    float top = -INFINITY;
    for (int64_t key = threadIdx.x; key < n; key += blockDim.x) {
      float dot = 0;
      for (int64_t t = 0; t < h; t++) dot += query[t] * keys[key * a.k_stride + t];
      w[key] = dot;
      top = fmaxf(top, dot);
    }
    top = block_reduce(top, true, reduce);
    float sum = 0;
    for (int64_t key = threadIdx.x; key < n; key += blockDim.x) {
      w[key] = expf(w[key] - top);
      sum += w[key];
    }
    sum = block_reduce(sum, false, reduce);
    for (int64_t t = threadIdx.x; t < h; t += blockDim.x) {
      float value = 0;
#pragma unroll 8
      for (int64_t key = 0; key < n; key++) value += w[key] * keys[key * a.k_stride + t];
      mean[t] = value / sum;
    }
    __syncthreads();
    const float least = 1e-7f * sum, inv = 1 / sum;
    for (int64_t x0 = 0; x0 < half; x0 += PAIRS) {
      for (int64_t y0 = 0; y0 < half; y0 += PAIRS) {
        float s[8][8] = {}; // rows: 4 first coordinates, then 4 second ones
        for (int64_t key0 = 0; key0 < n; key0 += LOGIT_KEYS) {
          __syncthreads();
          logit_tile(a, keys, w, mean, key0, n, least, x0, false, xs);
          logit_tile(a, keys, w, mean, key0, n, least, y0, true, ys);
          __syncthreads();
#pragma unroll
          for (int key = 0; key < LOGIT_KEYS; key++) {
            float p[8], r[8];
            load<4>(&xs[key][ty * 4], reinterpret_cast<float(&)[4]>(p[0]));
            load<4>(&xs[key][PAIRS + ty * 4], reinterpret_cast<float(&)[4]>(p[4]));
            load<4>(&ys[key][tx * 4], reinterpret_cast<float(&)[4]>(r[0]));
            load<4>(&ys[key][PAIRS + tx * 4], reinterpret_cast<float(&)[4]>(r[4]));
#pragma unroll
            for (int u = 0; u < 8; u++) {
#pragma unroll
              for (int v = 0; v < 8; v++) s[u][v] += p[u] * r[v];
            }
          }
        }
#pragma unroll
        for (int u = 0; u < 4; u++) {
#pragma unroll
          for (int v = 0; v < 4; v++) {
            const int64_t x = x0 + ty * 4 + u, y = y0 + tx * 4 + v;
            if (x >= half || y >= half) continue;
            const float s00 = s[u][v], s01 = s[u][v + 4], s10 = s[u + 4][v], s11 = s[u + 4][v + 4];
            const float p = query[x], p1 = query[x + half], r = query[y], r1 = query[y + half];
            out[x * h + y] += (double)((p * (r * s00 + r1 * s01) + p1 * (r * s10 + r1 * s11)) * inv);
            out[x * h + y + half] += (double)((p * (r * s01 - r1 * s00) + p1 * (r * s11 - r1 * s10)) * inv);
            out[(x + half) * h + y] += (double)((p * (r * s10 + r1 * s11) - p1 * (r * s00 + r1 * s01)) * inv);
            out[(x + half) * h + y + half] += (double)((p * (r * s11 - r1 * s10) - p1 * (r * s01 - r1 * s00)) * inv);
          }
        }
      }
    }
  }
}

__global__ void add_logit_kernel(const double *partial, int64_t heads, int shares, int64_t h, double *c, int64_t stride) {
  const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= heads * h * h) return;
  const int64_t head = i / (h * h), entry = i % (h * h);
  double sum = 0;
  for (int s = 0; s < shares; s++) sum += partial[(head * shares + s) * h * h + entry];
  c[(head * h + entry / h) * stride + entry % h] += sum;
}

struct Accumulate {
  const float *x;
  double *c;
  int64_t x_stride, c_stride;
  bool lower;
  template <int V> __device__ void at(int64_t row, int64_t col) const {
    if (lower && col > row) return;
    double *target = c + row * c_stride + col;
    if (V == 1 || (lower && col + V > row + 1)) {
#pragma unroll
      for (int i = 0; i < V; i++) {
        if (!lower || col + i <= row) target[i] += x[row * x_stride + col + i];
      }
      return;
    }
    float v[V];
    load<V>(x + row * x_stride + col, v);
    Pack<double, V> sum = *reinterpret_cast<Pack<double, V> *>(target);
#pragma unroll
    for (int i = 0; i < V; i++) sum.v[i] += v[i];
    *reinterpret_cast<Pack<double, V> *>(target) = sum;
  }
};

// ---- column energies ------------------------------------------------------------------------------------------------

// Block (x: 32 V columns, y: a share of the rows), 32 x 8 threads; partial sums [shares, cols].
template <int V, class T>
__global__ void __launch_bounds__(256)
    energy_kernel(const T *x, int64_t rows, int64_t cols, int64_t stride, double *partial) {
  __shared__ double shared[8][32 * V];
  const int64_t col = ((int64_t)blockIdx.x * 32 + threadIdx.x) * V;
  const int64_t share = ceil_div(rows, gridDim.y), begin = blockIdx.y * share;
  const int64_t end = begin + share < rows ? begin + share : rows;
  double sum[V] = {};
  if (col < cols) {
    for (int64_t row = begin + threadIdx.y; row < end; row += 8 * 4) {
      T v[4][V] = {}, part[V] = {};
#pragma unroll
      for (int i = 0; i < 4; i++) {
        if (row + 8 * i >= end) continue;
        const Pack<T, V> pack = *reinterpret_cast<const Pack<T, V> *>(x + (row + 8 * i) * stride + col);
#pragma unroll
        for (int j = 0; j < V; j++) v[i][j] = pack.v[j];
      }
#pragma unroll
      for (int j = 0; j < V; j++) {
#pragma unroll
        for (int i = 0; i < 4; i++) part[j] += v[i][j] * v[i][j];
        sum[j] += part[j];
      }
    }
  }
#pragma unroll
  for (int j = 0; j < V; j++) shared[threadIdx.y][threadIdx.x * V + j] = sum[j];
  __syncthreads();
  if (threadIdx.y != 0 || col >= cols) return;
#pragma unroll
  for (int j = 0; j < V; j++) {
    for (int i = 1; i < 8; i++) sum[j] += shared[i][threadIdx.x * V + j];
    partial[blockIdx.y * cols + col + j] = sum[j];
  }
}

__global__ void __launch_bounds__(256) add_partial_kernel(const double *partial, int shares, int64_t cols, double *out) {
  const int64_t col = (int64_t)blockIdx.x * 256 + threadIdx.x;
  if (col >= cols) return;
  double sum = 0;
  for (int s = 0; s < shares; s++) sum += partial[s * cols + col];
  out[col] += sum;
}

// ---- block influence ------------------------------------------------------------------------------------------------

constexpr int WARPS = 8;

struct InfluenceArgs {
  const float *x, *y;
  int64_t rows, cols, x_stride, y_stride;
  double *partial; // [blocks, 2]
};

// A warp per row; sums of 128 products in float32 join float64.
template <int V> __global__ void __launch_bounds__(WARPS * 32) influence_kernel(InfluenceArgs a) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  double cosine = 0, change = 0;
  for (int64_t row = (int64_t)blockIdx.x * WARPS + warp; row < a.rows; row += (int64_t)gridDim.x * WARPS) {
    const float *x = a.x + row * a.x_stride, *y = a.y + row * a.y_stride;
    double xx = 0, yy = 0, xy = 0, dd = 0;
    for (int64_t col = lane * V; col < a.cols; col += 32 * V) {
      float p[V], q[V], sxx = 0, syy = 0, sxy = 0, sdd = 0;
      load<V>(x + col, p);
      load<V>(y + col, q);
#pragma unroll
      for (int i = 0; i < V; i++) {
        sxx += p[i] * p[i];
        syy += q[i] * q[i];
        sxy += p[i] * q[i];
        sdd += (q[i] - p[i]) * (q[i] - p[i]);
      }
      xx += sxx;
      yy += syy;
      xy += sxy;
      dd += sdd;
    }
    xx = warp_reduce(xx, Sum());
    yy = warp_reduce(yy, Sum());
    xy = warp_reduce(xy, Sum());
    dd = warp_reduce(dd, Sum());
    cosine += xy / (sqrt(xx) * sqrt(yy));
    change += dd / xx;
  }
  cosine = block_sum(lane == 0 ? cosine : 0.0);
  change = block_sum(lane == 0 ? change : 0.0);
  if (threadIdx.x == 0) {
    a.partial[2 * blockIdx.x] = cosine;
    a.partial[2 * blockIdx.x + 1] = change;
  }
}

__global__ void __launch_bounds__(256) add_influence_kernel(const double *partial, int blocks, double rows, double *acc) {
  double cosine = 0, change = 0;
  for (int b = threadIdx.x; b < blocks; b += 256) {
    cosine += partial[2 * b];
    change += partial[2 * b + 1];
  }
  cosine = block_sum(cosine);
  change = block_sum(change);
  if (threadIdx.x != 0) return;
  acc[0] += cosine;
  acc[1] += change;
  acc[2] += rows;
}

} // namespace

int32_t mg_gram(mg_context *ctx, const mg_tensor *x, mg_tensor *c) {
  return guarded(ctx, "gram", [&] {
    require("x", x, {MG_F32});
    require("c", c, {MG_F64});
    require_shape("c", c, x->cols, x->cols);
    if (empty(x)) return;
    const float *data = pointer<float>(x);
    gram(ctx, {data, data, pointer<double>(c), x->rows, x->cols, x->cols, x->stride, x->stride, c->stride, 0, 0, true, false}, 1,
         aligned(x, 16));
  });
}

int32_t mg_cross_gram(mg_context *ctx, const mg_tensor *x, const mg_tensor *y, mg_tensor *c) {
  return guarded(ctx, "cross_gram", [&] {
    require("x", x, {MG_F32});
    require("y", y, {MG_F32});
    require("c", c, {MG_F64});
    require_shape("y", y, x->rows, y->cols);
    require_shape("c", c, x->cols, y->cols);
    if (empty(x) || empty(y)) return;
    gram(ctx,
         {pointer<float>(x), pointer<float>(y), pointer<double>(c), x->rows, x->cols, y->cols, x->stride, y->stride, c->stride, 0,
          0, false, false},
         1, aligned(x, 16) && aligned(y, 16));
  });
}

int32_t mg_head_gram(mg_context *ctx, const mg_tensor *x, int32_t heads, mg_tensor *c) {
  return guarded(ctx, "head_gram", [&] {
    require("x", x, {MG_F32});
    require("c", c, {MG_F64});
    if (heads <= 0 || x->cols % heads != 0) fail(MG_EINVAL, "%lld columns are not %d heads", (long long)x->cols, heads);
    const int64_t h = x->cols / heads;
    require_shape("c", c, x->cols, h);
    if (empty(x)) return;
    const float *data = pointer<float>(x);
    gram(ctx, {data, data, pointer<double>(c), x->rows, h, h, x->stride, x->stride, c->stride, h, h * c->stride, true, true},
         (unsigned)heads, aligned(x, 16) && h % 4 == 0);
  });
}

int32_t mg_accumulate(mg_context *ctx, const mg_tensor *x, int32_t lower, mg_tensor *c) {
  return guarded(ctx, "accumulate", [&] {
    require("x", x, {MG_F32});
    require("c", c, {MG_F64});
    require_shape("x", x, c->rows, c->cols);
    if (lower) require_shape("c", c, c->rows, c->rows);
    if (empty(c)) return;
    map<4>(ctx, Accumulate{pointer<float>(x), pointer<double>(c), x->stride, c->stride, lower != 0}, c->rows, c->cols,
           aligned(x, 16) && aligned(c, 16), !lower && contiguous(x) && contiguous(c));
  });
}

int32_t mg_column_energy(mg_context *ctx, const mg_tensor *x, mg_tensor *e) {
  return guarded(ctx, "column_energy", [&] {
    require("x", x, {MG_F32, MG_F64});
    require_vector("e", e, MG_F64, x->cols);
    if (empty(x)) return;
    const bool wide = x->dtype == MG_F64, vector = !wide && x->cols % 4 == 0 && aligned(x, 16);
    const int64_t column_blocks = ceil_div(x->cols, vector ? 128 : 32);
    const int64_t wanted = ceil_div((int64_t)ctx->multiprocessors * 8, column_blocks), most = ceil_div(x->rows, 32);
    const int shares = (int)(wanted < most ? wanted : most);
    double *partial = static_cast<double *>(scratch(ctx, (int64_t)sizeof(double) * shares * x->cols));
    const dim3 grid((unsigned)column_blocks, (unsigned)shares), block(32, 8);
    if (wide) {
      energy_kernel<1><<<grid, block, 0, ctx->stream>>>(pointer<double>(x), x->rows, x->cols, x->stride, partial);
    } else if (vector) {
      energy_kernel<4><<<grid, block, 0, ctx->stream>>>(pointer<float>(x), x->rows, x->cols, x->stride, partial);
    } else {
      energy_kernel<1><<<grid, block, 0, ctx->stream>>>(pointer<float>(x), x->rows, x->cols, x->stride, partial);
    }
    launched();
    add_partial_kernel<<<(unsigned)ceil_div(x->cols, 256), 256, 0, ctx->stream>>>(partial, shares, x->cols, pointer<double>(e));
    launched();
  });
}

int32_t mg_logit_covariance(mg_context *ctx, const mg_tensor *q, const mg_tensor *k, const mg_tensor *queries, int32_t heads,
                            int32_t kv_heads, float scale, mg_tensor *c) {
  return guarded(ctx, "logit_covariance", [&] {
    require("q", q, {MG_F32});
    require("k", k, {MG_F32});
    require("c", c, {MG_F64});
    require("queries", queries, {MG_I32});
    if (heads <= 0 || kv_heads <= 0 || heads % kv_heads != 0 || q->cols % heads != 0 || q->cols / heads % 2 != 0) {
      fail(MG_EINVAL, "%lld columns of q are not %d heads of whole pairs", (long long)q->cols, heads);
    }
    const int64_t h = q->cols / heads;
    require_shape("k", k, q->rows, h * kv_heads);
    require_shape("c", c, q->cols, h);
    if (queries->rows != 1) fail(MG_EINVAL, "queries must be one row");
    if (empty(q) || empty(queries)) return;
    if (h > 256) fail(MG_EUNSUPPORTED, "heads of %lld columns are too wide, at most 256", (long long)h);
    const int64_t shares = 8;
    const int64_t weights = (int64_t)heads * shares * q->rows;
    // The weights of one query live behind the partial sums of all.
    double *partial = static_cast<double *>(
        scratch(ctx, (int64_t)sizeof(double) * heads * shares * h * h + (int64_t)sizeof(float) * weights));
    float *a = reinterpret_cast<float *>(partial + heads * shares * h * h);
    check(cudaMemsetAsync(partial, 0, sizeof(double) * heads * shares * h * h, ctx->stream), "clearing partial sums");
    const LogitArgs args{pointer<float>(q), pointer<float>(k), pointer<int32_t>(queries), partial, a, q->stride, k->stride,
                         queries->cols, h, q->rows, heads / kv_heads, (int)shares, scale};
    logit_kernel<<<dim3((unsigned)heads, (unsigned)shares), 256, 0, ctx->stream>>>(args);
    launched();
    add_logit_kernel<<<(unsigned)ceil_div(heads * h * h, 256), 256, 0, ctx->stream>>>(partial, heads, (int)shares, h,
                                                                                   pointer<double>(c), c->stride);
    launched();
  });
}

int32_t mg_block_influence(mg_context *ctx, const mg_tensor *x, const mg_tensor *y, mg_tensor *acc) {
  return guarded(ctx, "block_influence", [&] {
    require("x", x, {MG_F32});
    require("y", y, {MG_F32});
    require_shape("y", y, x->rows, x->cols);
    require_vector("acc", acc, MG_F64, 3);
    if (empty(x)) return;
    const int64_t wanted = ceil_div(x->rows, WARPS), most = (int64_t)ctx->multiprocessors * 8;
    const int blocks = (int)(wanted < most ? wanted : most);
    double *partial = static_cast<double *>(scratch(ctx, (int64_t)sizeof(double) * 2 * blocks));
    const InfluenceArgs a{pointer<float>(x), pointer<float>(y), x->rows, x->cols, x->stride, y->stride, partial};
    if (x->cols % 4 == 0 && aligned(x, 16) && aligned(y, 16)) {
      influence_kernel<4><<<blocks, WARPS * 32, 0, ctx->stream>>>(a);
    } else {
      influence_kernel<1><<<blocks, WARPS * 32, 0, ctx->stream>>>(a);
    }
    launched();
    add_influence_kernel<<<1, 256, 0, ctx->stream>>>(partial, blocks, (double)x->rows, pointer<double>(acc));
    launched();
  });
}
