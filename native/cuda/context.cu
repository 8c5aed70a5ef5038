// Devices, contexts, errors and argument checks.
#include "upload.cuh"

#include <cstring>
#include <new>

namespace {

thread_local char creation_error[512] = "";

// Why no device can be used, or null.
const char *unusable(int *count) {
  *count = 0;
  const cudaError_t error = cudaGetDeviceCount(count);
  if (error == cudaSuccess) return *count > 0 ? nullptr : "the driver shows no card";
  cudaGetLastError(); // the failed probe must not be met by a later call
  *count = 0;
  if (error == cudaErrorInsufficientDriver) return "no NVIDIA driver, or one older than CUDA 13.0 needs (580)";
  return cudaGetErrorString(error);
}

void open_device(mg_context *ctx, int32_t device) {
  int count = 0;
  if (const char *reason = unusable(&count)) fail(MG_EUNSUPPORTED, "no CUDA device: %s", reason);
  if (device < 0 || device >= count) fail(MG_EINVAL, "there is no CUDA device %d: the driver shows %d", device, count);
  ctx->device = device;
  check(cudaSetDevice(device), "selecting the device");

  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, device), "reading the device's properties");
  if (properties.major < 8) {
    fail(MG_EUNSUPPORTED, "%s has compute capability %d.%d; 8.0 or later is needed", properties.name, properties.major,
         properties.minor);
  }
  ctx->overlaps = properties.major >= 9;
  ctx->multiprocessors = properties.multiProcessorCount;
  ctx->shared_limit = (int)properties.sharedMemPerBlockOptin;
  snprintf(ctx->description, sizeof ctx->description, "%s, sm_%d%d, %.1f GiB", properties.name, properties.major,
           properties.minor, (double)properties.totalGlobalMem / (1 << 30));

  int pools = 0;
  check(cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, device), "reading the device's attributes");
  ctx->pooled = pools != 0;
  if (ctx->pooled) {
    cudaMemPool_t pool;
    uint64_t keep_all = UINT64_MAX;
    check(cudaDeviceGetDefaultMemPool(&pool, device), "opening the memory pool");
    check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep_all), "setting up the memory pool");
    // Memory that another stream has freed in its order but not yet in time is not worth waiting for its uploads.
    int wait = 0;
    check(cudaMemPoolSetAttribute(pool, cudaMemPoolReuseAllowInternalDependencies, &wait), "setting up the memory pool");
  }
  check(cudaStreamCreateWithFlags(&ctx->stream, cudaStreamNonBlocking), "creating the stream");
  check(cudaEventCreateWithFlags(&ctx->event, cudaEventDisableTiming), "creating the event");
  void *fault = nullptr;
  check(cudaHostAlloc(&fault, sizeof(uint64_t), cudaHostAllocMapped), "allocating pinned memory");
  ctx->fault = static_cast<uint64_t *>(fault);
  *ctx->fault = 0;
}

void close_device(mg_context *ctx) {
  // Nothing can be reported from here: an error of earlier work belongs to the mg_sync the caller did not make.
  cudaSetDevice(ctx->device);
  if (ctx->stream) cudaStreamSynchronize(ctx->stream);
  if (ctx->scratch) mg_free(ctx, ctx->scratch);
  close_uploader(ctx);
  if (ctx->fault) cudaFreeHost(ctx->fault);
  if (ctx->event) cudaEventDestroy(ctx->event);
  if (ctx->stream) cudaStreamDestroy(ctx->stream);
  cudaGetLastError();
}

} // namespace

const char *dtype_name(int32_t dtype) {
  switch (dtype) {
  case MG_F32:
    return "F32";
  case MG_F64:
    return "F64";
  case MG_BF16:
    return "BF16";
  case MG_F16:
    return "F16";
  case MG_I32:
    return "I32";
  case MG_Q4_0:
    return "Q4_0";
  case MG_Q4_1:
    return "Q4_1";
  case MG_Q5_0:
    return "Q5_0";
  case MG_Q5_1:
    return "Q5_1";
  case MG_Q8_0:
    return "Q8_0";
  case MG_Q4_K:
    return "Q4_K";
  case MG_Q5_K:
    return "Q5_K";
  case MG_Q6_K:
    return "Q6_K";
  default:
    return "unknown";
  }
}

void require(const char *name, const mg_tensor *x, std::initializer_list<int32_t> dtypes) {
  if (!x) fail(MG_EINVAL, "%s is NULL", name);
  bool accepted = false;
  for (int32_t dtype : dtypes) accepted |= x->dtype == dtype;
  if (!accepted) fail(MG_EINVAL, "%s must not be %s (dtype %d)", name, dtype_name(x->dtype), x->dtype);
  if (x->rows < 0 || x->cols < 0) fail(MG_EINVAL, "%s has a negative size", name);
  if (x->rows > 1 && x->stride < x->cols) {
    fail(MG_EINVAL, "%s has stride %lld below its %lld columns", name, (long long)x->stride, (long long)x->cols);
  }
  if (is_quantised(x->dtype)) {
    const int length = block_shape(x->dtype).length;
    if (x->cols % length != 0 || (x->rows > 1 && x->stride != x->cols)) {
      fail(MG_EINVAL, "%s is %s: its columns must be a multiple of %d and its rows adjacent", name, dtype_name(x->dtype), length);
    }
  }
  if (!x->data && !empty(x)) fail(MG_EINVAL, "%s has no data", name);
  const int piece = block_shape(x->dtype).bytes, start = piece & -piece; // what kernels may load at once
  if (reinterpret_cast<uintptr_t>(x->data) % (start < 16 ? start : 16) != 0)
    fail(MG_EINVAL, "%s must start on %d bytes", name, start);
}

