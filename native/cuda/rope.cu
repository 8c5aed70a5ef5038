// Rotary embedding. A thread turns the same columns of several heads, so an angle is computed once for all of them.
#include "common.cuh"

namespace {

struct RopeArgs {
  float *x;
  const int32_t *positions;
  const float *freqs;
  int64_t rows, stride, dim, freq_stride;
  int heads, per_row; // heads that share a row of freqs
  int pairs;
};

// position * freq reaches 1e5 radians and more, where float32 has lost the fraction: reduce in float64, then float32 suffices.
__device__ inline void turn(double position, float freq, float &cosine, float &sine) {
  const double angle = position * (double)freq;
  const double turns = rint(angle * 0.15915494309189535);
  const double reduced = fma(turns, -2.4492935982947064e-16, fma(turns, -6.283185307179586, angle));
  sincosf((float)reduced, &sine, &cosine);
}

template <int V> __global__ void __launch_bounds__(256) rope_kernel(RopeArgs a) {
  after_predecessor();
  const int pieces = a.pairs / V;
  const int rows_of_freqs = a.heads / a.per_row;
  const int64_t index = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= a.rows * rows_of_freqs * pieces) return;
  const int t = (int)(index % pieces) * V;
  const int freq_row = (int)(index / pieces % rows_of_freqs);
  const int64_t row = index / pieces / rows_of_freqs;
  float cosine[V], sine[V], freq[V];
  load<V>(a.freqs + freq_row * a.freq_stride + t, freq);
#pragma unroll
  for (int i = 0; i < V; i++) turn(a.positions[row], freq[i], cosine[i], sine[i]);
  float *x = a.x + row * a.stride + freq_row * a.per_row * a.dim + t;
  // gridDim.y shares out the heads when there are few rows
  for (int head = blockIdx.y; head < a.per_row; head += gridDim.y) {
    float *first = x + head * a.dim, *second = first + a.pairs;
    float p[V], q[V];
    load<V>(first, p);
    load<V>(second, q);
#pragma unroll
    for (int i = 0; i < V; i++) {
      const float turned = p[i] * cosine[i] - q[i] * sine[i];
      q[i] = q[i] * cosine[i] + p[i] * sine[i];
      p[i] = turned;
    }
    store<V>(first, p);
    store<V>(second, q);
  }
}

} // namespace

int32_t mg_rope(mg_context *ctx, mg_tensor *x, const mg_tensor *positions, const mg_tensor *freqs, int32_t heads) {
  return guarded(ctx, "rope", [&] {
    require("x", x, {MG_F32});
    require("freqs", freqs, {MG_F32});
    require_vector("positions", positions, MG_I32, x->rows);
    if (heads <= 0 || x->cols % heads != 0) fail(MG_EINVAL, "%lld columns are not %d heads", (long long)x->cols, heads);
    if (freqs->rows <= 0 || heads % freqs->rows != 0) {
      fail(MG_EINVAL, "%lld rows of freqs do not divide %d heads", (long long)freqs->rows, heads);
    }
    const int64_t dim = x->cols / heads;
    if (2 * freqs->cols > dim) fail(MG_EINVAL, "%lld pairs do not fit heads of %lld", (long long)freqs->cols, (long long)dim);
    if (empty(x) || empty(freqs)) return;

    RopeArgs args{pointer<float>(x),
                  pointer<int32_t>(positions),
                  pointer<float>(freqs),
                  x->rows,
                  x->stride,
                  dim,
                  freqs->stride,
                  heads,
                  (int)(heads / freqs->rows),
                  (int)freqs->cols};
    const bool vector = freqs->cols % 4 == 0 && dim % 4 == 0 && aligned(x, 16) && aligned(freqs, 16);
    const int64_t work = x->rows * freqs->rows * (freqs->cols / (vector ? 4 : 1));
    const int64_t wanted = ceil_div((int64_t)ctx->multiprocessors * 2048, work);
    const dim3 grid((unsigned)ceil_div(work, 256), (unsigned)(wanted < args.per_row ? wanted : args.per_row));
    if (vector) {
      launch_early(ctx, rope_kernel<4>, grid, 256, 0, args);
    } else {
      launch_early(ctx, rope_kernel<1>, grid, 256, 0, args);
    }
  });
}
