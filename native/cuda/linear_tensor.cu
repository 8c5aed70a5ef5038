// y = x wᵀ for some tens of rows of x: still bound by reading w, with too much arithmetic for anything but tensor cores.
//
// A product m16n8k16 takes 16 rows of w and 8 of x. Which of the 16 columns is which does not matter as long as both sides agree,
// so a lane takes its pieces as 8 consecutive columns: 16 bytes for two products, straight from memory.
#include "linear.cuh"
#include "mma.cuh"

namespace {

constexpr int ROWS = 32;       // of x
constexpr int OUTS = 128;      // rows of w per block
constexpr int DEPTH = 64;      // columns per step, half of them for each group of 4 warps
constexpr int PITCH = 64 + 32; // of a row of x in shared memory: neighbouring rows lie in different halves of the banks
constexpr int THREADS = 256;
constexpr int TILES = ROWS / 8;

struct TensorArgs {
  LinearArgs a;
  int64_t share;  // columns per block, a multiple of DEPTH
  float *partial; // [shares, ROWS, out]; null with one share
};

// Takes the next bfloat16 part of n numbers off them.
template <int N> __device__ inline void take_part(float (&v)[N], uint32_t (&part)[N / 2]) {
#pragma unroll
  for (int i = 0; i < N; i += 2) {
    part[i / 2] = bf16_pair(v[i], v[i + 1]);
    v[i] -= __uint_as_float(part[i / 2] << 16);
    v[i + 1] -= __uint_as_float(part[i / 2] & 0xFFFF0000u);
  }
}

// 8 columns of a row of w as W_PARTS bfloat16 parts.
template <class Format, int W_PARTS> struct Weights {
  uint32_t part[W_PARTS][4];
  __device__ inline void read(const uint8_t *row, int64_t col, bool inside) {
    if (!inside) {
#pragma unroll
      for (int p = 0; p < W_PARTS; p++) {
#pragma unroll
        for (int i = 0; i < 4; i++) part[p][i] = 0;
      }
    } else if constexpr (std::is_same_v<Format, Plain<bf16>>) {
      const uint4 v = *reinterpret_cast<const uint4 *>(row + col * 2);
      part[0][0] = v.x, part[0][1] = v.y, part[0][2] = v.z, part[0][3] = v.w;
    } else {
      float v[8];
      Format::template load8<true>(row, col, 8, v);
#pragma unroll
      for (int p = 0; p < W_PARTS; p++) take_part<8>(v, part[p]);
    }
  }
};

// Warps 0 to 3 take the first half of each step for 32 rows of w each, warps 4 to 7 the second half.
template <class Format, class X, int X_PARTS, int W_PARTS>
__global__ void __launch_bounds__(THREADS) tensor_kernel(TensorArgs t) {
  after_predecessor();
  constexpr int X_BYTES = 2 * X_PARTS * ROWS * PITCH * (int)sizeof(bf16), SUM_BYTES = 4 * 32 * 2 * TILES * 4 * (int)sizeof(float);
  __shared__ __align__(16) uint8_t shared[X_BYTES > SUM_BYTES ? X_BYTES : SUM_BYTES];
  const auto parts = reinterpret_cast<bf16(*)[X_PARTS][ROWS][PITCH]>(shared); // two buffers
  const LinearArgs &a = t.a;
  const int lane = threadIdx.x % 32, group = lane / 4, quarter = lane % 4;
  const int band = threadIdx.x / 32 % 4, half = threadIdx.x / 128;
  const int64_t first_out = (int64_t)blockIdx.x * OUTS + band * 32;
  const int64_t begin = blockIdx.y * t.share, end = min(begin + t.share, a.in);

  const uint8_t *w[4];
#pragma unroll
  for (int i = 0; i < 4; i++) w[i] = a.w + min(first_out + group + 8 * i, a.out - 1) * a.w_pitch;
  const int64_t w_col = half * 32 + quarter * 8;
  const int x_row = threadIdx.x / 16, x_col = threadIdx.x % 16 * 4;

  Weights<Format, W_PARTS> next[4];
  float x[2][4];
  const auto fetch = [&](int64_t col) {
#pragma unroll
    for (int i = 0; i < 4; i++) next[i].read(w[i], col + w_col, col + w_col < end);
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int row = x_row + 16 * i;
      if (row < a.rows && col + x_col < end) {
        load<4>(static_cast<const X *>(a.x) + row * a.x_stride + col + x_col, x[i]);
      } else {
#pragma unroll
        for (int j = 0; j < 4; j++) x[i][j] = 0;
      }
    }
  };

  float sum[2][TILES][4] = {};
  fetch(begin);
  int buffer = 0;
  for (int64_t col = begin; col < end; col += DEPTH, buffer ^= 1) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
      for (int p = 0; p < X_PARTS; p++) {
        uint32_t part[2];
        take_part<4>(x[i], part);
        *reinterpret_cast<uint2 *>(&parts[buffer][p][x_row + 16 * i][x_col]) = {part[0], part[1]};
      }
    }
    Weights<Format, W_PARTS> now[4];
