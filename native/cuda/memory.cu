// Device and pinned memory, copies.
#include "upload.cuh"

namespace {

// The stream-ordered pool keeps what was freed; a plain allocation cannot use that, so out of memory means: trim, then retry.
cudaError_t allocate(mg_context *ctx, int64_t bytes, void **out) {
  if (!ctx->pooled) return cudaMalloc(out, (size_t)bytes);
  cudaError_t error = cudaMallocAsync(out, (size_t)bytes, ctx->stream);
  if (error != cudaErrorMemoryAllocation) return error;
  cudaGetLastError();
  cudaMemPool_t pool;
  if ((error = cudaDeviceSynchronize()) != cudaSuccess) return error; // other streams free too
  if ((error = cudaDeviceGetDefaultMemPool(&pool, ctx->device)) != cudaSuccess) return error;
  if ((error = cudaMemPoolTrimTo(pool, 0)) != cudaSuccess) return error;
  return cudaMallocAsync(out, (size_t)bytes, ctx->stream);
}

// Free memory counts what the pool holds but nobody uses.
void memory_info(mg_context *ctx, int64_t *free_bytes, int64_t *total_bytes) {
  size_t available = 0, total = 0;
  check(cudaMemGetInfo(&available, &total), "asking for the free memory");
  uint64_t reserved = 0, used = 0;
  if (ctx->pooled) {
    cudaMemPool_t pool;
    check(cudaDeviceGetDefaultMemPool(&pool, ctx->device), "opening the memory pool");
    check(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &reserved), "asking the memory pool");
    check(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used), "asking the memory pool");
  }
  *free_bytes = (int64_t)(available + (reserved - used));
  *total_bytes = (int64_t)total;
}

void *allocate_or_fail(mg_context *ctx, int64_t bytes) {
  void *data = nullptr;
  const cudaError_t error = allocate(ctx, bytes, &data);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    int64_t available = 0, total = 0;
    memory_info(ctx, &available, &total);
    fail(MG_ENOMEM, "%.2f GiB asked of %s, %.2f of %.2f GiB are free", bytes / 0x1p30, ctx->description, available / 0x1p30,
         total / 0x1p30);
  }
  check(error, "allocating device memory");
  return data;
}

void release(mg_context *ctx, void *data) {
  check(ctx->pooled ? cudaFreeAsync(data, ctx->stream) : cudaFree(data), "freeing device memory");
}

} // namespace

void *scratch(mg_context *ctx, int64_t bytes) {
  if (bytes > ctx->scratch_bytes) {
    if (ctx->scratch) release(ctx, ctx->scratch);
    ctx->scratch = nullptr;
    ctx->scratch_bytes = 0;
    ctx->scratch = allocate_or_fail(ctx, bytes);
    ctx->scratch_bytes = bytes;
  }
  return ctx->scratch;
}

int32_t mg_alloc(mg_context *ctx, int64_t bytes, void **out) {
  return guarded(ctx, "alloc", [&] {
    if (!out || bytes < 0) fail(MG_EINVAL, "no place for the result, or a negative size");
    *out = nullptr;
    *out = allocate_or_fail(ctx, bytes > 0 ? bytes : 1);
  });
}

int32_t mg_free(mg_context *ctx, void *data) {
  return guarded(ctx, "free", [&] {
    if (data) release(ctx, data);
  });
}

int32_t mg_host_alloc(mg_context *ctx, int64_t bytes, void **out) {
  return guarded(ctx, "host_alloc", [&] {
    if (!out || bytes < 0) fail(MG_EINVAL, "no place for the result, or a negative size");
    *out = nullptr;
    const cudaError_t error = cudaHostAlloc(out, (size_t)(bytes > 0 ? bytes : 1), cudaHostAllocPortable);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      fail(MG_ENOMEM, "%.2f GiB of pinned host memory asked", bytes / 0x1p30);
    }
    check(error, "allocating pinned host memory");
  });
}

int32_t mg_host_free(mg_context *ctx, void *data) {
  return guarded(ctx, "host_free", [&] {
    if (data) check(cudaFreeHost(data), "freeing pinned host memory");
  });
}

int32_t mg_memory(mg_context *ctx, int64_t *free_bytes, int64_t *total_bytes) {
  return guarded(ctx, "memory", [&] {
    if (!free_bytes || !total_bytes) fail(MG_EINVAL, "no place for the result");
    memory_info(ctx, free_bytes, total_bytes);
  });
}

int32_t mg_copy(mg_context *ctx, void *dst, const void *src, int64_t bytes, int32_t kind) {
  return guarded(ctx, "copy", [&] {
    if (bytes < 0 || kind < 0 || kind > 2) fail(MG_EINVAL, "a negative size, or no such kind of copy");
    if (bytes == 0) return;
    if (!dst || !src) fail(MG_EINVAL, "a NULL pointer");
    if (kind == 0) {
      upload(ctx, dst, src, bytes);
      return;
    }
    const cudaMemcpyKind direction = kind == 1 ? cudaMemcpyDeviceToHost : cudaMemcpyDeviceToDevice;
    check(cudaMemcpyAsync(dst, src, (size_t)bytes, direction, ctx->stream), "copying");
    if (kind != 1) return;
    check(cudaStreamSynchronize(ctx->stream), "an earlier operation or the copy failed");
    check_fault(ctx);
  });
}

int32_t mg_fill_zero(mg_context *ctx, mg_tensor *x) {
  return guarded(ctx, "fill_zero", [&] {
    require("x", x,
            {MG_F32, MG_F64, MG_BF16, MG_F16, MG_I32, MG_Q4_0, MG_Q4_1, MG_Q5_0, MG_Q5_1, MG_Q8_0, MG_Q4_K, MG_Q5_K, MG_Q6_K});
    if (empty(x)) return;
    const BlockShape shape = block_shape(x->dtype);
    const size_t width = (size_t)(x->cols / shape.length * shape.bytes);
    if (contiguous(x)) {
      check(cudaMemsetAsync(x->data, 0, width * (size_t)x->rows, ctx->stream), "filling");
    } else {
      check(cudaMemset2DAsync(x->data, (size_t)x->stride * shape.bytes, 0, width, (size_t)x->rows, ctx->stream), "filling");
    }
  });
}
