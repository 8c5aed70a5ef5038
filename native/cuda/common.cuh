// What every file of the CUDA library shares: the context, failures, argument checks, launches and small device helpers.
#pragma once

#include "modegpt.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <initializer_list>

using bf16 = __nv_bfloat16;
using f16 = __half;

// Ids are on the device, so a kernel finds a bad one long after the call returned. It leaves one word in host memory that the
// next waiting call reads: the operation in the upper half, the offending id in the lower.
enum Fault : uint32_t { FAULT_NONE, FAULT_EMBED, FAULT_TARGET, FAULT_COLUMN, FAULT_ROW, FAULT_PLACE, FAULT_SPAN };

struct Uploader;

struct mg_context {
  int device = 0;
  cudaStream_t stream = nullptr;
  cudaEvent_t event = nullptr;
  int multiprocessors = 0;
  int shared_limit = 0;  // bytes of shared memory a block may ask for
  bool pooled = false;   // stream-ordered allocation is there
  bool overlaps = false; // kernels may begin while their predecessor ends
  int precision = MG_PRECISE;
  void *scratch = nullptr;
  int64_t scratch_bytes = 0;
  uint64_t *fault = nullptr; // pinned and mapped
  Uploader *uploader = nullptr;
  const char *op = "";
  char description[320] = "";
  char error[512] = "";
};

struct Failure {
  int32_t status;
  char text[448];
};

[[noreturn]] inline void fail(int32_t status, const char *format, ...) {
  Failure failure{status, ""};
  va_list args;
  va_start(args, format);
  vsnprintf(failure.text, sizeof failure.text, format, args);
  va_end(args);
  throw failure;
}

inline void check(cudaError_t error, const char *what) {
  if (error == cudaSuccess) return;
  cudaGetLastError(); // or the next launch would be told of it
  fail(error == cudaErrorMemoryAllocation ? MG_ENOMEM : MG_EDEVICE, "%s: %s (%s)", what, cudaGetErrorString(error),
       cudaGetErrorName(error));
}

inline void launched() {
  check(cudaGetLastError(), "kernel launch");
}

// What follows waits until the kernel before this one in the stream has ended and can be seen.
__device__ inline void after_predecessor() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Launches a kernel that is short against its launch: where the device can, its blocks are set up while the kernel before it ends
// (programmatic dependent launch). All its threads call after_predecessor() before they do anything else.
template <class... Parameters>
void launch_early(mg_context *ctx, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared, Parameters... arguments) {
  cudaLaunchAttribute overlap = {};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = ctx->stream;
  config.attrs = &overlap;
  config.numAttrs = ctx->overlaps ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, arguments...), "kernel launch");
}

// Runs the body of one ABI function: selects the device and turns a Failure into a status and a text. No exception leaves it.
template <class Body> int32_t guarded(mg_context *ctx, const char *op, Body &&body) {
  if (!ctx) return MG_EINVAL;
  ctx->op = op;
  try {
    check(cudaSetDevice(ctx->device), "selecting the device");
    body();
    return MG_OK;
  } catch (const Failure &failure) {
    snprintf(ctx->error, sizeof ctx->error, "%s: %s", op, failure.text);
    return failure.status;
  }
}

// Reads the fault word after the stream was waited for.
void check_fault(mg_context *ctx);

// Whether a block may have so many bytes of dynamic shared memory beside up to 4 KiB of its own.
inline bool fits_shared(const mg_context *ctx, int64_t bytes) {
  return bytes <= ctx->shared_limit - 4096;
}

template <class Kernel> void ask_for_shared(Kernel *kernel, int bytes) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), "asking for shared memory");
}

// Grow-only workspace, valid until the next call for it in the same operation's stream order.
void *scratch(mg_context *ctx, int64_t bytes);

// ---- arguments ------------------------------------------------------------------------------------------------------

struct BlockShape {
  int length, bytes;
};

// Elements and bytes of one indivisible piece; length 0: not a dtype.
constexpr BlockShape block_shape(int32_t dtype) {
  switch (dtype) {
  case MG_F32:
  case MG_I32:
    return {1, 4};
  case MG_F64:
    return {1, 8};
  case MG_BF16:
  case MG_F16:
    return {1, 2};
  case MG_Q4_0:
    return {32, 18};
  case MG_Q4_1:
    return {32, 20};
  case MG_Q5_0:
    return {32, 22};
  case MG_Q5_1:
    return {32, 24};
  case MG_Q8_0:
    return {32, 34};
  case MG_Q4_K:
    return {256, 144};
  case MG_Q5_K:
    return {256, 176};
  case MG_Q6_K:
    return {256, 210};
  default:
    return {0, 0};
  }
}

inline bool is_float(int32_t dtype) {
  return dtype == MG_F32 || dtype == MG_F64 || dtype == MG_BF16 || dtype == MG_F16;
}
inline bool is_quantised(int32_t dtype) {
  return dtype >= MG_Q4_0 && dtype <= MG_Q6_K;
}
inline bool empty(const mg_tensor *x) {
  return x->rows == 0 || x->cols == 0;
}

const char *dtype_name(int32_t dtype);

