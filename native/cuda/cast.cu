// Conversion between formats, and the search for NaN and infinity.
#include "formats.cuh"

namespace {

template <class Format, class Out> struct Cast {
  const uint8_t *src;
  Out *dst;
  int64_t pitch, stride;
  bool wide; // dst takes 16-byte stores; a quantised src is read in pieces of 8 either way
  template <int V> __device__ void at(int64_t row, int64_t col) const {
    float v[8];
    Format::template load8<V == 8>(src + row * pitch, col, V, v);
    Out *target = dst + row * stride + col;
    if (V == 8 && wide) {
      store<8>(target, v);
    } else {
#pragma unroll
      for (int i = 0; i < V; i++) target[i] = from_float<Out>(v[i]);
    }
  }
};

// From float64 directly: rounding by way of float32 would round twice.
template <class Out> __device__ Out from_double(double x);
template <> __device__ inline float from_double<float>(double x) {
  return (float)x;
}
template <> __device__ inline double from_double<double>(double x) {
  return x;
}
template <> __device__ inline bf16 from_double<bf16>(double x) {
  return __double2bfloat16(x);
}
template <> __device__ inline f16 from_double<f16>(double x) {
  return __double2half(x);
}

template <class Out> struct CastDouble {
  const double *src;
  Out *dst;
  int64_t src_stride, dst_stride;
  template <int V> __device__ void at(int64_t row, int64_t col) const {
    dst[row * dst_stride + col] = from_double<Out>(src[row * src_stride + col]);
  }
};

template <class Out> void cast_to(mg_context *ctx, const mg_tensor *src, mg_tensor *dst) {
  const bool flat = contiguous(src) && contiguous(dst);
  if (src->dtype == MG_F64) {
    const CastDouble<Out> f{pointer<double>(src), pointer<Out>(dst), src->stride, dst->stride};
    return map<1>(ctx, f, dst->rows, dst->cols, false, flat);
  }
  with_format(src->dtype, [&](auto format) {
    using Format = decltype(format);
    const bool wide = aligned(dst, 16);
    const Cast<Format, Out> f{pointer<uint8_t>(src), pointer<Out>(dst), pitch(src), dst->stride, wide};
    map<8>(ctx, f, dst->rows, dst->cols, Format::quantised || (wide && aligned(src, 16)), flat);
  });
}

__device__ inline bool finite(float x) {
  return isfinite(x);
}
__device__ inline bool finite(double x) {
  return isfinite(x);
}
__device__ inline bool finite(bf16 x) {
  return isfinite(__bfloat162float(x));
}
__device__ inline bool finite(f16 x) {
  return isfinite(__half2float(x));
}

template <class T> struct CountPlain {
  const T *x;
  int64_t stride;
  unsigned long long *bad;
  template <int V> __device__ void at(int64_t row, int64_t col) const {
    const Pack<T, V> pack = *reinterpret_cast<const Pack<T, V> *>(x + row * stride + col);
    int count = 0;
#pragma unroll
    for (int i = 0; i < V; i++) count += !finite(pack.v[i]);
    if (count) atomicAdd(bad, (unsigned long long)count);
  }
};

// One "column" is one block.
template <class Block> struct CountScales {
  const uint8_t *x;
  int64_t pitch;
  unsigned long long *bad;
  template <int V> __device__ void at(int64_t row, int64_t col) const {
    int count = 0;
#pragma unroll
    for (int i = 0; i < Block::scales; i++)
      count += !isfinite(half_at(x + row * pitch + col * Block::bytes + Block::scales_at + 2 * i));
    if (count) atomicAdd(bad, (unsigned long long)count);
  }
};

template <class T> void count(mg_context *ctx, Plain<T>, const mg_tensor *x, unsigned long long *bad) {
  map<16 / sizeof(T)>(ctx, CountPlain<T>{pointer<T>(x), x->stride, bad}, x->rows, x->cols, aligned(x, 16), contiguous(x));
}

template <class Block> void count(mg_context *ctx, Quantised<Block>, const mg_tensor *x, unsigned long long *bad) {
  map<1>(ctx, CountScales<Block>{pointer<uint8_t>(x), pitch(x), bad}, x->rows, x->cols / Block::length, false, true);
}

} // namespace

int32_t mg_cast(mg_context *ctx, const mg_tensor *src, mg_tensor *dst) {
  return guarded(ctx, "cast", [&] {
    require("src", src, {MG_STORED});
    require("dst", dst, {MG_F32, MG_F64, MG_BF16, MG_F16});
    require_shape("dst", dst, src->rows, src->cols);
    if (empty(src)) return;
    switch (dst->dtype) {
    case MG_F32:
      return cast_to<float>(ctx, src, dst);
    case MG_F64:
      return cast_to<double>(ctx, src, dst);
    case MG_BF16:
      return cast_to<bf16>(ctx, src, dst);
    default:
      return cast_to<f16>(ctx, src, dst);
    }
  });
}

int32_t mg_count_nonfinite(mg_context *ctx, const mg_tensor *x, int64_t *bad) {
  return guarded(ctx, "count_nonfinite", [&] {
    require("x", x, {MG_STORED});
    if (!bad) fail(MG_EINVAL, "bad is NULL");
    *bad = 0;
    if (empty(x)) return;
    unsigned long long *counter = static_cast<unsigned long long *>(scratch(ctx, sizeof(unsigned long long)));
    check(cudaMemsetAsync(counter, 0, sizeof *counter, ctx->stream), "clearing the counter");
    with_format(x->dtype, [&](auto format) { count(ctx, format, x, counter); });
    check(cudaMemcpyAsync(bad, counter, sizeof *bad, cudaMemcpyDeviceToHost, ctx->stream), "copying the count");
    check(cudaStreamSynchronize(ctx->stream), "an earlier operation or the count failed");
    check_fault(ctx);
  });
}
