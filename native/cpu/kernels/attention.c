/*
 * Attention with the (query, head of the group) pairs along the vectors: a tile holds up to NR such columns of one sequence and
 * one key/value head. Scores Sᵀ [keys, columns] = K Qᵀ and results Oᵀ [dv, columns] = Vᵀ Pᵀ are products in which K and V are
 * read in place, only Qᵀ is packed, and maximum, sum and rescaling of the online softmax go column by column without any
 * horizontal operation. Exponentials are to base 2; log2(e) is folded into the scale of Q.
 */
#include "tile.h"
#include "vmath.h"

static const float LOG2E = 1.44269504f;
/* The running maximum starts finite: e^(-inf - max) is then 0 for a column that has only masked keys so far. */
static const float LOWEST = -1e30f;

typedef struct {
  float *q, *s, *o, *k, *v; /* [dk, NR], [keys, NR], [dv, NR], [keys, dk], [keys, dv] */
  float position[NR], max[NR], sum[NR], beta[NR];
} tile_state;

static int64_t padded(int64_t n) { return (n + W - 1) / W * W; }

int64_t ISA(attention_scratch)(const mg_attention_args *a) {
  int64_t floats = (a->dk + MG_ATTENTION_KEYS + a->dv) * NR + MG_ATTENTION_KEYS * (a->dk + a->dv + 2 * W);
  return (int64_t)sizeof(tile_state) + floats * (int64_t)sizeof(float) + 5 * 64;
}

static float *cut(char **memory, int64_t floats) {
  char *p = *memory + (-(uintptr_t)*memory & 63);
  *memory = p + floats * (int64_t)sizeof(float);
  return (float *)p;
}

/* Rows that lie a multiple of 1 KiB apart fall into few cache sets; those are copied first. */
static bool must_copy(int64_t stride) { return stride % 256 == 0; }

static const float *rows_in_place_or_copied(const float *x, int64_t *stride, int64_t rows, int64_t cols, float *copy) {
  if (!must_copy(*stride)) return x;
  int64_t width = cols + W - cols % W;
  for (int64_t i = 0; i < rows; i++) memcpy(copy + i * width, x + i * *stride, (size_t)cols * sizeof *x);
  *stride = width;
  return copy;
}

/* Scores of keys first .. first + n - 1 that a column may not see become -inf. Row numbers are exact in float32. */
static void mask(tile_state *t, int64_t n, int64_t first, int vectors, int32_t window) {
  vf hidden = v_set(-INFINITY);
  for (int j = 0; j < vectors; j++) {
    vf last = v_load(t->position + j * W) - v_set((float)first); /* row of the column's own position */
    vf before = last - v_set((float)window);
    for (int64_t r = 0; r < n; r++) {
      vf row = v_set((float)r), s = v_load(t->s + r * NR + j * W);
      s = v_select(v_less(last, row), hidden, s);
      if (window > 0) s = v_select(v_less(before, row), s, hidden);
      v_store(t->s + r * NR + j * W, s);
    }
  }
}

INLINE void online_softmax(tile_state *t, int64_t n, const int vectors) {
  vf m[NV], sum[NV];
  for (int j = 0; j < vectors; j++) m[j] = v_load(t->max + j * W), sum[j] = v_zero();
  for (int64_t r = 0; r < n; r++) {
    for (int j = 0; j < vectors; j++) m[j] = v_max(v_load(t->s + r * NR + j * W), m[j]);
  }
  for (int64_t r = 0; r < n; r++) {
    for (int j = 0; j < vectors; j++) {
      vf p = v_exp2_negative(v_load(t->s + r * NR + j * W) - m[j]);
      v_store(t->s + r * NR + j * W, p);
      sum[j] = sum[j] + p;
    }
  }
  for (int j = 0; j < vectors; j++) {
    vf beta = v_exp2_negative(v_load(t->max + j * W) - m[j]);
    v_store(t->beta + j * W, beta);
    v_store(t->max + j * W, m[j]);
    v_store(t->sum + j * W, v_fma(v_load(t->sum + j * W), beta, sum[j]));
  }
}

static void softmax_block(tile_state *t, int64_t n, int vectors) {
  switch (vectors) {
  case 1:
    online_softmax(t, n, 1);
    return;
  case 2:
    online_softmax(t, n, 2);
    return;
  default:
    online_softmax(t, n, 3);
  }
}

