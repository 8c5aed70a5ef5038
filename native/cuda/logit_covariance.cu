// How the rotary pairs share in the attention logits (mg_logit_covariance). The features of the keys of one query, centred and
// times the roots of their weights, are rows of a matrix whose Gram matrix is wanted: formed on tensor cores in TF32, a tile of
// keys at a time. With SPLIT every operand is a sum of two TF32 numbers and a product is three, which is near float32.
#include "mma.cuh"

namespace {

constexpr int SIDE = 128;       // features on a side of the output tile of one block
constexpr int PAIRS = SIDE / 2; // re and im of a pair are neighbours
constexpr int KEYS = 32;        // keys per round trip through shared memory
constexpr int PITCH = SIDE + 8; // the four keys of a fragment lie in different banks
constexpr int WARPS = 8;        // each forms 64 x 32 of the tile
constexpr int THREADS = WARPS * 32;
constexpr float LEAST = 1e-7f; // smaller weights are left out

struct LogitArgs {
  const float *q, *k;
  const int32_t *queries;
  double *partial; // [heads, shares, h, h], lower triangle, re and im of a pair neighbours
  float *weights;  // [heads, shares, tiles, tokens]
  int64_t q_stride, k_stride, count, h, tokens;
  int group, shares;
  float scale;
};

// N elements of the tile, as high and low part.
template <bool SPLIT, int N> struct Fragment {
  unsigned high[N], low[N];
  __device__ void set(int i, float x) {
    if (!SPLIT) {
      high[i] = __float_as_uint(x); // rounded when it was stored
      return;
    }
    high[i] = tf32(x);
    low[i] = tf32(x - __uint_as_float(high[i]));
  }
};

// What a warp knows of the softmax over its own keys; columns lane, lane + 32, ... of the weighted sum of keys.
template <int COLUMNS> struct Softmax {
  float top = -INFINITY, sum = 0, mean[COLUMNS] = {};
  __device__ void rescale(float new_top) {
    if (new_top == top) return;
    const float factor = __expf(top - new_top);
    sum *= factor;
#pragma unroll
    for (int i = 0; i < COLUMNS; i++) mean[i] *= factor;
    top = new_top;
  }
};

// The logits of keys below n into w; returns the softmax over those of this warp. COLUMNS * 32 >= h.
template <int COLUMNS>
__device__ Softmax<COLUMNS> logits(const LogitArgs &a, const float *q, const float *keys, int64_t n, float *w) {
  constexpr int TOGETHER = COLUMNS > 4 ? 2 : 4;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float query[COLUMNS];
#pragma unroll
  for (int i = 0; i < COLUMNS; i++) query[i] = lane + 32 * i < a.h ? q[lane + 32 * i] * a.scale : 0;
  Softmax<COLUMNS> soft;
  for (int64_t first = warp; first < n; first += WARPS * TOGETHER) {
    float key[TOGETHER][COLUMNS], dot[TOGETHER];
#pragma unroll
    for (int u = 0; u < TOGETHER; u++) {
      const int64_t at = first + u * WARPS;
      dot[u] = 0;
#pragma unroll
      for (int i = 0; i < COLUMNS; i++) {
        key[u][i] = at < n && lane + 32 * i < a.h ? keys[at * a.k_stride + lane + 32 * i] : 0;
        dot[u] += query[i] * key[u][i];
      }
    }
    float top = soft.top;
#pragma unroll
    for (int u = 0; u < TOGETHER; u++) {
      const int64_t at = first + u * WARPS;
      dot[u] = at < n ? warp_reduce(dot[u], Sum()) : -INFINITY;
      if (lane == 0 && at < n) w[at] = dot[u];
      top = fmaxf(top, dot[u]);
    }
    soft.rescale(top);
#pragma unroll
    for (int u = 0; u < TOGETHER; u++) {
      const float e = __expf(dot[u] - top);
      soft.sum += e;
#pragma unroll
      for (int i = 0; i < COLUMNS; i++) soft.mean[i] += e * key[u][i];
    }
  }
  return soft;
}

// Joins the warps' softmaxes: mean gets the weighted mean of the keys, w the roots of the weights.
template <int COLUMNS>
__device__ void weigh(const LogitArgs &a, Softmax<COLUMNS> soft, int64_t n, float *mean, float (&tops)[WARPS],
                      float (&sums)[WARPS], float *w) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int64_t t = threadIdx.x; t < a.h; t += blockDim.x) mean[t] = 0;
  if (lane == 0) tops[warp] = soft.top;
  __syncthreads();
  float top = tops[0];
