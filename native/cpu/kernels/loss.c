#include "vmath.h"

enum { CHUNK = 1024 }; /* elements summed in float32 before the sum goes on in float64 */

/* Sum of e^(x - m) over at most CHUNK elements. */
static double sum_exp(const float *x, int64_t n, float m) {
  vf s0 = v_zero(), s1 = v_zero(), shift = v_set(m);
  int64_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    s0 = s0 + v_exp(v_load(x + i) - shift);
    s1 = s1 + v_exp(v_load(x + i + W) - shift);
  }
  double tail = 0;
  if (i + W <= n) {
    s0 = s0 + v_exp(v_load(x + i) - shift);
    i += W;
  }
  if (i < n) {
    float rest[W];
    v_store(rest, v_exp(v_load_n(x + i, n - i) - shift));
    for (int64_t j = 0; j < n - i; j++) tail += (double)rest[j];
  }
  return (double)v_sum(s0 + s1) + tail;
}

static float largest(const float *x, int64_t n) {
  vf m0 = v_set(-INFINITY), m1 = m0;
  int64_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    m0 = v_max(v_load(x + i), m0);
    m1 = v_max(v_load(x + i + W), m1);
  }
  float m = v_largest(v_max(m0, m1));
  for (; i < n; i++) m = x[i] > m ? x[i] : m;
  return m;
}

typedef struct {
  float max;
  double sum; /* of e^(x - max) */
  int64_t argmax;
} exponentials;

/*
 * One pass over memory: each chunk gives its maximum, then its sum from cache; a new maximum rescales the sum so far. The
 * maximum starts finite, so that a chunk of -inf alone (masked logits) adds zeros instead of NaN.
 */
static exponentials scan(const float *x, int64_t n) {
  exponentials e = {-3.4028234663852886e38f, 0, 0};
  bool found = false;
  for (int64_t j = 0; j < n; j += CHUNK) {
    int64_t k = n - j < CHUNK ? n - j : CHUNK;
    float m = largest(x + j, k);
    if (m > e.max || (!found && m == e.max)) {
      int64_t i = 0;
      while (x[j + i] != m) i++;
      e.argmax = j + i;
      found = true;
      e.sum *= exp((double)e.max - (double)m);
      e.max = m;
    }
    e.sum += sum_exp(x + j, k, e.max);
  }
  return e;
}

void ISA(nll)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const mg_loss_args *a = args;
  for (int64_t i = begin; i < end; i++) {
    const float *x = a->x + i * a->x_stride;
    int32_t target = a->targets[i];
    a->out[i] = 0;
    if (target < 0 && !a->argmax) continue;
    exponentials e = scan(x, a->cols);
    if (target >= 0) a->out[i] = log(e.sum) + ((double)e.max - (double)x[target]);
    if (a->argmax) a->argmax[i] = (int32_t)e.argmax;
  }
}

/* Sum of e^(x - m) (x - y); terms whose weight is zero count as zero, however infinite their logits. */
static double weighted_difference(const float *x, const float *y, int64_t n, float m) {
  vf s = v_zero(), shift = v_set(m);
  double tail = 0;
  for (int64_t i = 0; i < n; i += W) {
    int64_t k = n - i < W ? n - i : W;
    vf p = v_load_n(x + i, k), q = v_load_n(y + i, k), e = v_exp(p - shift);
    vf term = v_select(v_equal(e, v_zero()), v_zero(), e * (p - q));
    if (k == W) {
      s = s + term;
    } else {
      float rest[W];
      v_store(rest, term);
      for (int64_t j = 0; j < k; j++) tail += (double)rest[j];
    }
  }
  return (double)v_sum(s) + tail;
}

/* sum p (x - y) - (logsumexp x - logsumexp y) */
void ISA(kl)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const mg_loss_args *a = args;
  for (int64_t i = begin; i < end; i++) {
    const float *x = a->x + i * a->x_stride, *y = a->y + i * a->y_stride;
    exponentials ex = scan(x, a->cols), ey = scan(y, a->cols);
    double difference = 0;
    for (int64_t j = 0; j < a->cols; j += CHUNK) {
      difference += weighted_difference(x + j, y + j, a->cols - j < CHUNK ? a->cols - j : CHUNK, ex.max);
    }
    double constant = (double)ex.max - (double)ey.max + log(ex.sum) - log(ey.sum);
    a->out[i] = difference / ex.sum - constant;
  }
}

/* e = e^(x - m), at most CHUNK elements; returns sum + their sum, in index order. */
static double add_exp(const float *x, int64_t n, float m, float *e, double sum) {
  for (int64_t i = 0; i < n; i += W) {
    int64_t k = n - i < W ? n - i : W;
    v_store_n(e + i, v_exp(v_load_n(x + i, k) - v_set(m)), k);
  }
  for (int64_t i = 0; i < n; i++) sum += (double)e[i];
  return sum;
}

/* The first index whose cumulated exponentials exceed `threshold`, else the last. */
static int64_t draw(const float *x, int64_t n, float m, double threshold) {
  float e[CHUNK];
  double before = 0;
  for (int64_t j = 0; j < n; j += CHUNK) {
    int64_t k = n - j < CHUNK ? n - j : CHUNK;
    double after = add_exp(x + j, k, m, e, before);
    if (after > threshold) {
      int64_t i = 0;
      while (!((before += (double)e[i]) > threshold)) i++;
      return j + i;
    }
    before = after;
  }
  return n - 1;
}

void ISA(sampled_gradient)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const mg_sample_args *a = args;
  float e[CHUNK], inverse_cap = a->softcap > 0 ? 1.0f / a->softcap : 0.0f;
  for (int64_t r = begin; r < end; r++) {
    float *x = a->x + r * a->stride, max = largest(x, a->cols);
    double sum = 0;
    for (int64_t j = 0; j < a->cols; j += CHUNK) sum = add_exp(x + j, a->cols - j < CHUNK ? a->cols - j : CHUNK, max, e, sum);
    int64_t id = draw(x, a->cols, max, (double)a->uniforms[r] * sum);
    float share = x[id] * inverse_cap, chosen = 1.0f - share * share;
    vf factor = v_set((float)(1.0 / sum)), m = v_set(max), one = v_set(1.0f);
    for (int64_t i = 0; i < a->cols; i += W) {
      int64_t k = a->cols - i < W ? a->cols - i : W;
      vf v = v_load_n(x + i, k), p = v_exp(v - m) * factor, t = v * v_set(inverse_cap);
      v_store_n(x + i, a->softcap > 0 ? p * (one - t * t) : p, k);
    }
    x[id] -= chosen;
    a->ids[r] = (int32_t)id;
  }
}
