// y = x wᵀ for few rows of x: the weights are read once, so the time is that of reading them. Checks, the choice of kernel, and
// the one for up to 8 rows, which takes all matrices that read the same x: one after another, each would begin and end slowly.
#include "linear.cuh"

namespace {

constexpr int WARPS = 4;
constexpr int64_t FEW_ROWS = 8; // more would be bound by arithmetic

// Matrices of one format; those up to p have blocks below end[p].
struct LinearGroup {
  LinearArgs part[MG_LINEAR_MOST];
  unsigned end[MG_LINEAR_MOST];
};

// A warp computes OUTS neighbouring outputs for ROWS rows of x; a lane takes 8 inputs at a time.
template <class Format, bool ALIGNED, int ROWS, int OUTS>
__global__ void __launch_bounds__(WARPS * 32) linear_kernel(const __grid_constant__ LinearGroup group) {
  after_predecessor();
  int p = 0;
  while (blockIdx.x >= group.end[p]) p++;
  const unsigned block = blockIdx.x - (p > 0 ? group.end[p - 1] : 0);
  const LinearArgs &a = group.part[p];
  const int lane = threadIdx.x % 32;
  const int64_t first = ((int64_t)block * WARPS + threadIdx.x / 32) * OUTS;
  if (first >= a.out) return;
  float sum[OUTS][ROWS] = {};
  const uint8_t *w[OUTS];
#pragma unroll
  for (int o = 0; o < OUTS; o++) w[o] = a.w + (first + o < a.out ? first + o : first) * a.w_pitch;

#pragma unroll 4 / OUTS
  for (int64_t col = lane * 8; col < a.in; col += 32 * 8) {
    const int count = ALIGNED || a.in - col >= 8 ? 8 : (int)(a.in - col);
    float weight[OUTS][8];
#pragma unroll
    for (int o = 0; o < OUTS; o++) Format::template load8<ALIGNED>(w[o], col, count, weight[o]);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      float x[8];
      Plain<float>::load8<ALIGNED>(static_cast<const uint8_t *>(a.x) + r * a.x_stride * sizeof(float), col, count, x);
#pragma unroll
      for (int o = 0; o < OUTS; o++) {
#pragma unroll
        for (int i = 0; i < 8; i++) sum[o][r] += weight[o][i] * x[i];
      }
    }
  }
#pragma unroll
  for (int o = 0; o < OUTS; o++) {
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      const float total = warp_reduce(sum[o][r], Sum());
      if (lane == 0 && first + o < a.out) a.y[r * a.y_stride + first + o] = total + (a.bias ? a.bias[first + o] : 0);
    }
  }
}

template <class Format, int ROWS> void launch(mg_context *ctx, const LinearArgs *parts, int count, bool vector) {
  constexpr int OUTS = ROWS <= 2 ? 1 : ROWS == 8 && Format::quantised ? 4 : 2; // they share what is read of x
  LinearGroup group = {};
  unsigned grid = 0;
  for (int p = 0; p < count; p++) {
    grid += (unsigned)ceil_div(parts[p].out, WARPS * OUTS);
    group.part[p] = parts[p];
    group.end[p] = grid;
  }
  if (vector) {
    launch_early(ctx, linear_kernel<Format, true, ROWS, OUTS>, grid, WARPS * 32, 0, group);
  } else {
    launch_early(ctx, linear_kernel<Format, false, ROWS, OUTS>, grid, WARPS * 32, 0, group);
  }
}

void few_rows(mg_context *ctx, int32_t dtype, LinearArgs *parts, int count, bool vector) {
  with_format(dtype, [&](auto format) {
    using Format = decltype(format);
    if constexpr (!std::is_same_v<Format, Plain<double>>) {
      for (int64_t left = parts->rows; left > 0;) {
        const int rows = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        switch (rows) {
        case 8:
          launch<Format, 8>(ctx, parts, count, vector);
          break;
        case 4:
          launch<Format, 4>(ctx, parts, count, vector);
          break;
        case 2:
          launch<Format, 2>(ctx, parts, count, vector);
          break;
        default:
          launch<Format, 1>(ctx, parts, count, vector);
        }
        left -= rows;
        for (int p = 0; p < count; p++) {
          parts[p].x = static_cast<const float *>(parts[p].x) + rows * parts[p].x_stride;
          parts[p].y += rows * parts[p].y_stride;
        }
      }
    }
  });
}

LinearArgs checked(const mg_tensor *x, const mg_tensor *w, const mg_tensor *bias, const mg_tensor *y) {
  require("w", w, {MG_F32, MG_BF16, MG_F16, MG_Q4_0, MG_Q4_1, MG_Q5_0, MG_Q5_1, MG_Q8_0, MG_Q4_K, MG_Q5_K, MG_Q6_K});
  require("y", y, {MG_F32});
  require_shape("w", w, y->cols, x->cols);
  require_shape("y", y, x->rows, w->rows);
  if (bias) require_vector("bias", bias, MG_F32, y->cols);
  return {x->data,
          pointer<uint8_t>(w),
          bias ? pointer<float>(bias) : nullptr,
          pointer<float>(y),
          x->stride,
          pitch(w),
          y->stride,
          x->rows,
          x->cols,
          y->cols};
}

} // namespace

int32_t mg_linear(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, const mg_tensor *bias, mg_tensor *y, int32_t count) {
  return guarded(ctx, "linear", [&] {
    if (count < 1 || count > MG_LINEAR_MOST || !w || !y) fail(MG_EINVAL, "%d matrices asked for at once", count);
    require("x", x, {MG_F32, MG_BF16});
    const bool x_bf16 = x->dtype == MG_BF16;
    LinearArgs few[MG_LINEAR_MOST];
    int waiting = 0;
    int32_t dtype = MG_F32;
    bool vector = false;
    const auto launch_waiting = [&] {
      if (waiting > 0) few_rows(ctx, dtype, few, waiting, vector);
      waiting = 0;
    };
    for (int i = 0; i < count; i++) {
      const LinearArgs a = checked(x, w + i, bias && bias[i].data ? bias + i : nullptr, y + i);
      if (empty(y + i)) continue;
      const bool wide = x->cols % 8 == 0 && aligned(x, 16) && (is_quantised(w[i].dtype) || aligned(w + i, 16));
      if (wide && (x_bf16 || x->rows > FEW_ROWS)) {
        multiply_tensor(ctx, a, w[i].dtype, x_bf16);
        continue;
      }
      if (x_bf16) fail(MG_EUNSUPPORTED, "x in BF16 needs a multiple of 8 columns and rows on 16 bytes");
      if (w[i].dtype != dtype || wide != vector) launch_waiting();
      dtype = w[i].dtype;
      vector = wide;
      few[waiting++] = a;
    }
    launch_waiting();
  });
}
