// Sums, scaling, transposition, gathering and scattering.
#include "formats.cuh"

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

// Every row starts on 16 bytes.
bool aligned_rows(const mg_tensor *x) {
  const BlockShape shape = block_shape(x->dtype);
  return reinterpret_cast<uintptr_t>(x->data) % 16 == 0 && (x->rows <= 1 || x->stride / shape.length * shape.bytes % 16 == 0);
}

// A block copies pieces of one row at a time, in units of T: row index[i] of x to row i of y, or row i to row index[i].
template <class T, bool SCATTER> struct CopyRows {
  const T *x;
  const int32_t *index;
  T *y;
  int64_t x_pitch, y_pitch, limit; // pitches in units of T
  uint64_t *fault;
  template <int V> __device__ void at(int64_t row, int64_t col) const {
    const int32_t other = index[row];
    if (other < 0 || other >= limit) {
      raise_fault(fault, SCATTER ? FAULT_PLACE : FAULT_ROW, other);
      return;
    }
    y[(SCATTER ? other : row) * y_pitch + col] = x[(SCATTER ? row : other) * x_pitch + col];
  }
};

template <class T, bool SCATTER> void copy_rows(mg_context *ctx, const mg_tensor *x, const mg_tensor *index, mg_tensor *y) {
  const BlockShape shape = block_shape(x->dtype);
  const int64_t unit = sizeof(T), row = x->cols / shape.length * shape.bytes;
  const CopyRows<T, SCATTER> f{pointer<T>(x),
                               pointer<int32_t>(index),
                               pointer<T>(y),
                               x->stride / shape.length * shape.bytes / unit,
                               y->stride / shape.length * shape.bytes / unit,
                               SCATTER ? y->rows : x->rows,
                               ctx->fault};
  map<1>(ctx, f, index->cols, row / unit, false, false);
}

// In the largest pieces that rows consist of.
template <bool SCATTER> void copy_rows(mg_context *ctx, const mg_tensor *x, const mg_tensor *index, mg_tensor *y) {
  const BlockShape shape = block_shape(x->dtype);
  const int64_t row = x->cols / shape.length * shape.bytes;
  if (row % 16 == 0 && aligned_rows(x) && aligned_rows(y)) return copy_rows<uint4, SCATTER>(ctx, x, index, y);
  shape.bytes % 4 == 0 ? copy_rows<uint32_t, SCATTER>(ctx, x, index, y) : copy_rows<uint16_t, SCATTER>(ctx, x, index, y);
}

// Tiles of 32 x 32 above the diagonal; those on it have both kinds of elements.
template <class T> __global__ void __launch_bounds__(256) triangle_kernel(T *x, int64_t n, int64_t stride, bool mirror) {
  const int64_t row0 = (int64_t)blockIdx.y * TILE, col0 = (int64_t)blockIdx.x * TILE;
  if (row0 > col0) return;
  __shared__ T tile[TILE][TILE + 1];
  for (int i = threadIdx.y; mirror && i < TILE; i += 8) {
    if (col0 + i < n && row0 + threadIdx.x < n) tile[i][threadIdx.x] = x[(col0 + i) * stride + row0 + threadIdx.x];
  }
  __syncthreads();
  for (int i = threadIdx.y; i < TILE; i += 8) {
    const int64_t row = row0 + i, col = col0 + threadIdx.x;
    if (row < col && col < n) x[row * stride + col] = mirror ? tile[threadIdx.x][i] : T(0);
  }
}

template <class T> void triangle(mg_context *ctx, mg_tensor *x, bool mirror) {
  const int64_t tiles = ceil_div(x->rows, TILE);
  if (tiles > 65535) fail(MG_EINVAL, "%lld rows are too many", (long long)x->rows);
  triangle_kernel<T><<<dim3((unsigned)tiles, (unsigned)tiles), dim3(TILE, 8), 0, ctx->stream>>>(pointer<T>(x), x->rows,
                                                                                                x->stride, mirror);
  launched();
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

int32_t mg_gather_rows(mg_context *ctx, const mg_tensor *x, const mg_tensor *index, mg_tensor *y) {
  return guarded(ctx, "gather_rows", [&] {
    require("x", x, {MG_STORED, MG_I32});
    require("y", y, {x->dtype});
    require_vector("index", index, MG_I32, y->rows);
    require_shape("y", y, y->rows, x->cols);
    if (empty(y)) return;
    if (x->rows == 0) fail(MG_EINVAL, "x has no rows to gather");
    copy_rows<false>(ctx, x, index, y);
  });
}

int32_t mg_scatter_rows(mg_context *ctx, const mg_tensor *x, const mg_tensor *index, mg_tensor *y) {
  return guarded(ctx, "scatter_rows", [&] {
    require("x", x, {MG_STORED, MG_I32});
    require("y", y, {x->dtype});
    require_vector("index", index, MG_I32, x->rows);
    require_shape("y", y, y->rows, x->cols);
    if (empty(x)) return;
    if (y->rows == 0) fail(MG_EINVAL, "y has no rows to write");
    copy_rows<true>(ctx, x, index, y);
  });
}

int32_t mg_triangle(mg_context *ctx, mg_tensor *x, int32_t mirror) {
  return guarded(ctx, "triangle", [&] {
    require("x", x, {MG_F32, MG_F64});
    require_shape("x", x, x->rows, x->rows);
    if (empty(x)) return;
    x->dtype == MG_F32 ? triangle<float>(ctx, x, mirror != 0) : triangle<double>(ctx, x, mirror != 0);
  });
}
