/*
 * ops_bench [-t THREADS] [-i ISA] [-b LIBOPENBLAS] [-r SECONDS] [FILTER]
 *
 * Best time of each operation within the given seconds, with its rate. With a path to OpenBLAS the same products run through
 * cblas_ssyrk and cblas_sgemm, turn by turn with ours, and the last column is the ratio of the rates.
 */
#define _GNU_SOURCE
#include "modegpt.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static mg_context *ctx;
static const char *filter = "";
static double seconds = 0.5;

enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112, LOWER = 122 };
static void (*ssyrk)(int, int, int, int, int, float, const float *, int, float, float *, int);
static void (*sgemm)(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void must(int32_t status) {
  if (status == MG_OK) return;
  fprintf(stderr, "ops_bench: %s\n", mg_last_error(ctx));
  exit(1);
}

/* Small varied values; block formats get bytes whose float16 scales are finite. */
static mg_tensor tensor(int32_t dtype, int64_t rows, int64_t cols) {
  static const struct {
    int dtype, length, bytes;
  } types[] = {{MG_F32, 1, 4},    {MG_F64, 1, 8},    {MG_BF16, 1, 2},   {MG_F16, 1, 2},      {MG_I32, 1, 4},
               {MG_Q4_0, 32, 18}, {MG_Q4_1, 32, 20}, {MG_Q8_0, 32, 34}, {MG_Q4_K, 256, 144}, {MG_Q6_K, 256, 210}};
  size_t bytes = 0;
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    if (types[i].dtype == dtype) bytes = (size_t)(rows * cols / types[i].length * types[i].bytes);
  }
  void *data;
  must(mg_alloc(ctx, (int64_t)bytes, &data));
  if (dtype == MG_F32) {
    for (int64_t i = 0; i < rows * cols; i++) ((float *)data)[i] = (float)((i * 2654435761u >> 8) % 2001) * 1e-3f - 1.0f;
  } else {
    memset(data, dtype >= MG_Q4_0 ? 0x21 : 0, bytes);
  }
  return (mg_tensor){data, rows, cols, cols, dtype, 0};
}

/* Runs `ours` and, when there is one, `theirs` in turn; `work` in units of 1e9 per call. */
#define BENCH(label, unit, work, ours, has_theirs, theirs)                                                                       \
  do {                                                                                                                           \
    char line_[80];                                                                                                              \
    snprintf(line_, sizeof line_, "%s", label);                                                                                  \
    if (!strstr(line_, filter)) break;                                                                                           \
    double best_ = 1e9, other_ = 1e9, start_ = now();                                                                            \
    for (int n_ = 0; n_ < 3 || now() - start_ < seconds; n_++) {                                                                 \
      double t_ = now();                                                                                                         \
      ours;                                                                                                                      \
      t_ = now() - t_;                                                                                                           \
      best_ = t_ < best_ ? t_ : best_;                                                                                           \
      if (has_theirs) {                                                                                                          \
        t_ = now();                                                                                                              \
        theirs;                                                                                                                  \
        t_ = now() - t_;                                                                                                         \
        other_ = t_ < other_ ? t_ : other_;                                                                                      \
      }                                                                                                                          \
    }                                                                                                                            \
    printf("%-44s %10.3f ms %9.1f %s", line_, best_ * 1e3, (work) / best_ * 1e-9, unit);                                         \
    if (has_theirs) printf("   OpenBLAS %9.1f   ratio %.2f", (work) / other_ * 1e-9, other_ / best_);                            \
    printf("\n");                                                                                                                \
    fflush(stdout);                                                                                                              \
  } while (0)

static void drop(mg_tensor x) { must(mg_free(ctx, x.data)); }

static void gram(int64_t rows, int64_t n) {
  char label[80];
  mg_tensor x = tensor(MG_F32, rows, n), c = tensor(MG_F64, n, n), f = tensor(MG_F32, n, n);
  snprintf(label, sizeof label, "gram [%ld x %ld]", (long)rows, (long)n);
  BENCH(label, "GFLOP/s", (double)(rows * n * (n + 1)), must(mg_gram(ctx, &x, &c)), ssyrk,
        ssyrk(ROW_MAJOR, LOWER, TRANS, (int)n, (int)rows, 1.0f, x.data, (int)n, 1.0f, f.data, (int)n));
  drop(x), drop(c), drop(f);
}