#pragma unroll
  for (int i = 1; i < WARPS; i++) top = fmaxf(top, tops[i]);
  soft.rescale(top); // a warp without keys has -infinity, whose factor is 0
  if (lane == 0) sums[warp] = soft.sum;
  __syncthreads();
  float sum = 0;
#pragma unroll
  for (int i = 0; i < WARPS; i++) sum += sums[i];
  const float inverse = 1 / sum;
  for (int turn = 0; turn < WARPS; turn++) { // in order, so that sums repeat
    if (turn == warp) {
#pragma unroll
      for (int i = 0; i < COLUMNS; i++) {
        if (lane + 32 * i < a.h) mean[lane + 32 * i] += soft.mean[i] * inverse;
      }
    }
    __syncthreads();
  }
  for (int64_t key = threadIdx.x; key < n; key += blockDim.x) {
    const float weight = __expf(w[key] - top) * inverse;
    w[key] = weight < LEAST ? 0 : sqrtf(weight);
  }
  __syncthreads();
}

// A pair's two neighbouring columns of a tile: (re, im) of a key, less their means.
struct Features {
  float x = 0, y = 0, re = 0, im = 0;
  int64_t p = 0;

  __device__ Features(const LogitArgs &a, const float *q, const float *key_mean, int64_t pair) {
    const int64_t half = a.h / 2;
    if (pair >= half) return; // padding: all 0
    p = pair;
    x = a.scale * q[p];
    y = a.scale * q[p + half];
    re = x * key_mean[p] + y * key_mean[p + half];
    im = x * key_mean[p + half] - y * key_mean[p];
  }

  template <bool SPLIT>
  __device__ void stage(const LogitArgs &a, const float *keys, const float *w, int64_t key0, int64_t n,
                        float (*tile)[PITCH]) const {
    constexpr int ROWS = KEYS * PAIRS / THREADS; // of one thread
    const float *first = keys + p, *second = first + a.h / 2;
    float k1[ROWS], k2[ROWS], weight[ROWS];
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
      const int64_t key = key0 + threadIdx.x / PAIRS + i * (THREADS / PAIRS);
      const bool inside = key < n;
      k1[i] = inside ? first[key * a.k_stride] : 0;
      k2[i] = inside ? second[key * a.k_stride] : 0;
      weight[i] = inside ? w[key] : 0;
    }
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
      float2 f;
      f.x = (x * k1[i] + y * k2[i] - re) * weight[i];
      f.y = (x * k2[i] - y * k1[i] - im) * weight[i];
      if (!SPLIT) f = make_float2(__uint_as_float(tf32(f.x)), __uint_as_float(tf32(f.y)));
      *reinterpret_cast<float2 *>(&tile[threadIdx.x / PAIRS + i * (THREADS / PAIRS)][threadIdx.x % PAIRS * 2]) = f;
    }
  }
};

// One block per head, share of the queries and tile of the lower triangle of features.
template <bool SPLIT, int COLUMNS> __global__ void __launch_bounds__(THREADS, 2) logit_kernel(LogitArgs a) {
  __shared__ float mean[32 * COLUMNS], tops[WARPS], sums[WARPS];
  __shared__ __align__(8) float xs[KEYS][PITCH], ys[COLUMNS > 4 ? KEYS : 1][PITCH];
  const int64_t head = blockIdx.x, h = a.h;
  const int64_t row0 = blockIdx.z == 0 ? 0 : SIDE, col0 = blockIdx.z == 2 ? SIDE : 0;
  const bool diagonal = row0 == col0;
  float(*right)[PITCH] = COLUMNS > 4 && !diagonal ? ys : xs;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int warp_row = warp % 2 * 64, warp_col = warp / 2 * 32;
  const float *keys = a.k + head / a.group * h;
  float *w = a.weights + ((head * a.shares + blockIdx.y) * gridDim.z + blockIdx.z) * a.tokens;
  double *out = a.partial + (head * a.shares + blockIdx.y) * h * h;
  float c[4][4][4] = {};
  for (int64_t i = blockIdx.y; i < a.count; i += a.shares) {
    const int64_t m = a.queries[i], n = m + 1;
    const float *q = a.q + m * a.q_stride + head * h;
    weigh<COLUMNS>(a, logits<COLUMNS>(a, q, keys, n, w), n, mean, tops, sums, w);
    const int64_t pair = threadIdx.x % PAIRS;
    const Features left(a, q, mean, row0 / 2 + pair), other(a, q, mean, col0 / 2 + pair);
    for (int64_t key0 = 0; key0 < n; key0 += KEYS) {
      left.stage<SPLIT>(a, keys, w, key0, n, xs);
      if (COLUMNS > 4 && !diagonal) other.stage<SPLIT>(a, keys, w, key0, n, ys);
      __syncthreads();
#pragma unroll
      for (int k = 0; k < KEYS; k += 8) {
        Fragment<SPLIT, 2> b[4];
#pragma unroll
        for (int v = 0; v < 4; v++) {
          const int column = warp_col + v * 8 + g;
          b[v].set(0, right[k + t][column]);
          b[v].set(1, right[k + t + 4][column]);
        }
#pragma unroll
        for (int u = 0; u < 4; u++) {
          Fragment<SPLIT, 4> f;
          const int row = warp_row + u * 16 + g;
          f.set(0, xs[k + t][row]);
          f.set(1, xs[k + t][row + 8]);
          f.set(2, xs[k + t + 4][row]);
          f.set(3, xs[k + t + 4][row + 8]);
#pragma unroll
          for (int v = 0; v < 4; v++) {
            if (SPLIT) {
              multiply_tf32(c[u][v], f.low, b[v].high);
              multiply_tf32(c[u][v], f.high, b[v].low);
            }
            multiply_tf32(c[u][v], f.high, b[v].high);
          }
        }
      }
      __syncthreads();
    }
    if (!SPLIT && i + a.shares < a.count) continue; // float32 sums of all queries do for TF32
#pragma unroll
    for (int u = 0; u < 4; u++) {
#pragma unroll
      for (int v = 0; v < 4; v++) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const int64_t row = row0 + warp_row + u * 16 + g + e / 2 * 8, col = col0 + warp_col + v * 8 + 2 * t + e % 2;
          if (row < h && col < h) out[row * h + col] += (double)c[u][v][e]; // pairs' features are still neighbours
          c[u][v][e] = 0;
        }
      }
    }
  }
}

