/*
 * A pool of threads that run one parallel loop at a time; the caller takes part. Chunks are handed out in order, their bounds
 * depend on the count and the grain alone, so what a chunk computes does not depend on the number of threads.
 */
#ifndef MG_POOL_H
#define MG_POOL_H

#include <stdint.h>

typedef struct mg_pool mg_pool;

/* One chunk [begin, end) of the loop; `scratch` belongs to the thread for the duration of the call. */
typedef void mg_body(const void *args, int64_t begin, int64_t end, void *scratch);

/* `threads` includes the caller. NULL when memory or threads are exhausted. */
mg_pool *mg_pool_create(int threads);
void mg_pool_destroy(mg_pool *pool);
int mg_pool_threads(const mg_pool *pool);

/* Runs body over [0, count) in chunks of `grain`; thread t gets scratch + t * scratch_stride. Returns when all is done. */
void mg_pool_run(mg_pool *pool, mg_body *body, const void *args, int64_t count, int64_t grain, char *scratch,
                 int64_t scratch_stride);

#endif