static void head_gram(int64_t rows, int32_t heads, int64_t h) {
  char label[80];
  mg_tensor x = tensor(MG_F32, rows, heads * h), c = tensor(MG_F64, heads * h, h);
  snprintf(label, sizeof label, "head_gram [%ld x %d x %ld]", (long)rows, heads, (long)h);
  BENCH(label, "GFLOP/s", 2.0 * (double)(rows * heads * h * h), must(mg_head_gram(ctx, &x, heads, &c)), false, (void)0);
  drop(x), drop(c);
}

static void attention(int64_t batch, int64_t queries, int64_t keys, int32_t heads, int32_t kv_heads, int64_t dk, int64_t dv) {
  char label[80];
  mg_tensor q = tensor(MG_F32, batch * queries, heads * dk), k = tensor(MG_F32, batch * keys, kv_heads * dk);
  mg_tensor v = tensor(MG_F32, batch * keys, kv_heads * dv), out = tensor(MG_F32, batch * queries, heads * dv);
  mg_attention_params p = {.batch = batch,
                           .queries = queries,
                           .keys = keys,
                           .key_capacity = keys,
                           .heads = heads,
                           .kv_heads = kv_heads,
                           .scale = 0.125f};
  double pairs = (double)(batch * heads) * ((double)queries * (double)(keys - queries) + (double)(queries * (queries + 1)) / 2);
  snprintf(label, sizeof label, "attention %ld x %ld/%ld, %d/%d heads, %ld/%ld", (long)batch, (long)queries, (long)keys, heads,
           kv_heads, (long)dk, (long)dv);
  if (queries == 1) {
    BENCH(label, "GB/s", 4.0 * (double)(batch * keys * kv_heads * (dk + dv)), must(mg_attention(ctx, &q, &k, &v, &p, NULL, &out)),
          false, (void)0);
  } else {
    BENCH(label, "GFLOP/s", 2.0 * pairs * (double)(dk + dv), must(mg_attention(ctx, &q, &k, &v, &p, NULL, &out)), false, (void)0);
  }
  drop(q), drop(k), drop(v), drop(out);
}

static void attention_backward(int64_t batch, int64_t tokens, int32_t heads, int32_t kv_heads, int64_t size) {
  char label[80];
  int64_t n = batch * tokens;
  mg_tensor q = tensor(MG_F32, n, heads * size), k = tensor(MG_F32, n, kv_heads * size), v = tensor(MG_F32, n, kv_heads * size);
  mg_tensor dout = tensor(MG_F32, n, heads * size), dq = tensor(MG_F32, n, heads * size);
  mg_tensor dk = tensor(MG_F32, n, kv_heads * size), dv = tensor(MG_F32, n, kv_heads * size);
  mg_attention_params p = {.batch = batch,
                           .queries = tokens,
                           .keys = tokens,
                           .key_capacity = tokens,
                           .heads = heads,
                           .kv_heads = kv_heads,
                           .scale = 0.125f};
  double pairs = (double)(batch * heads) * (double)(tokens * (tokens + 1)) / 2;
  snprintf(label, sizeof label, "attention_backward %ld x %ld, %d/%d heads, %ld", (long)batch, (long)tokens, heads, kv_heads,
           (long)size);
  BENCH(label, "GFLOP/s", 10.0 * pairs * (double)size, must(mg_attention_backward(ctx, &q, &k, &v, &p, &dout, &dq, &dk, &dv)),
        false, (void)0);
  drop(q), drop(k), drop(v), drop(dout), drop(dq), drop(dk), drop(dv);
}

static void linear(const char *name, int32_t dtype, double bytes, int64_t rows, int64_t in, int64_t out) {
  char label[80];
  mg_tensor x = tensor(MG_F32, rows, in), w = tensor(dtype, out, in), y = tensor(MG_F32, rows, out);
  snprintf(label, sizeof label, "linear %s %ld x [%ld x %ld]", name, (long)rows, (long)out, (long)in);
  if (rows <= 8) {
    BENCH(label, "GB/s", (double)(in * out) * bytes, must(mg_linear(ctx, &x, &w, NULL, &y, 1)), false, (void)0);
  } else {
    BENCH(label, "GFLOP/s", 2.0 * (double)(rows * in * out), must(mg_linear(ctx, &x, &w, NULL, &y, 1)), sgemm,
          sgemm(ROW_MAJOR, NO_TRANS, TRANS, (int)rows, (int)out, (int)in, 1.0f, x.data, (int)in, w.data, (int)in, 0.0f, y.data,
                (int)out));
  }
  drop(x), drop(w), drop(y);
}