__global__ void __launch_bounds__(256)
    add_logit_kernel(const double *partial, int64_t heads, int shares, int64_t h, double *c, int64_t stride) {
  const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= heads * h * h) return;
  const int64_t head = i / (h * h), row = i % (h * h) / h, col = i % h;
  const int64_t x = row < h / 2 ? 2 * row : 2 * row - h + 1, y = col < h / 2 ? 2 * col : 2 * col - h + 1;
  const int64_t entry = x < y ? y * h + x : x * h + y;
  double sum = 0;
  for (int s = 0; s < shares; s++) sum += partial[(head * shares + s) * h * h + entry];
  c[(head * h + row) * stride + col] += sum;
}

template <bool SPLIT> void launch(mg_context *ctx, const LogitArgs &a, dim3 grid) {
  if (a.h <= 64) {
    logit_kernel<SPLIT, 2><<<grid, THREADS, 0, ctx->stream>>>(a);
  } else if (a.h <= SIDE) {
    logit_kernel<SPLIT, 4><<<grid, THREADS, 0, ctx->stream>>>(a);
  } else {
    logit_kernel<SPLIT, 8><<<grid, THREADS, 0, ctx->stream>>>(a);
  }
  launched();
}

} // namespace

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
    if (h > 2 * SIDE) fail(MG_EUNSUPPORTED, "heads of %lld columns are too wide, at most %d", (long long)h, 2 * SIDE);
    const int64_t tiles = h <= SIDE ? 1 : 3;
    // Two blocks to a multiprocessor and no more, for the rest would run alone; each with at least two queries.
    const int64_t wanted = 2 * (int64_t)ctx->multiprocessors / (heads * tiles), most = ceil_div(queries->cols, 2);
    const int64_t shares = wanted < 1 ? 1 : wanted < most ? wanted : most;
    const int64_t sums = heads * shares * h * h, weights = heads * shares * tiles * q->rows;
    double *partial = static_cast<double *>(scratch(ctx, (int64_t)sizeof(double) * sums + (int64_t)sizeof(float) * weights));
    check(cudaMemsetAsync(partial, 0, sizeof(double) * (size_t)sums, ctx->stream), "clearing partial sums");
    const LogitArgs args{pointer<float>(q),
                         pointer<float>(k),
                         pointer<int32_t>(queries),
                         partial,
                         reinterpret_cast<float *>(partial + sums),
                         q->stride,
                         k->stride,
                         queries->cols,
                         h,
                         q->rows,
                         heads / kv_heads,
                         (int)shares,
                         scale};
    const dim3 grid((unsigned)heads, (unsigned)shares, (unsigned)tiles);
    ctx->precision == MG_FAST ? launch<false>(ctx, args, grid) : launch<true>(ctx, args, grid);
    add_logit_kernel<<<(unsigned)ceil_div(heads * h * h, 256), 256, 0, ctx->stream>>>(partial, heads, (int)shares, h,
                                                                                      pointer<double>(c), c->stride);
    launched();
  });
}