static void cap(tile_state *t, int64_t n, int vectors, float softcap) {
  vf factor = v_set(softcap * LOG2E);
  for (int64_t r = 0; r < n; r++) {
    for (int j = 0; j < vectors; j++) {
      float *s = t->s + r * NR + j * W;
      v_store(s, factor * v_tanh(v_load(s)));
    }
  }
}

/* Logits leave the product as x / softcap with a softcap, else as x log2(e). */
static float query_scale(const mg_attention_params *p) { return p->softcap > 0 ? p->scale / p->softcap : p->scale * LOG2E; }

/* The columns of a tile are runs of consecutive heads, one run per query: column c belongs to head c % group of query c / group.
 */
static int64_t run_length(const mg_attention_args *a, int64_t column, int64_t end) {
  int64_t run = a->group - column % a->group;
  return column + run < end ? run : end - column;
}

/* q[d][c] = scale * Q[query][head][d]; columns without a query are zero. */
static void pack_queries(const mg_attention_args *a, tile_state *t, int64_t batch, int64_t kv_head, int64_t first,
                         int64_t count) {
  vf scale = v_set(query_scale(a->params));
  int64_t run = a->group;
  for (int64_t c = first; c < first + count; c += run) {
    const float *q =
        a->q + (batch * a->params->queries + c / a->group) * a->q_stride + (kv_head * a->group + c % a->group) * a->dk;
    /* One head per key/value head: whole squares of queries; else the heads of one query. */
    run = a->group == 1 ? first + count - c : run_length(a, c, first + count);
    transpose_f32(q, a->group == 1 ? a->q_stride : a->dk, run, a->dk, t->q + c - first, NR);
  }
  for (int64_t d = 0; d < a->dk; d++) {
    for (int64_t c = count; c < NR; c++) t->q[d * NR + c] = 0.0f;
    for (int c = 0; c < NR; c += W) v_store(t->q + d * NR + c, v_load(t->q + d * NR + c) * scale);
  }
}

/* out[query][head][d] = o[d][c] / sum[c] */
static void write_results(const mg_attention_args *a, tile_state *t, int64_t batch, int64_t kv_head, int64_t first, int64_t count,
                          int vectors) {
  for (int j = 0; j < vectors; j++) {
    vf factor = v_set(1.0f) / v_load(t->sum + j * W);
    for (int64_t d = 0; d < a->dv; d++) v_store(t->o + d * NR + j * W, v_load(t->o + d * NR + j * W) * factor);
  }
  int64_t run = a->group;
  for (int64_t c = first; c < first + count; c += run) {
    float *out =
        a->out + (batch * a->params->queries + c / a->group) * a->out_stride + (kv_head * a->group + c % a->group) * a->dv;
    run = a->group == 1 ? first + count - c : run_length(a, c, first + count);
    transpose_f32(t->o + c - first, NR, a->dv, run, out, a->group == 1 ? a->out_stride : a->dv);
  }
}

