/* The context, its workspaces and the way operations report errors. */
#ifndef MG_CONTEXT_H
#define MG_CONTEXT_H

#include "caps.h"
#include "kernels/kernels.h"
#include "modegpt.h"
#include "pool.h"

#include <stdbool.h>

/* Memory that lives with the context and only grows. PER_THREAD is cut into one piece for each thread. */
typedef enum { MG_SPACE_PER_THREAD, MG_SPACE_PACKED, MG_SPACE_PARTIALS, MG_SPACE_TASKS, MG_SPACE_COUNT } mg_space;

struct mg_context {
  mg_pool *pool;
  const mg_kernels *kernels;
  mg_isa isa;
  struct {
    void *data;
    int64_t bytes;
  } space[MG_SPACE_COUNT];
  char error[512];
};

/* Stores the sentence (in the context, or per thread when it is NULL) and returns `status`. */
int32_t mg_fail(mg_context *ctx, int32_t status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* At least `bytes` bytes, 64-byte aligned, or NULL when memory is exhausted. Former contents are lost. */
void *mg_space_get(mg_context *ctx, mg_space which, int64_t bytes);

/* Runs a kernel over [0, count) in chunks of `grain`, each thread with `scratch` bytes of its own. */
int32_t mg_run(mg_context *ctx, mg_body *kernel, const void *args, int64_t count, int64_t grain, int64_t scratch);

/* Rows per chunk so that a chunk touches about 32 Ki elements. */
int64_t mg_row_grain(int64_t elements_per_row);

#define MG_REQUIRE(ctx, condition, ...)                                                                                          \
  do {                                                                                                                           \
    if (!(condition)) return mg_fail(ctx, MG_EINVAL, __VA_ARGS__);                                                               \
  } while (0)

#define MG_TRY(call)                                                                                                             \
  do {                                                                                                                           \
    int32_t status_ = (call);                                                                                                    \
    if (status_ != MG_OK) return status_;                                                                                        \
  } while (0)

#endif
