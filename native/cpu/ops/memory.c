#include "check.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int32_t mg_alloc(mg_context *ctx, int64_t bytes, void **out) {
  MG_REQUIRE(ctx, ctx, "ctx is NULL");
  MG_REQUIRE(ctx, out, "out is NULL");
  *out = NULL;
  MG_REQUIRE(ctx, bytes >= 0, "bytes is %lld", (long long)bytes);
  if (bytes <= INT64_MAX - 64) *out = aligned_alloc(64, (size_t)(bytes / 64 + 1) * 64);
  return *out ? MG_OK : mg_fail(ctx, MG_ENOMEM, "no memory for %lld bytes", (long long)bytes);
}

int32_t mg_free(mg_context *ctx, void *data) {
  MG_REQUIRE(ctx, ctx, "ctx is NULL");
  free(data);
  return MG_OK;
}

int32_t mg_copy(mg_context *ctx, void *dst, const void *src, int64_t bytes, int32_t kind) {
  MG_REQUIRE(ctx, ctx, "ctx is NULL");
  MG_REQUIRE(ctx, kind >= 0 && kind <= 2, "kind is %d; it must be 0, 1 or 2", kind);
  MG_REQUIRE(ctx, bytes >= 0, "bytes is %lld", (long long)bytes);
  if (bytes == 0) return MG_OK;
  MG_REQUIRE(ctx, dst && src, "dst or src is NULL");
  memcpy(dst, src, (size_t)bytes);
  return MG_OK;
}

int32_t mg_fill_zero(mg_context *ctx, mg_tensor *x) {
  MG_TRY(mg_check(ctx, "x", x, MG_IS_VALUE | MG_IS_I32));
  if (mg_empty(x)) return MG_OK;
  mg_block block = mg_block_of(x->dtype);
  int64_t row = x->stride / block.length * block.bytes, used = x->cols / block.length * block.bytes;
  for (int64_t i = 0; i < x->rows; i++) memset((char *)x->data + i * row, 0, (size_t)used);
  return MG_OK;
}

int32_t mg_sync(mg_context *ctx) {
  MG_REQUIRE(ctx, ctx, "ctx is NULL");
  return MG_OK;
}

int32_t mg_host_alloc(mg_context *ctx, int64_t bytes, void **out) {
  return mg_alloc(ctx, bytes, out);
}

int32_t mg_host_free(mg_context *ctx, void *data) {
  return mg_free(ctx, data);
}

int32_t mg_memory(mg_context *ctx, int64_t *free_bytes, int64_t *total_bytes) {
  MG_REQUIRE(ctx, ctx, "ctx is NULL");
  MG_REQUIRE(ctx, free_bytes && total_bytes, "free_bytes or total_bytes is NULL");
  int64_t page = sysconf(_SC_PAGESIZE);
  *free_bytes = sysconf(_SC_AVPHYS_PAGES) * page;
  *total_bytes = sysconf(_SC_PHYS_PAGES) * page;
  return MG_OK;
}

int32_t mg_stream(mg_context *ctx, void **out) {
  MG_REQUIRE(ctx, ctx, "ctx is NULL");
  MG_REQUIRE(ctx, out, "out is NULL");
  *out = NULL;
  return MG_OK;
}

int32_t mg_wait(mg_context *ctx, mg_context *other) {
  MG_REQUIRE(ctx, ctx, "ctx is NULL");
  MG_REQUIRE(ctx, other, "other is NULL");
  return MG_OK;
}

int32_t mg_set_precision(mg_context *ctx, int32_t precision) {
  MG_REQUIRE(ctx, ctx, "ctx is NULL");
  MG_REQUIRE(ctx, precision == MG_PRECISE || precision == MG_FAST, "there is no precision %d", precision);
  return MG_OK;
}