void require_shape(const char *name, const mg_tensor *x, int64_t rows, int64_t cols) {
  if (x->rows != rows || x->cols != cols) {
    fail(MG_EINVAL, "%s is [%lld, %lld], expected [%lld, %lld]", name, (long long)x->rows, (long long)x->cols, (long long)rows,
         (long long)cols);
  }
}

void require_vector(const char *name, const mg_tensor *x, int32_t dtype, int64_t cols) {
  require(name, x, {dtype});
  require_shape(name, x, 1, cols);
}

int64_t require_squares(const mg_tensor *a, int most) {
  const long long rows = a->rows, n = a->cols;
  if (rows % n != 0) fail(MG_EINVAL, "%lld rows are not matrices of %lld", rows, n);
  if (n > most) fail(MG_EUNSUPPORTED, "matrices of %lld columns are too large, at most %d", n, most);
  return rows / n;
}

void check_fault(mg_context *ctx) {
  const uint64_t word = *static_cast<volatile uint64_t *>(ctx->fault);
  if (word == 0) return;
  *ctx->fault = 0;
  const int id = (int32_t)(uint32_t)word;
  switch ((Fault)(word >> 32)) {
  case FAULT_EMBED:
    fail(MG_EINVAL, "an earlier embed met id %d, which lies outside its table", id);
  case FAULT_TARGET:
    fail(MG_EINVAL, "an earlier nll met target %d, which lies outside the vocabulary", id);
  case FAULT_ROW:
    fail(MG_EINVAL, "an earlier gather_rows met row %d, which lies outside its input", id);
  case FAULT_PLACE:
    fail(MG_EINVAL, "an earlier scatter_rows met row %d, which lies outside its output", id);
  case FAULT_SPAN:
    fail(MG_EINVAL, "an earlier attention met a bad span of sequence %d", id);
  default:
    fail(MG_EINVAL, "an earlier gather_columns met column %d, which lies outside its input", id);
  }
}

int32_t mg_abi_version(void) {
  return MG_ABI_VERSION;
}

int32_t mg_device_count(void) {
  int count = 0;
  unusable(&count);
  return count;
}

int32_t mg_context_create(int32_t device, int32_t threads, const char *isa, mg_context **out) {
  (void)threads;
  (void)isa;
  if (!out) return MG_EINVAL;
  *out = nullptr;
  mg_context *ctx = new (std::nothrow) mg_context;
  if (!ctx) return MG_ENOMEM;
  try {
    open_device(ctx, device);
  } catch (const Failure &failure) {
    snprintf(creation_error, sizeof creation_error, "context_create: %s", failure.text);
    close_device(ctx);
    delete ctx;
    return failure.status;
  }
  *out = ctx;
  return MG_OK;
}

void mg_context_destroy(mg_context *ctx) {
  if (!ctx) return;
  close_device(ctx);
  delete ctx;
}

const char *mg_last_error(mg_context *ctx) {
  return ctx ? ctx->error : creation_error;
}

int32_t mg_describe(mg_context *ctx, char *text, int64_t size) {
  return guarded(ctx, "describe", [&] {
    if (!text || size <= 0) fail(MG_EINVAL, "there is no room for the text");
    snprintf(text, (size_t)size, "%s", ctx->description);
  });
}

int32_t mg_set_precision(mg_context *ctx, int32_t precision) {
  return guarded(ctx, "set_precision", [&] {
    if (precision != MG_PRECISE && precision != MG_FAST) fail(MG_EINVAL, "there is no precision %d", precision);
    ctx->precision = precision;
  });
}

int32_t mg_sync(mg_context *ctx) {
  return guarded(ctx, "sync", [&] {
    check(cudaStreamSynchronize(ctx->stream), "an earlier operation failed");
    check_fault(ctx);
  });
}

int32_t mg_stream(mg_context *ctx, void **out) {
  return guarded(ctx, "stream", [&] {
    if (!out) fail(MG_EINVAL, "out is NULL");
    *out = ctx->stream;
  });
}

int32_t mg_wait(mg_context *ctx, mg_context *other) {
  return guarded(ctx, "wait", [&] {
    if (!other || other->device != ctx->device) fail(MG_EINVAL, "the other context is not one of the same device");
    check(cudaEventRecord(other->event, other->stream), "recording an event");
    check(cudaStreamWaitEvent(ctx->stream, other->event, 0), "waiting for an event");
  });
}
