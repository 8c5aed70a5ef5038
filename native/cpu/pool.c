#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

/* A worker that finds no work spins for about this many pauses (10 to 20 microseconds), then sleeps. */
enum { SPINS = 600 };

/*
 * `state` is generation << 32 | open << 31 | threads inside. Workers enter an open loop only; the caller closes it when the
 * chunks have run out and then waits for those inside. A worker that wakes late finds the loop closed and is never waited for.
 */
#define OPEN ((uint64_t)1 << 31)
#define INSIDE (OPEN - 1)
#define GENERATION(state) ((state) >> 32)

struct mg_pool {
  _Atomic uint64_t state;
  _Atomic int64_t next;
  _Atomic int sleeping;
  _Atomic bool stop;
  mg_body *body;
  const void *args;
  int64_t count, grain;
  char *scratch;
  int64_t scratch_stride;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  int threads;
  struct worker {
    pthread_t thread;
    mg_pool *pool;
    int index;
  } * workers;
};

static void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  atomic_signal_fence(memory_order_seq_cst);
#endif
}

static void drain(mg_pool *pool, int index) {
  int64_t chunks = (pool->count + pool->grain - 1) / pool->grain;
  for (;;) {
    int64_t chunk = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
    if (chunk >= chunks) return;
    int64_t begin = chunk * pool->grain, end = begin + pool->grain < pool->count ? begin + pool->grain : pool->count;
    pool->body(pool->args, begin, end, pool->scratch + index * pool->scratch_stride);
  }
}

/* Waits for a generation other than `seen`; returns false when the pool ends. */
static bool await(mg_pool *pool, uint64_t seen) {
  for (int i = 0; i < SPINS; i++) {
    if (atomic_load_explicit(&pool->stop, memory_order_relaxed)) return false;
    if (GENERATION(atomic_load_explicit(&pool->state, memory_order_acquire)) != seen) return true;
    relax();
  }
  pthread_mutex_lock(&pool->lock);
  atomic_fetch_add(&pool->sleeping, 1);
  while (!atomic_load(&pool->stop) && GENERATION(atomic_load(&pool->state)) == seen) {
    pthread_cond_wait(&pool->wake, &pool->lock);
  }
  atomic_fetch_sub(&pool->sleeping, 1);
  pthread_mutex_unlock(&pool->lock);
  return !atomic_load(&pool->stop);
}

static void *work(void *argument) {
  struct worker *self = argument;
  mg_pool *pool = self->pool;
  uint64_t seen = 0;
  while (await(pool, seen)) {
    uint64_t state = atomic_load(&pool->state);
    bool entered = false;
    while (state & OPEN) {
      if (atomic_compare_exchange_weak(&pool->state, &state, state + 1)) {
        entered = true;
        break;
      }
    }
    seen = GENERATION(state);
    if (!entered) continue;
    drain(pool, self->index);
    atomic_fetch_sub(&pool->state, 1);
  }
  return NULL;
}

mg_pool *mg_pool_create(int threads) {
  mg_pool *pool = calloc(1, sizeof *pool);
  if (!pool) return NULL;
  pool->threads = 1;
  pthread_mutex_init(&pool->lock, NULL);
  pthread_cond_init(&pool->wake, NULL);
  pool->workers = calloc((size_t)threads, sizeof *pool->workers);
  if (!pool->workers) {
    mg_pool_destroy(pool);
    return NULL;
  }
  for (int i = 1; i < threads; i++) {
    pool->workers[i] = (struct worker){.pool = pool, .index = i};
    if (pthread_create(&pool->workers[i].thread, NULL, work, &pool->workers[i]) != 0) {
      mg_pool_destroy(pool);
      return NULL;
    }
    pool->threads = i + 1;
  }
  return pool;
}

void mg_pool_destroy(mg_pool *pool) {
  if (!pool) return;
  pthread_mutex_lock(&pool->lock);
  atomic_store(&pool->stop, true);
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->lock);
  for (int i = 1; i < pool->threads; i++) pthread_join(pool->workers[i].thread, NULL);
  pthread_cond_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->lock);
  free(pool->workers);
  free(pool);
}

int mg_pool_threads(const mg_pool *pool) { return pool->threads; }

void mg_pool_run(mg_pool *pool, mg_body *body, const void *args, int64_t count, int64_t grain, char *scratch,
                 int64_t scratch_stride) {
  if (count <= 0) return;
  if (pool->threads == 1 || count <= grain) {
    for (int64_t begin = 0; begin < count; begin += grain) {
      body(args, begin, begin + grain < count ? begin + grain : count, scratch);
    }
    return;
  }
  pool->body = body;
  pool->args = args;
  pool->count = count;
  pool->grain = grain;
  pool->scratch = scratch;
  pool->scratch_stride = scratch_stride;
  atomic_store(&pool->next, 0);
  uint64_t generation = GENERATION(atomic_load(&pool->state)) + 1;
  atomic_store(&pool->state, (generation & 0xffffffff) << 32 | OPEN);
  if (atomic_load(&pool->sleeping) > 0) {
    int64_t wanted = (count + grain - 1) / grain - 1;
    pthread_mutex_lock(&pool->lock);
    if (wanted >= pool->threads - 1) {
      pthread_cond_broadcast(&pool->wake);
    } else {
      for (int64_t i = 0; i < wanted; i++) pthread_cond_signal(&pool->wake);
    }
    pthread_mutex_unlock(&pool->lock);
  }
  drain(pool, 0);
  atomic_fetch_and(&pool->state, ~OPEN);
  for (int i = 0; atomic_load_explicit(&pool->state, memory_order_acquire) & INSIDE; i++) {
    if (i < 100 * SPINS) {
      relax();
    } else {
      sched_yield(); /* a worker has been descheduled inside a chunk */
    }
  }
}