static void rows(void) {
  mg_tensor x = tensor(MG_F32, 2048, 576), w = tensor(MG_F32, 1, 576), y = tensor(MG_F32, 2048, 576), e = tensor(MG_F64, 1, 576);
  mg_tensor positions = tensor(MG_I32, 1, 2048), freqs = tensor(MG_F32, 1, 32), wide = tensor(MG_F32, 2048, 1536);
  mg_tensor up = tensor(MG_F32, 2048, 1536), act = tensor(MG_F32, 2048, 1536), half = tensor(MG_BF16, 2048, 1536);
  mg_tensor f16 = tensor(MG_F16, 2048, 1536), q4 = tensor(MG_Q4_1, 2048, 1536), q4k = tensor(MG_Q4_K, 2048, 1536);
  mg_tensor turned = tensor(MG_F32, 1536, 2048), acc = tensor(MG_F64, 1, 3);
  const double d = 2048.0 * 576, f = 2048.0 * 1536;
  BENCH("rms_norm [2048 x 576]", "GB/s", 8 * d, must(mg_rms_norm(ctx, &x, &w, 1e-5f, &y)), false, (void)0);
  BENCH("layer_norm [2048 x 576]", "GB/s", 8 * d, must(mg_layer_norm(ctx, &x, &w, &w, 1e-5f, &y)), false, (void)0);
  for (int i = 0; i < 2048; i++) ((int32_t *)positions.data)[i] = i;
  BENCH("rope [2048 x 9 x 64]", "GB/s", 8 * d, must(mg_rope(ctx, &y, &positions, &freqs, 9)), false, (void)0);
  BENCH("gated silu [2048 x 1536]", "GB/s", 12 * f, must(mg_gated_activation(ctx, &wide, &up, MG_SILU, &act)), false, (void)0);
  BENCH("gated gelu [2048 x 1536]", "GB/s", 12 * f, must(mg_gated_activation(ctx, &wide, &up, MG_GELU, &act)), false, (void)0);
  BENCH("rms_norm_backward [2048 x 576]", "GB/s", 12 * d, must(mg_rms_norm_backward(ctx, &x, &w, 1e-5f, &x, &y)), false, (void)0);
  BENCH("activation_backward [2048 x 1536]", "GB/s", 20 * f,
        must(mg_activation_backward(ctx, &wide, &up, MG_SILU, &wide, &act, &up)), false, (void)0);
  BENCH("add [2048 x 576]", "GB/s", 12 * d, must(mg_add(ctx, 1.0f, &x, &y)), false, (void)0);
  BENCH("cast f32 to bf16 [2048 x 1536]", "GB/s", 6 * f, must(mg_cast(ctx, &wide, &half)), false, (void)0);
  BENCH("cast bf16 to f32 [2048 x 1536]", "GB/s", 6 * f, must(mg_cast(ctx, &half, &act)), false, (void)0);
  BENCH("cast f32 to f16 [2048 x 1536]", "GB/s", 6 * f, must(mg_cast(ctx, &wide, &f16)), false, (void)0);
  BENCH("cast q4_1 to f32 [2048 x 1536]", "GB/s", 4.625 * f, must(mg_cast(ctx, &q4, &act)), false, (void)0);
  BENCH("cast q4_k to f32 [2048 x 1536]", "GB/s", 4.5625 * f, must(mg_cast(ctx, &q4k, &act)), false, (void)0);
  BENCH("transpose [2048 x 1536]", "GB/s", 8 * f, must(mg_transpose(ctx, &wide, &turned)), false, (void)0);
  BENCH("column_energy [2048 x 576]", "GB/s", 4 * d, must(mg_column_energy(ctx, &x, &e)), false, (void)0);
  BENCH("block_influence [2048 x 576]", "GB/s", 8 * d, must(mg_block_influence(ctx, &x, &y, &acc)), false, (void)0);
  mg_tensor logits = tensor(MG_F32, 256, 49152), ids = tensor(MG_I32, 1, 256), nll = tensor(MG_F64, 1, 256);
  BENCH("nll [256 x 49152]", "GB/s", 4.0 * 256 * 49152, must(mg_nll(ctx, &logits, &ids, &nll, NULL)), false, (void)0);
  mg_tensor uniforms = tensor(MG_F32, 1, 256);
  BENCH("sampled_gradient [256 x 49152]", "GB/s", 8.0 * 256 * 49152, must(mg_sampled_gradient(ctx, &logits, 0, &uniforms, &ids)),
        false, (void)0);
  BENCH("kl_divergence [256 x 49152]", "GB/s", 8.0 * 256 * 49152, must(mg_kl_divergence(ctx, &logits, &logits, &nll)), false,
        (void)0);
}

