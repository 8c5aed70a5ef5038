#include "context.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local char create_error[512];

int32_t mg_fail(mg_context *ctx, int32_t status, const char *format, ...) {
  va_list list;
  va_start(list, format);
  vsnprintf(ctx ? ctx->error : create_error, ctx ? sizeof ctx->error : sizeof create_error, format, list);
  va_end(list);
  return status;
}

int32_t mg_abi_version(void) { return MG_ABI_VERSION; }

int32_t mg_device_count(void) { return 1; }

const char *mg_last_error(mg_context *ctx) { return ctx ? ctx->error : create_error; }

static int32_t choose_isa(const char *asked, mg_isa *isa) {
  const char *from = "argument isa";
  if (!asked || !*asked) {
    asked = getenv("MODEGPT_ISA");
    from = "MODEGPT_ISA";
  }
  mg_isa best = mg_best_isa();
  *isa = best;
  if (!asked || !*asked) return MG_OK;
  int wanted = mg_isa_parse(asked);
  MG_REQUIRE(NULL, wanted >= 0, "%s: unknown instruction set \"%s\"; known are generic, avx2, avx512, avx512bf16", from, asked);
  if (wanted > (int)best) {
    return mg_fail(NULL, MG_EUNSUPPORTED, "%s: this CPU or operating system has no %s; the best available is %s", from, asked,
                   mg_isa_name(best));
  }
  *isa = (mg_isa)wanted;
  return MG_OK;
}

static int32_t choose_threads(int32_t *threads) {
  enum { LIMIT = 1024 };
  MG_REQUIRE(NULL, *threads >= 0 && *threads <= LIMIT, "threads is %d; it must be 0 (automatic) to %d", *threads, LIMIT);
  if (*threads > 0) return MG_OK;
  const char *text = getenv("MODEGPT_NUM_THREADS");
  if (!text || !*text) {
    int cpus = mg_cpu_count();
    *threads = cpus < LIMIT ? cpus : LIMIT;
    return MG_OK;
  }
  char *end;
  long value = strtol(text, &end, 10);
  MG_REQUIRE(NULL, *end == 0 && value >= 1 && value <= LIMIT, "MODEGPT_NUM_THREADS is \"%s\"; it must be a number from 1 to %d",
             text, LIMIT);
  *threads = (int32_t)value;
  return MG_OK;
}

int32_t mg_context_create(int32_t device, int32_t threads, const char *isa, mg_context **out) {
  MG_REQUIRE(NULL, out, "out is NULL");
  *out = NULL;
  MG_REQUIRE(NULL, device == 0, "device is %d; the CPU library has device 0 only", device);
  mg_isa chosen;
  MG_TRY(choose_isa(isa, &chosen));
  MG_TRY(choose_threads(&threads));
  mg_context *ctx = calloc(1, sizeof *ctx);
  if (ctx) ctx->pool = mg_pool_create(threads);
  if (!ctx || !ctx->pool) {
    free(ctx);
    return mg_fail(NULL, MG_ENOMEM, "no memory for a context with %d threads", threads);
  }
  ctx->isa = chosen;
  ctx->kernels = mg_kernels_for(chosen);
  *out = ctx;
  return MG_OK;
}

void mg_context_destroy(mg_context *ctx) {
  if (!ctx) return;
  mg_pool_destroy(ctx->pool);
  for (int i = 0; i < MG_SPACE_COUNT; i++) free(ctx->space[i].data);
  free(ctx);
}

int32_t mg_describe(mg_context *ctx, char *text, int64_t size) {
  MG_REQUIRE(ctx, ctx, "ctx is NULL");
  MG_REQUIRE(ctx, text && size > 0, "text is NULL or size is not positive");
  int threads = mg_pool_threads(ctx->pool);
  snprintf(text, (size_t)size, "%s, %d thread%s", mg_isa_name(ctx->isa), threads, threads == 1 ? "" : "s");
  return MG_OK;
}

void *mg_space_get(mg_context *ctx, mg_space which, int64_t bytes) {
  if (ctx->space[which].bytes < bytes) {
    free(ctx->space[which].data);
    int64_t rounded = (bytes + 4095) / 4096 * 4096;
    ctx->space[which].data = aligned_alloc(4096, (size_t)rounded);
    ctx->space[which].bytes = ctx->space[which].data ? rounded : 0;
  }
  return ctx->space[which].data;
}

int32_t mg_run(mg_context *ctx, mg_body *kernel, const void *args, int64_t count, int64_t grain, int64_t scratch) {
  int64_t stride = (scratch + 127) / 128 * 128;
  char *memory = NULL;
  if (scratch > 0) {
    int64_t bytes;
    if (!__builtin_mul_overflow(stride, mg_pool_threads(ctx->pool), &bytes)) {
      memory = mg_space_get(ctx, MG_SPACE_PER_THREAD, bytes);
    }
    if (!memory) return mg_fail(ctx, MG_ENOMEM, "no memory for %lld bytes of workspace per thread", (long long)stride);
  }
  mg_pool_run(ctx->pool, kernel, args, count, grain, memory, stride);
  return MG_OK;
}

int64_t mg_row_grain(int64_t elements_per_row) {
  enum { CHUNK = 1 << 15 };
  return elements_per_row >= CHUNK ? 1 : CHUNK / (elements_per_row > 0 ? elements_per_row : 1);
}