static void attention_tile(const mg_attention_args *a, int64_t batch, int64_t kv_head, int64_t tile, char *memory) {
  const mg_attention_params *p = a->params;
  tile_state *t = (tile_state *)memory;
  memory += sizeof *t;
  t->q = cut(&memory, a->dk * NR);
  t->s = cut(&memory, MG_ATTENTION_KEYS * NR);
  t->o = cut(&memory, a->dv * NR);
  t->k = cut(&memory, MG_ATTENTION_KEYS * (a->dk + W));
  t->v = cut(&memory, MG_ATTENTION_KEYS * (a->dv + W));
  int64_t first_column = tile * NR, left = p->queries * a->group - first_column, columns = left < NR ? left : NR;
  int vectors = vectors_for(columns);
  int64_t first_position = mg_keys_of(a, batch) - p->queries;
  int64_t lowest = first_position + first_column / a->group;
  int64_t highest = first_position + (first_column + columns - 1) / a->group;
  int64_t begin = p->window > 0 && lowest - p->window + 1 > 0 ? lowest - p->window + 1 : 0;
  pack_queries(a, t, batch, kv_head, first_column, columns);
  for (int64_t c = 0; c < NR; c++) {
    int64_t column = first_column + (c < columns ? c : columns - 1);
    /* Positions relative to the first key of the tile stay small integers. */
    t->position[c] = (float)(first_position + column / a->group - begin);
    t->max[c] = LOWEST;
    t->sum[c] = 0.0f;
  }
  const float *k_rows = a->k + mg_first_row(a, batch) * a->k_stride + kv_head * a->dk;
  const float *v_rows = a->v + mg_first_row(a, batch) * a->v_stride + kv_head * a->dv;
  for (int64_t key = begin; key <= highest; key += MG_ATTENTION_KEYS) {
    int64_t n = highest + 1 - key < MG_ATTENTION_KEYS ? highest + 1 - key : MG_ATTENTION_KEYS;
    int64_t k_stride = a->k_stride, v_stride = a->v_stride;
    const float *k = rows_in_place_or_copied(k_rows + key * k_stride, &k_stride, n, a->dk, t->k);
    const float *v = rows_in_place_or_copied(v_rows + key * v_stride, &v_stride, n, a->dv, t->v);
    tile_rows(A_IN_ROWS, n, vectors, a->dk, k, k_stride, t->q, t->s, NULL);
    if (p->softcap > 0) cap(t, n, vectors, p->softcap);
    if (key + n - 1 > lowest || (p->window > 0 && key <= highest - p->window)) mask(t, n, key - begin, vectors, p->window);
    softmax_block(t, n, vectors);
    tile_rows(A_IN_COLUMNS, a->dv, vectors, n, v, v_stride, t->s, t->o, key > begin ? t->beta : NULL);
  }
  write_results(a, t, batch, kv_head, first_column, columns, vectors);
}

/* Later tiles see more keys; the longest go first. */
void ISA(attention_tiles)(const void *args, int64_t begin, int64_t end, void *scratch) {
  const mg_attention_args *a = args;
  for (int64_t task = begin; task < end; task++) {
    int64_t heads = a->params->kv_heads, head = task % heads, batch = task / heads % a->params->batch;
    attention_tile(a, batch, head, a->tiles - 1 - task / heads / a->params->batch, scratch);
  }
}

/* ---- few columns (decoding): vectors run along the head; the keys are cut into splits of fixed length ---------------------- */

/* Sum of q[i] k[i] over dk elements. */
static float dot(const float *q, const float *k, int64_t n) {
  vf s0 = v_zero(), s1 = v_zero();
  int64_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    s0 = v_fma(v_load(q + i), v_load(k + i), s0);
    s1 = v_fma(v_load(q + i + W), v_load(k + i + W), s1);
  }
  for (; i < n; i += W) {
    int64_t m = n - i < W ? n - i : W;
    s0 = v_fma(v_load_n(q + i, m), v_load_n(k + i, m), s0);
  }
  return v_sum(s0 + s1);
}

/* o[0:n] = beta * o[0:n] + sum over keys of p[key] v[key, 0:n] */
static void weighted_rows(const float *p, int64_t keys, const float *v, int64_t stride, int64_t n, float beta, float *o) {
  int64_t i = 0;
  for (; i + 4 * W <= n; i += 4 * W) {
    vf acc[4];
    for (int j = 0; j < 4; j++) acc[j] = v_load(o + i + j * W) * v_set(beta);
    for (int64_t key = 0; key < keys; key++) {
      for (int j = 0; j < 4; j++) acc[j] = v_fma(v_set(p[key]), v_load(v + key * stride + i + j * W), acc[j]);
    }
    for (int j = 0; j < 4; j++) v_store(o + i + j * W, acc[j]);
  }
  for (; i < n; i += W) {
    int64_t m = n - i < W ? n - i : W;
    vf acc = v_load_n(o + i, m) * v_set(beta);
    for (int64_t key = 0; key < keys; key++) acc = v_fma(v_set(p[key]), v_load_n(v + key * stride + i, m), acc);
    v_store_n(o + i, acc, m);
  }
}

/* First of `keys` keys that any query sees. */
static int64_t first_key(const mg_attention_params *p, int64_t keys) {
  int64_t begin = p->window > 0 ? keys - p->queries - p->window + 1 : 0;
  return begin > 0 ? begin : 0;
}

