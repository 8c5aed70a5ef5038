// Sums, scaling, transposition and the gathering of columns.
#include "common.cuh"

namespace {

template <class T> constexpr int vector_length = 16 / sizeof(T);

template <class T> struct Add {
  T alpha;
  const T *x;
  T *y;
  int64_t x_stride, y_stride; // x_stride 0: the same row for all
  template <int V> __device__ void at(int64_t row, int64_t col) const {
    using P = Pack<T, V>;
    const P a = *reinterpret_cast<const P *>(x + row * x_stride + col);
    P *target = reinterpret_cast<P *>(y + row * y_stride + col);
    P b = *target;
#pragma unroll
    for (int i = 0; i < V; i++) b.v[i] += alpha * a.v[i];
    *target = b;
  }
};

__device__ inline float hyperbolic_tangent(float x) {
  return tanhf(x);
}
__device__ inline double hyperbolic_tangent(double x) {
  return tanh(x);
}

template <class T> struct Scale {
  T alpha, softcap;
  T *x;
  int64_t stride;
  template <int V> __device__ void at(int64_t row, int64_t col) const {
    Pack<T, V> *target = reinterpret_cast<Pack<T, V> *>(x + row * stride + col);
    Pack<T, V> v = *target;
#pragma unroll
    for (int i = 0; i < V; i++) {
      v.v[i] *= alpha;
      if (softcap > 0) v.v[i] = softcap * hyperbolic_tangent(v.v[i] / softcap);
    }
    *target = v;
  }
};

template <class T> struct Gather {
  const T *x;
  const int32_t *index;
  T *y;
  int64_t x_stride, y_stride, x_cols;
  uint64_t *fault;
  template <int V> __device__ void at(int64_t row, int64_t col) const {
    const int32_t from = index[col];
    if (from < 0 || from >= x_cols) {
      y[row * y_stride + col] = 0;
      return raise_fault(fault, FAULT_COLUMN, from);
    }
    y[row * y_stride + col] = x[row * x_stride + from];
  }
};

constexpr int TILE = 32;

// Blocks of 32 x 8 threads, a tile of 32 x 32; the padding column keeps the transposed reads in different banks.
template <class T>
__global__ void __launch_bounds__(256)
    transpose_kernel(const T *x, T *y, int64_t rows, int64_t cols, int64_t x_stride, int64_t y_stride) {
  __shared__ T tile[TILE][TILE + 1];
  const int64_t col0 = (int64_t)blockIdx.x * TILE;
  for (int64_t row0 = (int64_t)blockIdx.y * TILE; row0 < rows; row0 += (int64_t)gridDim.y * TILE) {
    __syncthreads();
    for (int i = threadIdx.y; i < TILE; i += 8) {
      if (row0 + i < rows && col0 + threadIdx.x < cols) tile[i][threadIdx.x] = x[(row0 + i) * x_stride + col0 + threadIdx.x];
    }
    __syncthreads();
    for (int i = threadIdx.y; i < TILE; i += 8) {
      if (col0 + i < cols && row0 + threadIdx.x < rows) y[(col0 + i) * y_stride + row0 + threadIdx.x] = tile[threadIdx.x][i];
    }
  }
}

template <class T> void add(mg_context *ctx, float alpha, const mg_tensor *x, mg_tensor *y) {
  const bool broadcast = x->rows == 1 && y->rows != 1;
  const Add<T> f{(T)alpha, pointer<T>(x), pointer<T>(y), broadcast ? 0 : x->stride, y->stride};
  map<vector_length<T>>(ctx, f, y->rows, y->cols, aligned(x, 16) && aligned(y, 16), !broadcast && contiguous(x) && contiguous(y));
}

template <class T> void scale(mg_context *ctx, float alpha, float softcap, mg_tensor *x) {
  const Scale<T> f{(T)alpha, (T)softcap, pointer<T>(x), x->stride};
  map<vector_length<T>>(ctx, f, x->rows, x->cols, aligned(x, 16), contiguous(x));
}

template <class T> void gather(mg_context *ctx, const mg_tensor *x, const mg_tensor *index, mg_tensor *y) {
  const Gather<T> f{pointer<T>(x), pointer<int32_t>(index), pointer<T>(y), x->stride, y->stride, x->cols, ctx->fault};
  map<1>(ctx, f, y->rows, y->cols, false, false);
}

template <class T> void transpose(mg_context *ctx, const mg_tensor *x, mg_tensor *y) {
  const int64_t row_tiles = ceil_div(x->rows, TILE);
  const dim3 grid((unsigned)ceil_div(x->cols, TILE), (unsigned)(row_tiles < 65535 ? row_tiles : 65535));
  transpose_kernel<T>
      <<<grid, dim3(TILE, 8), 0, ctx->stream>>>(pointer<T>(x), pointer<T>(y), x->rows, x->cols, x->stride, y->stride);
  launched();
}

} // namespace

int32_t mg_transpose(mg_context *ctx, const mg_tensor *src, mg_tensor *dst) {
  return guarded(ctx, "transpose", [&] {
    require("src", src, {MG_F32, MG_F64});
    require("dst", dst, {src->dtype});
    require_shape("dst", dst, src->cols, src->rows);
    if (empty(src)) return;
    src->dtype == MG_F32 ? transpose<float>(ctx, src, dst) : transpose<double>(ctx, src, dst);
  });
}

int32_t mg_add(mg_context *ctx, float alpha, const mg_tensor *x, mg_tensor *y) {
  return guarded(ctx, "add", [&] {
    require("y", y, {MG_F32, MG_F64});
    require("x", x, {y->dtype});
    require_shape("x", x, x->rows == 1 ? 1 : y->rows, y->cols);
    if (empty(y)) return;
    y->dtype == MG_F32 ? add<float>(ctx, alpha, x, y) : add<double>(ctx, alpha, x, y);
  });
}

int32_t mg_scale(mg_context *ctx, float alpha, float softcap, mg_tensor *x) {
  return guarded(ctx, "scale", [&] {
    require("x", x, {MG_F32, MG_F64});
    if (empty(x)) return;
    x->dtype == MG_F32 ? scale<float>(ctx, alpha, softcap, x) : scale<double>(ctx, alpha, softcap, x);
  });
}

int32_t mg_gather_columns(mg_context *ctx, const mg_tensor *x, const mg_tensor *index, mg_tensor *y) {
  return guarded(ctx, "gather_columns", [&] {
    require("x", x, {MG_F32, MG_F64});
    require("y", y, {x->dtype});
    require_vector("index", index, MG_I32, y->cols);
    require_shape("y", y, x->rows, y->cols);
    if (empty(y)) return;
    if (x->cols == 0) fail(MG_EINVAL, "x has no columns to gather");
    x->dtype == MG_F32 ? gather<float>(ctx, x, index, y) : gather<double>(ctx, x, index, y);
  });
}