#pragma unroll
    for (int i = 0; i < 4; i++) now[i] = next[i];
    __syncthreads(); // also says that all are done with the other buffer
    if (col + DEPTH < end) fetch(col + DEPTH);
#pragma unroll
    for (int n = 0; n < TILES; n++) {
#pragma unroll
      for (int p = 0; p < X_PARTS; p++) {
        const uint4 b = *reinterpret_cast<const uint4 *>(&parts[buffer][p][n * 8 + group][w_col]);
#pragma unroll
        for (int q = 0; q < W_PARTS && p + q < 3; q++) { // beyond that is below float32's rounding
#pragma unroll
          for (int m = 0; m < 2; m++) {
            const uint32_t (&upper)[4] = now[2 * m].part[q], (&lower)[4] = now[2 * m + 1].part[q];
            multiply_bf16(sum[m][n], {upper[0], lower[0], upper[1], lower[1]}, b.x, b.y);
            multiply_bf16(sum[m][n], {upper[2], lower[2], upper[3], lower[3]}, b.z, b.w);
          }
        }
      }
    }
  }

  __syncthreads();
  const auto halves = reinterpret_cast<float (*)[2 * TILES * 4][32]>(shared);
#pragma unroll
  for (int i = 0; i < 2 * TILES * 4; i++) {
    if (half == 1) halves[band][i][lane] = sum[i / 4 / TILES][i / 4 % TILES][i % 4];
  }
  __syncthreads();
  if (half == 1) return;
#pragma unroll
  for (int i = 0; i < 2 * TILES * 4; i++) {
    const float total = sum[i / 4 / TILES][i / 4 % TILES][i % 4] + halves[band][i][lane];
    const int64_t out = first_out + i / 4 / TILES * 16 + group + i % 4 / 2 * 8;
    const int row = i / 4 % TILES * 8 + quarter * 2 + i % 2;
    if (out >= a.out || row >= a.rows) continue;
    if (t.partial) {
      t.partial[((int64_t)blockIdx.y * ROWS + row) * a.out + out] = total;
    } else {
      a.y[row * a.y_stride + out] = total + (a.bias ? a.bias[out] : 0);
    }
  }
}

// In a fixed order, so that results do not change from run to run.
__global__ void __launch_bounds__(256) sum_kernel(TensorArgs t, int shares) {
  after_predecessor();
  const int64_t out = (int64_t)blockIdx.x * 256 + threadIdx.x, row = blockIdx.y;
  if (out >= t.a.out) return;
  float sum = t.a.bias ? t.a.bias[out] : 0;
  for (int s = 0; s < shares; s++) sum += t.partial[((int64_t)s * ROWS + row) * t.a.out + out];
  t.a.y[row * t.a.y_stride + out] = sum;
}

template <class Format, class X, int X_PARTS, int W_PARTS> void launch(mg_context *ctx, TensorArgs t) {
  const LinearArgs &a = t.a;
  const int64_t bands = ceil_div(a.out, OUTS);
  // two blocks per multiprocessor, of at least four steps
  int64_t shares = 2 * (int64_t)ctx->multiprocessors / bands;
  shares = shares < 1 ? 1 : shares;
  t.share = ceil_div(ceil_div(a.in, shares), DEPTH) * DEPTH;
  if (t.share < 4 * DEPTH) t.share = 4 * DEPTH;
  shares = ceil_div(a.in, t.share);
  t.partial = nullptr;
  if (shares > 1) t.partial = static_cast<float *>(scratch(ctx, shares * ROWS * a.out * (int64_t)sizeof(float)));
  launch_early(ctx, tensor_kernel<Format, X, X_PARTS, W_PARTS>, dim3((unsigned)bands, (unsigned)shares), THREADS, 0, t);
  if (!t.partial) return;
  launch_early(ctx, sum_kernel, dim3((unsigned)ceil_div(a.out, 256), (unsigned)a.rows), 256, 0, t, (int)shares);
}

} // namespace

void multiply_tensor(mg_context *ctx, const LinearArgs &a, int32_t w_dtype, bool x_bf16) {
  with_format(w_dtype, [&](auto format) {
    using Format = decltype(format);
    if constexpr (std::is_same_v<Format, Plain<double>>) return;
    constexpr int w_parts = std::is_same_v<Format, Plain<bf16>> ? 1 : std::is_same_v<Format, Plain<f16>> ? 2 : 3;
    for (int64_t row = 0; row < a.rows; row += ROWS) {
      TensorArgs t{a, 0, nullptr};
      t.a.rows = a.rows - row < ROWS ? a.rows - row : ROWS;
      t.a.x = static_cast<const uint8_t *>(a.x) + row * a.x_stride * (x_bf16 ? 2 : 4);
      t.a.y += row * a.y_stride;
      if (x_bf16) {
        launch<Format, bf16, 1, 1>(ctx, t);
      } else if (ctx->precision == MG_FAST) {
        launch<Format, float, 1, 1>(ctx, t);
      } else {
        launch<Format, float, 3, w_parts>(ctx, t);
      }
    }
  });
}
