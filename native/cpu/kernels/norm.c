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

/* dx = f (g - mean(g) - n mean(g n)) with g = dy w, n = (x - m) f; mean(g) only where the norm centres. */
INLINE void backward_row(const mg_norm_backward_args *a, int64_t r, vf m, vf f, const bool centre) {
  const float *x = a->x + r * a->x_stride, *dy = a->dy + r * a->dy_stride;
  float *dx = a->dx + r * a->dx_stride;
  const int64_t n = a->cols;
  vf g0 = v_zero(), g1 = v_zero(), p0 = v_zero(), p1 = v_zero();
  int64_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    vf u = v_load(dy + i), v = v_load(dy + i + W);
    if (a->w) u = u * v_load(a->w + i), v = v * v_load(a->w + i + W);
    p0 = v_fma(u, (v_load(x + i) - m) * f, p0), p1 = v_fma(v, (v_load(x + i + W) - m) * f, p1);
    if (centre) g0 = g0 + u, g1 = g1 + v;
  }
  for (; i < n; i += W) { /* elements past the end have dy = 0 */
    int64_t k = n - i < W ? n - i : W;
    vf u = v_load_n(dy + i, k);
    if (a->w) u = u * v_load_n(a->w + i, k);
    p0 = v_fma(u, (v_load_n(x + i, k) - m) * f, p0);
    if (centre) g0 = g0 + u;
  }
  vf product = v_set(v_sum(p0 + p1) / (float)n), shift = v_set(centre ? v_sum(g0 + g1) / (float)n : 0.0f);
  for (i = 0; i < n; i += W) {
    int64_t k = n - i < W ? n - i : W;
    vf u = v_load_n(dy + i, k), v = (v_load_n(x + i, k) - m) * f;
    if (a->w) u = u * v_load_n(a->w + i, k);
    v_store_n(dx + i, (u - shift - v * product) * f, k);
  }
}

void ISA(rms_norm_backward)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const mg_norm_backward_args *a = args;
  const int64_t n = a->cols;
  for (int64_t r = begin; r < end; r++) {
    const float *x = a->x + r * a->x_stride;
    float sum;
    ROW_SUM(sum, x, n, SQUARE);
    backward_row(a, r, v_zero(), v_set(1.0f / sqrtf(sum / (float)n + a->eps)), false);
  }
}

void ISA(layer_norm_backward)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const mg_norm_backward_args *a = args;
  const int64_t n = a->cols;
  for (int64_t r = begin; r < end; r++) {
    const float *x = a->x + r * a->x_stride;
    float mean, variance;
    ROW_SUM(mean, x, n, VALUE);
    vf m = v_set(mean / (float)n);
    ROW_SUM(variance, x, n, CENTRED_SQUARE);
    backward_row(a, r, m, v_set(1.0f / sqrtf(variance / (float)n + a->eps)), true);
  }
}