static void open_blas(const char *path, int threads) {
  unsetenv("OPENBLAS_CORETYPE"); /* would hold it back to the named core's kernels */
  unsetenv("OPENBLAS_L2_SIZE");
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "ops_bench: %s\n", dlerror());
    exit(1);
  }
  void (*set_threads)(int);
  *(void **)&ssyrk = dlsym(library, "cblas_ssyrk");
  *(void **)&sgemm = dlsym(library, "cblas_sgemm");
  *(void **)&set_threads = dlsym(library, "openblas_set_num_threads");
  if (!ssyrk || !sgemm || !set_threads) {
    fprintf(stderr, "ops_bench: %s is no OpenBLAS\n", path);
    exit(1);
  }
  set_threads(threads);
}

int main(int argc, char **argv) {
  int threads = 0, option;
  const char *isa = NULL, *blas = NULL;
  while ((option = getopt(argc, argv, "t:i:b:r:")) != -1) {
    switch (option) {
    case 't':
      threads = atoi(optarg);
      break;
    case 'i':
      isa = optarg;
      break;
    case 'b':
      blas = optarg;
      break;
    case 'r':
      seconds = atof(optarg);
      break;
    default:
      fprintf(stderr, "usage: ops_bench [-t THREADS] [-i ISA] [-b LIBOPENBLAS] [-r SECONDS] [FILTER]\n");
      return 2;
    }
  }
  if (optind < argc) filter = argv[optind];
  must(mg_context_create(0, threads, isa, &ctx));
  char text[80];
  must(mg_describe(ctx, text, sizeof text));
  printf("%s\n", text);
  if (blas) {
    const char *count = strstr(text, ", ");
    open_blas(blas, count ? atoi(count + 2) : 1);
  }
  gram(2048, 576);
  gram(2048, 1536);
  gram(256, 576);
  head_gram(2048, 9, 64);
  head_gram(2048, 3, 64);
  attention(1, 2048, 2048, 9, 3, 64, 64);
  attention(1, 2048, 2048, 9, 3, 58, 42);
  attention(1, 2048, 2048, 32, 8, 128, 128);
  attention(16, 128, 128, 9, 3, 64, 64);
  attention(1, 1, 512, 9, 3, 64, 64);
  attention(1, 1, 8192, 9, 3, 64, 64);
  attention_backward(1, 512, 9, 3, 64);
  attention_backward(1, 2048, 16, 8, 64);
  attention_backward(1, 2048, 32, 8, 128);
  linear("f32", MG_F32, 4, 2048, 576, 1536);
  linear("f32", MG_F32, 4, 1, 2048, 8192);
  linear("bf16", MG_BF16, 2, 1, 2048, 8192);
  linear("bf16", MG_BF16, 2, 4, 2048, 8192);
  linear("f16", MG_F16, 2, 1, 2048, 8192);
  linear("q8_0", MG_Q8_0, 34.0 / 32, 1, 576, 49152);
  linear("q4_0", MG_Q4_0, 18.0 / 32, 1, 2048, 8192);
  linear("q4_1", MG_Q4_1, 20.0 / 32, 1, 2048, 8192);
  linear("q4_k", MG_Q4_K, 144.0 / 256, 1, 2048, 8192);
  linear("q6_k", MG_Q6_K, 210.0 / 256, 1, 2048, 8192);
  linear("bf16", MG_BF16, 2, 1, 576, 1536);
  rows();
  mg_context_destroy(ctx);
  return 0;
}
