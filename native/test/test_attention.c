#include "harness.h"

typedef struct {
  int64_t batch, queries, keys, spare;
  int32_t heads, kv_heads, window;
  int64_t dk, dv;
  float softcap;
} attention_case;

/* Of a case with spans, sequence b has fewer keys the larger b is, and lies in the cache from the end on. */
static int64_t keys_of(const attention_case *a, int64_t batch, bool spanned) {
  return spanned ? a->keys - batch * (a->keys - a->queries) / a->batch : a->keys;
}
static int64_t first_row(const attention_case *a, int64_t batch, bool spanned) {
  return (spanned ? a->batch - 1 - batch : batch) * (a->keys + a->spare);
}

/* One row of weights in double. */
static void reference(const attention_case *a, const mg_tensor *q, const mg_tensor *k, const mg_tensor *v, float scale,
                      int64_t batch, int64_t query, int64_t head, bool spanned, double *weights, double *out, double *size) {
  int64_t position = keys_of(a, batch, spanned) - a->queries + query, group = a->heads / a->kv_heads, kv = head / group;
  int64_t row = first_row(a, batch, spanned);
  int64_t first = a->window > 0 && position >= a->window ? position - a->window + 1 : 0;
  double max = -INFINITY, sum = 0;
  for (int64_t i = first; i <= position; i++) {
    double s = 0;
    for (int64_t d = 0; d < a->dk; d++) {
      s += (double)*f32(q, batch * a->queries + query, head * a->dk + d) * (double)*f32(k, row + i, kv * a->dk + d);
    }
    s *= (double)scale;
    if (a->softcap > 0) s = (double)a->softcap * tanh(s / (double)a->softcap);
    weights[i] = s;
    max = fmax(max, s);
  }
  for (int64_t i = first; i <= position; i++) sum += weights[i] = exp(weights[i] - max);
  for (int64_t d = 0; d < a->dv; d++) {
    out[d] = size[d] = 0;
    for (int64_t i = first; i <= position; i++) {
      double term = weights[i] / sum * (double)*f32(v, row + i, kv * a->dv + d);
      out[d] += term;
      size[d] += fabs(term);
    }
  }
}

static void check(const test_context *t, attention_case a, double spread, bool spanned) {
  const float scale = 0.125f;
  int64_t capacity = a.keys + a.spare;
  mg_tensor q = random_matrix(a.batch * a.queries, a.heads * a.dk, 3, spread);
  mg_tensor k = random_matrix(a.batch * capacity, a.kv_heads * a.dk, 1, 1.0),
            v = random_matrix(a.batch * capacity, a.kv_heads * a.dv, 0, 1.0);
  mg_tensor out = matrix(MG_F32, a.batch * a.queries, a.heads * a.dv, 2);
  mg_attention_params p = {.batch = a.batch,
                           .queries = a.queries,
                           .keys = a.keys,
                           .key_capacity = capacity,
                           .heads = a.heads,
                           .kv_heads = a.kv_heads,
                           .window = a.window,
                           .scale = scale,
                           .softcap = a.softcap};
  mg_tensor spans = matrix(MG_I32, 2, a.batch, 1);
  for (int64_t b = 0; b < a.batch; b++) { /* what is not valid must not be read */
    int64_t keys = keys_of(&a, b, spanned), first = first_row(&a, b, spanned);
    *i32(&spans, b) = (int32_t)first, *i32(&spans, spans.stride + b) = (int32_t)keys;
    for (int64_t i = keys; i < capacity; i++) {
      for (int64_t j = 0; j < k.cols; j++) *f32(&k, first + i, j) = NAN;
      for (int64_t j = 0; j < v.cols; j++) *f32(&v, first + i, j) = NAN;
    }
  }
  expect_ok(t, mg_attention(t->ctx, &q, &k, &v, &p, spanned ? &spans : NULL, &out));
  expect_gaps(t, "attention", &out);
  double *weights = malloc((size_t)(a.keys + 1) * sizeof *weights), *want = malloc((size_t)(2 * a.dv + 1) * sizeof *want);
  for (int64_t i = 0; i < a.batch * a.queries; i++) {
    for (int64_t head = 0; head < a.heads; head++) {
      reference(&a, &q, &k, &v, scale, i / a.queries, i % a.queries, head, spanned, weights, want, want + a.dv);
      for (int64_t d = 0; d < a.dv; d++) {
        note(t, a.queries * (a.heads / a.kv_heads) <= 8 ? "attention, decode" : "attention",
             fabs((double)*f32(&out, i, head * a.dv + d) - want[d]) / want[a.dv + d], 1e-5);
      }
    }
  }
  free(weights);
  free(want);
  free_all();
}

