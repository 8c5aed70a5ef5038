// RMS and layer normalisation and their gradients: one block per row, which stays in registers between the sums and the result.
#include "common.cuh"

namespace {

constexpr int THREADS = 256;

struct NormArgs {
  const float *x, *weight, *bias;
  void *y;
  int64_t x_stride, y_stride;
  int64_t cols;
  float eps;
};

__device__ inline float2 centre_and_scale(bool centred, float sum, float squares_about, float cols, float eps) {
  const float mean = centred ? sum / cols : 0;
  return {mean, rsqrtf(squares_about / cols + eps)};
}

// PIECES 4-element pieces per thread; every row starts on 16 bytes.
template <class Out, bool CENTRED, int PIECES> __global__ void __launch_bounds__(THREADS) norm_kernel(NormArgs a) {
  after_predecessor();
  const float *x = a.x + blockIdx.x * a.x_stride;
  Out *y = static_cast<Out *>(a.y) + blockIdx.x * a.y_stride;
  float v[PIECES][4];
  float sum = 0;
#pragma unroll
  for (int p = 0; p < PIECES; p++) {
    const int64_t col = (threadIdx.x + p * THREADS) * 4;
    if (col < a.cols) {
      load<4>(x + col, v[p]);
    } else {
#pragma unroll
      for (int i = 0; i < 4; i++) v[p][i] = 0;
    }
#pragma unroll
    for (int i = 0; i < 4; i++) sum += CENTRED ? v[p][i] : v[p][i] * v[p][i];
  }
  sum = block_sum(sum);
  float squares = sum;
  if (CENTRED) {
    const float mean = sum / (float)a.cols;
    squares = 0;
#pragma unroll
    for (int p = 0; p < PIECES; p++) {
      if ((threadIdx.x + p * THREADS) * 4 < a.cols) {
#pragma unroll
        for (int i = 0; i < 4; i++) squares += (v[p][i] - mean) * (v[p][i] - mean);
      }
    }
    squares = block_sum(squares);
  }
  const float2 s = centre_and_scale(CENTRED, sum, squares, (float)a.cols, a.eps);
#pragma unroll
  for (int p = 0; p < PIECES; p++) {
    const int64_t col = (threadIdx.x + p * THREADS) * 4;
    if (col >= a.cols) continue;
    float w[4] = {1, 1, 1, 1}, b[4] = {0, 0, 0, 0};
    if (a.weight) load<4>(a.weight + col, w);
    if (a.bias) load<4>(a.bias + col, b);
#pragma unroll
    for (int i = 0; i < 4; i++) v[p][i] = (v[p][i] - s.x) * s.y * w[i] + b[i];
    store<4>(y + col, v[p]);
  }
}

// Any width and alignment; reads the row again instead of keeping it.
template <class Out, bool CENTRED> __global__ void __launch_bounds__(THREADS) norm_any_kernel(NormArgs a) {
  after_predecessor();
  const float *x = a.x + blockIdx.x * a.x_stride;
  Out *y = static_cast<Out *>(a.y) + blockIdx.x * a.y_stride;
  float sum = 0;
  for (int64_t c = threadIdx.x; c < a.cols; c += THREADS) sum += CENTRED ? x[c] : x[c] * x[c];
  sum = block_sum(sum);
  float squares = sum;
  if (CENTRED) {
    const float mean = sum / (float)a.cols;
    squares = 0;
    for (int64_t c = threadIdx.x; c < a.cols; c += THREADS) squares += (x[c] - mean) * (x[c] - mean);
    squares = block_sum(squares);
  }
  const float2 s = centre_and_scale(CENTRED, sum, squares, (float)a.cols, a.eps);
  for (int64_t c = threadIdx.x; c < a.cols; c += THREADS) {
    y[c] = from_float<Out>((x[c] - s.x) * s.y * (a.weight ? a.weight[c] : 1) + (a.bias ? a.bias[c] : 0));
  }
}

template <class Out, bool CENTRED> void launch(mg_context *ctx, const NormArgs &a, unsigned rows, bool vector) {
  const int64_t pieces = vector ? ceil_div(a.cols, 4 * THREADS) : 9;
  if (pieces <= 1) {
    launch_early(ctx, norm_kernel<Out, CENTRED, 1>, rows, THREADS, 0, a);
  } else if (pieces <= 2) {
    launch_early(ctx, norm_kernel<Out, CENTRED, 2>, rows, THREADS, 0, a);
  } else if (pieces <= 4) {
    launch_early(ctx, norm_kernel<Out, CENTRED, 4>, rows, THREADS, 0, a);
  } else if (pieces <= 8) {
    launch_early(ctx, norm_kernel<Out, CENTRED, 8>, rows, THREADS, 0, a);
  } else {
    launch_early(ctx, norm_any_kernel<Out, CENTRED>, rows, THREADS, 0, a);
  }
}

template <bool CENTRED>
void normalise(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, const mg_tensor *b, float eps, mg_tensor *y) {
  require("x", x, {MG_F32});
  require("y", y, {MG_F32, MG_BF16});
  require_shape("y", y, x->rows, x->cols);
  if (w) require_vector("w", w, MG_F32, x->cols);
  if (b) require_vector("b", b, MG_F32, x->cols);
  if (empty(x)) return;
  const NormArgs args{pointer<float>(x),
                      w ? pointer<float>(w) : nullptr,
                      b ? pointer<float>(b) : nullptr,
                      y->data,
                      x->stride,
                      y->stride,
                      x->cols,
                      eps};
  const bool vector = x->cols % 4 == 0 && aligned(x, 16) && aligned(y, y->dtype == MG_F32 ? 16 : 8) && (!w || aligned(w, 16)) &&
                      (!b || aligned(b, 16));
  if (y->dtype == MG_F32) {
    launch<float, CENTRED>(ctx, args, (unsigned)x->rows, vector);
  } else {
    launch<bf16, CENTRED>(ctx, args, (unsigned)x->rows, vector);
  }
}

struct BackwardArgs {
  const float *x, *weight, *dy;
  float *dx;
  int64_t x_stride, dy_stride, dx_stride;
  int64_t cols;
  float eps;
};

// With c = x - mean, r the factor that scales it and g = dy w: dx = r (g - mean(g) - c r^2 mean(g c)); RMS has no means but the
// last. The sums of squares, of g and of g c belong to a thread.
struct Slope {
  float scale, mean, along;
  __device__ Slope(bool centred, float squares, float sum, float product, float cols, float eps) {
    scale = rsqrtf(block_sum(squares) / cols + eps);
    mean = centred ? block_sum(sum) / cols : 0;
    along = block_sum(product) / cols * scale * scale;
  }
  __device__ float at(float c, float g) const { return scale * (g - mean - c * along); }
};

template <bool CENTRED, int PIECES> __global__ void __launch_bounds__(THREADS) backward_kernel(BackwardArgs a) {
  const float *x = a.x + blockIdx.x * a.x_stride, *dy = a.dy + blockIdx.x * a.dy_stride;
  float *dx = a.dx + blockIdx.x * a.dx_stride;
  float c[PIECES][4], g[PIECES][4];
  float sum = 0;
#pragma unroll
  for (int p = 0; p < PIECES; p++) {
    const int64_t col = (threadIdx.x + p * THREADS) * 4;
    float w[4] = {1, 1, 1, 1};
    if (col < a.cols) {
      load<4>(x + col, c[p]);
      load<4>(dy + col, g[p]);
      if (a.weight) load<4>(a.weight + col, w);
    } else {
#pragma unroll
      for (int i = 0; i < 4; i++) c[p][i] = g[p][i] = 0;
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
      g[p][i] *= w[i];
      sum += c[p][i];
    }
  }
  const float mean = CENTRED ? block_sum(sum) / (float)a.cols : 0;
  float squares = 0, slopes = 0, product = 0;
#pragma unroll
  for (int p = 0; p < PIECES; p++) {
    if ((threadIdx.x + p * THREADS) * 4 >= a.cols) continue;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      c[p][i] -= mean;
      squares += c[p][i] * c[p][i];
      slopes += g[p][i];
      product += g[p][i] * c[p][i];
    }
  }
  const Slope slope(CENTRED, squares, slopes, product, (float)a.cols, a.eps);
#pragma unroll
  for (int p = 0; p < PIECES; p++) {
    const int64_t col = (threadIdx.x + p * THREADS) * 4;
    if (col >= a.cols) continue;
#pragma unroll
    for (int i = 0; i < 4; i++) g[p][i] = slope.at(c[p][i], g[p][i]);
    store<4>(dx + col, g[p]);
  }
}

