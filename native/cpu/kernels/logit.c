#include "simd.h"

/* Keys that enter the covariance at a time. */
enum { KEYS = 8 };

/*
 * sum += xᵀ x for KEYS rows of h columns; every sum is updated in the order of the keys. The rows are weighted already.
 */
static void add_outer(float *restrict sum, const float *restrict x, int64_t h) {
  for (int64_t i = 0; i < h; i++) {
    float *restrict row = sum + i * h;
    for (int64_t j = 0; j < h; j++) {
      float s = row[j];
      for (int n = 0; n < KEYS; n++) s += x[n * h + i] * x[n * h + j];
      row[j] = s;
    }
  }
}

/* Causal softmax weights of one query over keys 0 .. m, not normalised; returns their sum. */
static double softmax(const float *query, const float *keys, int64_t stride, int64_t m, int64_t h, float *weights) {
  float top = -INFINITY;
  for (int64_t n = 0; n <= m; n++) {
    float lanes[16] = {0};
    const float *key = keys + n * stride;
    int64_t t = 0;
    for (; t + 16 <= h; t += 16) {
      for (int l = 0; l < 16; l++) lanes[l] += query[t + l] * key[t + l];
    }
    for (; t < h; t++) lanes[0] += query[t] * key[t];
    float dot = 0;
    for (int l = 0; l < 16; l++) dot += lanes[l];
    weights[n] = dot;
    if (dot > top) top = dot;
  }
  double sum = 0;
  for (int64_t n = 0; n <= m; n++) {
    weights[n] = expf(weights[n] - top);
    sum += (double)weights[n];
  }
  return sum;
}

/*
 * out += Q S Qᵀ, S the keys' covariance [h, h] and Q the map from a key to the features of the query: row p is
 * q_p e_p + q_p' e_p', row p' is q_p e_p' - q_p' e_p, p' = p + h/2.
 */
static void add_features(double *out, const float *s, const float *q, int64_t h, double *rows) {
  int64_t half = h / 2;
  for (int64_t p = 0; p < half; p++) {
    double a = (double)q[p], b = (double)q[p + half];
    for (int64_t j = 0; j < h; j++) {
      double x = (double)s[p * h + j], y = (double)s[(p + half) * h + j];
      rows[p * h + j] = a * x + b * y;
      rows[(p + half) * h + j] = a * y - b * x;
    }
  }
  for (int64_t i = 0; i < h; i++) {
    for (int64_t p = 0; p < half; p++) {
      double a = (double)q[p], b = (double)q[p + half], x = rows[i * h + p], y = rows[i * h + p + half];
      out[i * h + p] += a * x + b * y;
      out[i * h + p + half] += a * y - b * x;
    }
  }
}

void ISA(logit_covariance)(const void *args, int64_t begin, int64_t end, void *scratch) {
  const mg_logit_args *a = args;
  int64_t h = a->h;
  double *rows = scratch;                     /* h * h */
  float *weights = (float *)(rows + h * h);   /* tokens */
  float *sum = weights + a->tokens;           /* h * h */
  float *query = sum + h * h, *mean = query + h;
  float *gathered = mean + h; /* KEYS * h */
  for (int64_t task = begin; task < end; task++) {
    int64_t head = task / MG_LOGIT_SHARES;
    const float *keys = a->k + head / a->group * h;
    double *out = a->partial + task * h * h;
    memset(out, 0, (size_t)(h * h) * sizeof *out);
    for (int64_t i = task % MG_LOGIT_SHARES; i < a->count; i += MG_LOGIT_SHARES) {
      int64_t m = a->queries[i];
      for (int64_t t = 0; t < h; t++) query[t] = a->q[m * a->q_stride + head * h + t] * a->scale;
      double total = softmax(query, keys, a->k_stride, m, h, weights);
      memset(mean, 0, (size_t)h * sizeof *mean);
      for (int64_t n = 0; n <= m; n++) {
        weights[n] = (float)((double)weights[n] / total);
        for (int64_t t = 0; t < h; t++) mean[t] += weights[n] * keys[n * a->k_stride + t];
      }
      memset(sum, 0, (size_t)(h * h) * sizeof *sum);
      int held = 0;
      for (int64_t n = 0; n <= m; n++) {
        if (weights[n] < 1e-7f) continue;
        float root = sqrtf(weights[n]);
        for (int64_t t = 0; t < h; t++) gathered[held * h + t] = root * (keys[n * a->k_stride + t] - mean[t]);
        if (++held == KEYS) {
          add_outer(sum, gathered, h);
          held = 0;
        }
      }
      if (held) {
        memset(gathered + held * h, 0, (size_t)((KEYS - held) * h) * sizeof *gathered);
        add_outer(sum, gathered, h);
      }
      add_features(out, sum, query, h, rows);
    }
  }
}