static void attention(const test_context *t, attention_case a, double spread) { check(t, a, spread, false); }

static void spanned(const test_context *t, attention_case a) { check(t, a, 1.0, true); }

void test_attention(const test_context *t) {
  const int64_t sizes[] = {1, 3, 7, 8, 16, 17, 33, 42, 58, 64, 100, 128};
  for (int i = 0; i < COUNT(sizes); i++) {
    int64_t s = sizes[i], r = sizes[COUNT(sizes) - 1 - i];
    attention(t, (attention_case){2, 70, 70, 0, 6, 2, 0, s, r, 0}, 1.0);
    attention(t, (attention_case){1, s, s + 9, 5, 4, 4, 0, 16, 24, 0}, 1.0);
    attention(t, (attention_case){1, 1, s, 2, 9, 3, 0, r, s, 0}, 1.0);
    attention(t, (attention_case){2, 2, s + 130, 1, 3, 1, 0, s, s, 0}, 1.0);
    attention(t, (attention_case){1, 40, 150, 1, 4, 2, (int32_t)s, 32, 17, 0}, 1.0);
    attention(t, (attention_case){1, 1, 200, 1, 4, 2, (int32_t)s, 32, 17, 0}, 1.0);
  }
  attention(t, (attention_case){1, 300, 300, 0, 3, 1, 0, 64, 64, 0}, 8.0);
  attention(t, (attention_case){1, 200, 200, 0, 2, 2, 0, 64, 64, 20.0f}, 8.0);
  attention(t, (attention_case){1, 1, 200, 0, 2, 2, 0, 64, 64, 20.0f}, 8.0);
  attention(t, (attention_case){1, 100, 100, 0, 8, 8, 0, 128, 128, 0}, 1.0); /* rows 4 KiB apart */
  attention(t, (attention_case){1, 100, 100, 0, 16, 1, 30, 20, 20, 0}, 1.0);
  attention(t, (attention_case){1, 1, 1500, 100, 3, 1, 0, 64, 64, 0}, 1.0); /* several splits */
  attention(t, (attention_case){1, 2, 1500, 100, 3, 1, 700, 64, 64, 0}, 1.0);
  spanned(t, (attention_case){5, 1, 70, 3, 6, 3, 0, 33, 24, 0});
  spanned(t, (attention_case){3, 1, 1500, 1, 3, 1, 0, 16, 16, 0}); /* some have fewer splits */
  spanned(t, (attention_case){4, 2, 90, 9, 4, 2, 20, 16, 17, 0});
  spanned(t, (attention_case){3, 1, 90, 0, 20, 2, 33, 16, 17, 20.0f}); /* tiles */
  spanned(t, (attention_case){2, 40, 150, 1, 4, 2, 0, 32, 17, 0});
  spanned(t, (attention_case){0, 1, 5, 0, 2, 1, 0, 8, 8, 0});
  attention(t, (attention_case){0, 5, 5, 0, 2, 1, 0, 8, 8, 0}, 1.0);
  attention(t, (attention_case){2, 0, 5, 0, 2, 1, 0, 8, 8, 0}, 1.0);
}