template <bool CENTRED> __global__ void __launch_bounds__(THREADS) backward_any_kernel(BackwardArgs a) {
  const float *x = a.x + blockIdx.x * a.x_stride, *dy = a.dy + blockIdx.x * a.dy_stride;
  float *dx = a.dx + blockIdx.x * a.dx_stride;
  float mean = 0;
  if (CENTRED) {
    float sum = 0;
    for (int64_t i = threadIdx.x; i < a.cols; i += THREADS) sum += x[i];
    mean = block_sum(sum) / (float)a.cols;
  }
  float squares = 0, slopes = 0, product = 0;
  for (int64_t i = threadIdx.x; i < a.cols; i += THREADS) {
    const float c = x[i] - mean, g = dy[i] * (a.weight ? a.weight[i] : 1);
    squares += c * c;
    slopes += g;
    product += g * c;
  }
  const Slope slope(CENTRED, squares, slopes, product, (float)a.cols, a.eps);
  for (int64_t i = threadIdx.x; i < a.cols; i += THREADS) {
    dx[i] = slope.at(x[i] - mean, dy[i] * (a.weight ? a.weight[i] : 1));
  }
}

template <bool CENTRED>
void backward(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, float eps, const mg_tensor *dy, mg_tensor *dx) {
  require("x", x, {MG_F32});
  require("dy", dy, {MG_F32});
  require("dx", dx, {MG_F32});
  require_shape("dy", dy, x->rows, x->cols);
  require_shape("dx", dx, x->rows, x->cols);
  if (w) require_vector("w", w, MG_F32, x->cols);
  if (empty(x)) return;
  const BackwardArgs a{pointer<float>(x),
                       w ? pointer<float>(w) : nullptr,
                       pointer<float>(dy),
                       pointer<float>(dx),
                       x->stride,
                       dy->stride,
                       dx->stride,
                       x->cols,
                       eps};
  const bool vector = x->cols % 4 == 0 && aligned(x, 16) && aligned(dy, 16) && aligned(dx, 16) && (!w || aligned(w, 16));
  const int64_t pieces = vector ? ceil_div(a.cols, 4 * THREADS) : 9;
  const unsigned rows = (unsigned)x->rows;
  if (pieces <= 1) {
    backward_kernel<CENTRED, 1><<<rows, THREADS, 0, ctx->stream>>>(a);
  } else if (pieces <= 2) {
    backward_kernel<CENTRED, 2><<<rows, THREADS, 0, ctx->stream>>>(a);
  } else if (pieces <= 4) {
    backward_kernel<CENTRED, 4><<<rows, THREADS, 0, ctx->stream>>>(a);
  } else if (pieces <= 8) {
    backward_kernel<CENTRED, 8><<<rows, THREADS, 0, ctx->stream>>>(a);
  } else {
    backward_any_kernel<CENTRED><<<rows, THREADS, 0, ctx->stream>>>(a);
  }
  launched();
}

} // namespace

int32_t mg_rms_norm(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, float eps, mg_tensor *y) {
  return guarded(ctx, "rms_norm", [&] { normalise<false>(ctx, x, w, nullptr, eps, y); });
}

int32_t mg_layer_norm(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, const mg_tensor *b, float eps, mg_tensor *y) {
  return guarded(ctx, "layer_norm", [&] { normalise<true>(ctx, x, w, b, eps, y); });
}

int32_t mg_rms_norm_backward(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, float eps, const mg_tensor *dy,
                             mg_tensor *dx) {
  return guarded(ctx, "rms_norm_backward", [&] { backward<false>(ctx, x, w, eps, dy, dx); });
}

int32_t mg_layer_norm_backward(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, float eps, const mg_tensor *dy,
                               mg_tensor *dx) {
  return guarded(ctx, "layer_norm_backward", [&] { backward<true>(ctx, x, w, eps, dy, dx); });
}
