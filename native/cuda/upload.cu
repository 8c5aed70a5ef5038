// Uploads of ordinary host memory: the driver's own copy of it is done by one thread, far slower than the bus.
#include "upload.cuh"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <system_error>
#include <thread>

namespace {

constexpr int64_t CHUNK = 4 << 20;
constexpr int64_t WORTHWHILE = 4 * CHUNK;

bool pinned(const void *memory) {
  cudaPointerAttributes attributes;
  check(cudaPointerGetAttributes(&attributes, memory), "asking what kind of memory it is");
  return attributes.type != cudaMemoryTypeUnregistered;
}

} // namespace

// Two pinned buffers for each thread: one is filled while the other is sent.
struct Uploader {
  static constexpr int THREADS = 4;

  struct Buffer {
    void *memory = nullptr;
    cudaEvent_t sent = nullptr;
  };

  int device;
  Buffer buffers[THREADS][2];

  explicit Uploader(int on) : device(on) {
    try {
      for (auto &pair : buffers) {
        for (Buffer &buffer : pair) {
          check(cudaHostAlloc(&buffer.memory, CHUNK, cudaHostAllocPortable), "allocating pinned host memory");
          check(cudaEventCreateWithFlags(&buffer.sent, cudaEventDisableTiming), "creating the event");
        }
      }
    } catch (const Failure &) {
      release();
      throw;
    }
  }

  void release() {
    for (auto &pair : buffers) {
      for (Buffer &buffer : pair) {
        if (buffer.sent) cudaEventDestroy(buffer.sent);
        if (buffer.memory) cudaFreeHost(buffer.memory);
      }
    }
  }

  // Sends chunks until none is left.
  cudaError_t send(Buffer *pair, char *to, const char *from, int64_t bytes, std::atomic<int64_t> &next,
                   cudaStream_t stream) const {
    cudaError_t error = cudaSetDevice(device);
    for (int turn = 0; error == cudaSuccess; turn ^= 1) {
      const int64_t at = next.fetch_add(CHUNK);
      if (at >= bytes) break;
      const Buffer &buffer = pair[turn];
      const size_t size = (size_t)std::min(CHUNK, bytes - at);
      if ((error = cudaEventSynchronize(buffer.sent)) != cudaSuccess) break;
      memcpy(buffer.memory, from + at, size);
      if ((error = cudaMemcpyAsync(to + at, buffer.memory, size, cudaMemcpyHostToDevice, stream)) != cudaSuccess) break;
      error = cudaEventRecord(buffer.sent, stream);
    }
    return error;
  }
};

void upload(mg_context *ctx, void *to, const void *from, int64_t bytes) {
  if (bytes < WORTHWHILE || pinned(from)) {
    check(cudaMemcpyAsync(to, from, (size_t)bytes, cudaMemcpyHostToDevice, ctx->stream), "copying");
    return;
  }
  if (!ctx->uploader) ctx->uploader = new Uploader(ctx->device);
  Uploader &uploader = *ctx->uploader;
  std::atomic<int64_t> next{0};
  cudaError_t errors[Uploader::THREADS] = {};
  const auto work = [&](int i) {
    errors[i] = uploader.send(uploader.buffers[i], (char *)to, (const char *)from, bytes, next, ctx->stream);
  };
  std::thread others[Uploader::THREADS];
  try {
    for (int i = 1; i < Uploader::THREADS; i++) others[i] = std::thread(work, i);
  } catch (const std::system_error &) {
    // There may be no more threads: the chunks are shared by those there are.
  }
  work(0);
  for (std::thread &thread : others) {
    if (thread.joinable()) thread.join();
  }
  for (const cudaError_t error : errors) check(error, "copying");
}

void close_uploader(mg_context *ctx) {
  if (ctx->uploader) ctx->uploader->release();
  delete ctx->uploader;
  ctx->uploader = nullptr;
}