/* Scores of one column on n <= MG_ATTENTION_KEYS keys from `key` on become weights; state is {max, sum}; returns beta. */
static float weigh(const mg_attention_params *p, float *s, int64_t n, int64_t key, int64_t position, float *state) {
  for (int64_t i = n; i < padded(n); i++) s[i] = -INFINITY;
  for (int64_t i = 0; i < n; i++) {
    if (key + i > position || (p->window > 0 && key + i <= position - p->window)) s[i] = -INFINITY;
  }
  vf m = v_set(state[0]);
  for (int64_t i = 0; i < n; i += W) m = v_max(v_load(s + i), m);
  float max = v_largest(m);
  vf sum = v_zero();
  for (int64_t i = 0; i < n; i += W) {
    vf e = v_exp2_negative(v_load(s + i) - v_set(max));
    v_store(s + i, e);
    sum = sum + e;
  }
  float beta = exp2f(state[0] - max);
  state[0] = max;
  state[1] = state[1] * beta + v_sum(sum);
  return beta;
}

/* partial[task][column]: max, sum, then dv sums. Loop: batch * kv_heads * splits. */
void ISA(attention_rows)(const void *args, int64_t begin, int64_t end, void *scratch) {
  const mg_attention_args *a = args;
  const mg_attention_params *p = a->params;
  float *q = scratch, s[MG_ATTENTION_KEYS];
  int64_t columns = p->queries * a->group, record = a->dv + 2;
  for (int64_t task = begin; task < end; task++) {
    int64_t split = task % a->splits, head = task / a->splits % p->kv_heads, batch = task / a->splits / p->kv_heads;
    float *partial = a->partial + task * columns * record;
    for (int64_t c = 0; c < columns; c++) {
      const float *source = a->q + (batch * p->queries + c / a->group) * a->q_stride + (head * a->group + c % a->group) * a->dk;
      for (int64_t d = 0; d < a->dk; d++) q[c * a->dk + d] = source[d] * query_scale(p);
      partial[c * record] = LOWEST;
      for (int64_t d = 1; d < record; d++) partial[c * record + d] = 0.0f;
    }
    int64_t keys = mg_keys_of(a, batch), from = first_key(p, keys) + split * MG_DECODE_KEYS;
    int64_t to = from + MG_DECODE_KEYS < keys ? from + MG_DECODE_KEYS : keys;
    for (int64_t key = from; key < to; key += MG_ATTENTION_KEYS) {
      int64_t n = to - key < MG_ATTENTION_KEYS ? to - key : MG_ATTENTION_KEYS;
      const float *k = a->k + (mg_first_row(a, batch) + key) * a->k_stride + head * a->dk;
      const float *v = a->v + (mg_first_row(a, batch) + key) * a->v_stride + head * a->dv;
      for (int64_t c = 0; c < columns; c++) {
        float *state = partial + c * record;
        for (int64_t i = 0; i < n; i++) s[i] = dot(q + c * a->dk, k + i * a->k_stride, a->dk);
        if (p->softcap > 0) {
          for (int64_t i = 0; i < padded(n); i += W) v_store(s + i, v_set(p->softcap * LOG2E) * v_tanh(v_load(s + i)));
        }
        float beta = weigh(p, s, n, key, keys - p->queries + c / a->group, state);
        weighted_rows(s, n, v, a->v_stride, a->dv, beta, state + 2);
      }
    }
  }
}

/* Loop: batch * kv_heads. */
void ISA(attention_merge)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const mg_attention_args *a = args;
  const mg_attention_params *p = a->params;
  int64_t columns = p->queries * a->group, record = a->dv + 2;
  for (int64_t task = begin; task < end; task++) {
    int64_t head = task % p->kv_heads, batch = task / p->kv_heads;
    for (int64_t c = 0; c < columns; c++) {
      const float *partial = a->partial + (task * a->splits * columns + c) * record;
      float *out = a->out + (batch * p->queries + c / a->group) * a->out_stride + (head * a->group + c % a->group) * a->dv;
      float max = LOWEST, sum = 0.0f;
      for (int64_t i = 0; i < a->splits; i++) max = fmaxf(max, partial[i * columns * record]);
      for (int64_t d = 0; d < a->dv; d++) out[d] = 0.0f;
      for (int64_t i = 0; i < a->splits; i++) {
        const float *split = partial + i * columns * record;
        float weight = exp2f(split[0] - max);
        sum += weight * split[1];
        for (int64_t d = 0; d < a->dv; d++) out[d] += weight * split[2 + d];
      }
      for (int64_t d = 0; d < a->dv; d++) out[d] /= sum;
    }
  }
}
