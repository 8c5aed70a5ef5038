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
