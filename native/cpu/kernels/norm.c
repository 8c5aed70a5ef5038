#include "simd.h"

/* Sum of f(x) over a row in four chains of vectors. */
#define ROW_SUM(result, x, n, term)                                                                                              \
  do {                                                                                                                           \
    vf s0 = v_zero(), s1 = v_zero(), s2 = v_zero(), s3 = v_zero(), v;                                                            \
    int64_t i = 0;                                                                                                               \
    for (; i + 4 * W <= n; i += 4 * W) {                                                                                         \
      v = v_load(x + i), s0 = term(v, s0);                                                                                       \
      v = v_load(x + i + W), s1 = term(v, s1);                                                                                   \
      v = v_load(x + i + 2 * W), s2 = term(v, s2);                                                                               \
      v = v_load(x + i + 3 * W), s3 = term(v, s3);                                                                               \
    }                                                                                                                            \
    float tail = 0.0f;                                                                                                           \
    for (; i + W <= n; i += W) v = v_load(x + i), s0 = term(v, s0);                                                              \
    if (i < n) {                                                                                                                 \
      float rest[W] = {0};                                                                                                       \
      v_store(rest, term(v_load_n(x + i, n - i), v_zero()));                                                                     \
      for (int64_t j = 0; j < n - i; j++) tail += rest[j];                                                                       \
    }                                                                                                                            \
    result = v_sum((s0 + s1) + (s2 + s3)) + tail;                                                                                \
  } while (0)

void ISA(rms_norm)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const mg_norm_args *a = args;
  const int64_t n = a->cols;
  for (int64_t r = begin; r < end; r++) {
    const float *x = a->x + r * a->x_stride;
    float *y = a->y + r * a->y_stride, sum;
#define SQUARE(v, s) v_fma(v, v, s)
    ROW_SUM(sum, x, n, SQUARE);
    float factor = 1.0f / sqrtf(sum / (float)n + a->eps);
    vf f = v_set(factor);
    int64_t i = 0;
    if (a->w) {
      for (; i + W <= n; i += W) v_store(y + i, v_load(x + i) * f * v_load(a->w + i));
      if (i < n) v_store_n(y + i, v_load_n(x + i, n - i) * f * v_load_n(a->w + i, n - i), n - i);
    } else {
      for (; i + W <= n; i += W) v_store(y + i, v_load(x + i) * f);
      if (i < n) v_store_n(y + i, v_load_n(x + i, n - i) * f, n - i);
    }
  }
}

/* The variance is taken around the mean in a second pass over the row, which is still in cache. */
void ISA(layer_norm)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const mg_norm_args *a = args;
  const int64_t n = a->cols;
  for (int64_t r = begin; r < end; r++) {
    const float *x = a->x + r * a->x_stride;
    float *y = a->y + r * a->y_stride, mean, variance;
#define VALUE(v, s) (s + v)
    ROW_SUM(mean, x, n, VALUE);
    mean /= (float)n;
    vf m = v_set(mean);
#define CENTRED_SQUARE(v, s) v_fma(v - m, v - m, s)
    ROW_SUM(variance, x, n, CENTRED_SQUARE);
    vf f = v_set(1.0f / sqrtf(variance / (float)n + a->eps));
    for (int64_t i = 0; i < n; i += W) {
      int64_t k = n - i < W ? n - i : W;
      vf v = (v_load_n(x + i, k) - m) * f;
      if (a->w) v = v * v_load_n(a->w + i, k);
      if (a->b) v = v + v_load_n(a->b + i, k);
      v_store_n(y + i, v, k);
    }
  }
}