// Fails unless x is a well-formed tensor of one of the dtypes.
void require(const char *name, const mg_tensor *x, std::initializer_list<int32_t> dtypes);
void require_shape(const char *name, const mg_tensor *x, int64_t rows, int64_t cols);
// A vector [1, cols] of one dtype.
void require_vector(const char *name, const mg_tensor *x, int32_t dtype, int64_t cols);

// How many square matrices of at most `most` columns lie below each other in a, which has columns.
int64_t require_squares(const mg_tensor *a, int most);

template <class T> T *pointer(const mg_tensor *x) {
  return static_cast<T *>(x->data);
}

// Whether every row starts on a multiple of `bytes`, so that a thread may load that many at once.
inline bool aligned(const mg_tensor *x, int bytes) {
  const int64_t pitch = x->stride * block_shape(x->dtype).bytes;
  return reinterpret_cast<uintptr_t>(x->data) % bytes == 0 && (x->rows <= 1 || pitch % bytes == 0);
}

inline bool contiguous(const mg_tensor *x) {
  return x->rows <= 1 || x->stride == x->cols;
}

__host__ __device__ constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// ---- device helpers -------------------------------------------------------------------------------------------------

__device__ inline float to_float(float x) {
  return x;
}
__device__ inline float to_float(double x) {
  return (float)x;
}
__device__ inline float to_float(bf16 x) {
  return __bfloat162float(x);
}
__device__ inline float to_float(f16 x) {
  return __half2float(x);
}

template <class T> __device__ T from_float(float x);
template <> __device__ inline float from_float<float>(float x) {
  return x;
}
template <> __device__ inline double from_float<double>(float x) {
  return x;
}
template <> __device__ inline bf16 from_float<bf16>(float x) {
  return __float2bfloat16_rn(x);
}
template <> __device__ inline f16 from_float<f16>(float x) {
  return __float2half_rn(x);
}

// V elements moved with 16-byte accesses where V and the alignment the caller promises allow them.
template <class T, int V> struct alignas(sizeof(T) * V < 16 ? sizeof(T) * V : 16) Pack { T v[V]; };

template <int V, class T> __device__ inline void load(const T *p, float (&out)[V]) {
  const Pack<T, V> pack = *reinterpret_cast<const Pack<T, V> *>(p);
#pragma unroll
  for (int i = 0; i < V; i++) out[i] = to_float(pack.v[i]);
}

template <int V, class T> __device__ inline void store(T *p, const float (&in)[V]) {
  Pack<T, V> pack;
#pragma unroll
  for (int i = 0; i < V; i++) pack.v[i] = from_float<T>(in[i]);
  *reinterpret_cast<Pack<T, V> *>(p) = pack;
}

struct Sum {
  template <class T> __device__ T operator()(T a, T b) const { return a + b; }
};
struct Max {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

template <class Op, class T> __device__ inline T warp_reduce(T value, Op op) {
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) value = op(value, __shfl_xor_sync(~0u, value, offset));
  return value;
}

// The sum over the block, known to every thread; blockDim.x is a multiple of 32.
template <class T> __device__ inline T block_sum(T value) {
  __shared__ T partial[32];
  value = warp_reduce(value, Sum());
  __syncthreads();
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
  __syncthreads();
  T total = 0;
  for (unsigned w = 0; w < blockDim.x / 32; w++) total += partial[w];
  return total;
}

__device__ inline void raise_fault(uint64_t *fault, Fault what, int32_t id) {
  *reinterpret_cast<volatile uint64_t *>(fault) = (uint64_t)what << 32 | (uint32_t)id;
}

// ---- element-wise maps ----------------------------------------------------------------------------------------------

// Calls f.template at<V>(row, col) for pieces of V elements, and at<1> for what is left of a row.
template <int V, class F> __global__ void __launch_bounds__(256) map_kernel(F f, int64_t rows, int64_t cols) {
  after_predecessor();
  const int64_t col = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * V;
  for (int64_t row = (int64_t)blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += (int64_t)gridDim.y * blockDim.y) {
    if (col + V <= cols) {
      f.template at<V>(row, col);
    } else {
      for (int64_t c = col; c < cols; c++) f.template at<1>(row, c);
    }
  }
}

// `vector`: all operands may be accessed V at a time; `flat`: all are contiguous, so the shape is one long row.
template <int V, class F> void map(mg_context *ctx, F f, int64_t rows, int64_t cols, bool vector, bool flat) {
  if (flat) {
    cols *= rows;
    rows = 1;
  }
  const int64_t pieces = vector ? ceil_div(cols, V) : cols;
  unsigned width = 32;
  while (width < 256 && width < pieces) width *= 2;
  const dim3 block(width, 256 / width);
  const int64_t row_blocks = ceil_div(rows, block.y);
  const dim3 grid((unsigned)ceil_div(pieces, width), (unsigned)(row_blocks < 65535 ? row_blocks : 65535));
  if (vector) {
    launch_early(ctx, map_kernel<V, F>, grid, block, 0, f, rows, cols);
  } else {
    launch_early(ctx, map_kernel<1, F>, grid, block, 0, f, rows, cols);
  }
}
