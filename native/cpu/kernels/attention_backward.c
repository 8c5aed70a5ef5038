/*
 * The gradient of attention, one sequence and key/value head at a time, so that no two tasks add to the same dk and dv. The
 * (query, head of the group) pairs lie along the vectors as in attention.c: per tile of up to NR such columns the scores
 * Sᵀ [keys, columns] = K Qᵀ and dPᵀ = V dOutᵀ of all visible keys are kept, and with P = softmax(S) and
 * dS = P (dP - sum of P dP) there follow dQᵀ = Kᵀ dSᵀ, dK += dSᵀ Q and dV += Pᵀ dOut. Matrices that are the packed side of a
 * product with the head along the vectors are panels of NR columns.
 */
#include "tile.h"
#include "vmath.h"

static const float LOG2E = 1.44269504f;

typedef struct {
  float *keys, *values;          /* [T, dk + pad], [T, dv + pad] */
  float *s, *dp, *slope;         /* [T, NR]; scores, then P; dP, then dS; derivative of the softcap */
  float *q, *dout, *dq;          /* [dk, NR], [dv, NR], [dk, NR] */
  float *q_panels, *dout_panels; /* panels of [NR, NR] */
  float *dk_panels, *dv_panels;  /* panels of [T, NR] */
  float position[NR], ones[NR];
  int64_t key_stride, value_stride; /* floats between rows of keys and values */
} backward_state;

static int64_t panels(int64_t cols) { return (cols + NR - 1) / NR; }

/* A row length that is no multiple of a power of two beyond the vector width, which would use few cache sets. */
static int64_t spread(int64_t cols) { return cols + W - cols % W; }

/* Without memory only counts. */
static float *cut(char *memory, int64_t *bytes, int64_t floats) {
  float *p = memory ? (float *)(memory + *bytes) : NULL;
  *bytes += (floats * (int64_t)sizeof(float) + 63) / 64 * 64;
  return p;
}

/* Lays the buffers out in `memory`, which is 64-byte aligned, or NULL; returns their bytes. */
static int64_t lay_out(const mg_attention_backward_args *a, backward_state *t, char *memory) {
  int64_t tokens = a->params->keys, bytes = 0;
  t->key_stride = spread(a->dk);
  t->value_stride = spread(a->dv);
  t->keys = cut(memory, &bytes, tokens * t->key_stride);
  t->values = cut(memory, &bytes, tokens * t->value_stride);
  t->s = cut(memory, &bytes, tokens * NR);
  t->dp = cut(memory, &bytes, tokens * NR);
  t->slope = cut(memory, &bytes, a->params->softcap > 0 ? tokens * NR : NR);
  t->q = cut(memory, &bytes, a->dk * NR);
  t->dout = cut(memory, &bytes, a->dv * NR);
  t->dq = cut(memory, &bytes, a->dk * NR);
  t->q_panels = cut(memory, &bytes, panels(a->dk) * NR * NR);
  t->dout_panels = cut(memory, &bytes, panels(a->dv) * NR * NR);
  t->dk_panels = cut(memory, &bytes, panels(a->dk) * tokens * NR);
  t->dv_panels = cut(memory, &bytes, panels(a->dv) * tokens * NR);
  return bytes;
}

int64_t ISA(attention_backward_scratch)(const mg_attention_backward_args *a) {
  backward_state t;
  return lay_out(a, &t, NULL);
}

static void copy_rows(const float *x, int64_t stride, int64_t rows, int64_t cols, float *copy, int64_t width) {
  for (int64_t i = 0; i < rows; i++) memcpy(copy + i * width, x + i * stride, (size_t)cols * sizeof *x);
}

/*
 * Rows of the tile's columns, from x [tokens, heads * n] at the first row and head, into panels (the padding columns are zero)
 * and transposed, times `scale`, into turned [n, NR] (the columns from `count` on are zero).
 */
static void pack(const mg_attention_backward_args *a, const float *x, int64_t stride, int64_t n, int64_t first, int64_t count,
                 float scale, float *rows, float *turned) {
  for (int64_t d = 0; d < n; d += NR) {
    int64_t width = n - d < NR ? n - d : NR;
    float *panel = rows + d * NR;
    for (int64_t c = 0; c < count; c++) {
      const float *source = x + (first + c) / a->group * stride + (first + c) % a->group * n + d;
      memcpy(panel + c * NR, source, (size_t)width * sizeof *panel);
      for (int64_t j = width; j < NR; j++) panel[c * NR + j] = 0.0f;
    }
    transpose_f32(panel, NR, count, width, turned + d * NR, NR);
  }
  for (int64_t d = 0; d < n; d++) {
    for (int64_t c = count; c < NR; c++) turned[d * NR + c] = 0.0f;
    for (int c = 0; c < NR; c += W) v_store(turned + d * NR + c, v_load(turned + d * NR + c) * v_set(scale));
  }
}

/* Scores come as x / softcap with a softcap, else as x log2(e). */
static void cap(backward_state *t, int64_t n, int vectors, float softcap) {
  vf factor = v_set(softcap * LOG2E);
  for (int64_t r = 0; r < n; r++) {
    for (int64_t i = r * NR; i < r * NR + vectors * W; i += W) {
      vf x = v_tanh(v_load(t->s + i));
      v_store(t->s + i, factor * x);
      v_store(t->slope + i, v_fma(v_zero() - x, x, v_set(1.0f)));
    }
  }
}

/* Scores of rows that a column may not see become -inf; positions count from row 0. */
static void mask(backward_state *t, int64_t n, int vectors, int32_t window) {
  vf hidden = v_set(-INFINITY);
  for (int j = 0; j < vectors; j++) {
    vf last = v_load(t->position + j * W), before = last - v_set((float)window);
    for (int64_t r = 0; r < n; r++) {
      vf row = v_set((float)r), s = v_load(t->s + r * NR + j * W);
      s = v_select(v_less(last, row), hidden, s);
      if (window > 0) s = v_select(v_less(before, row), s, hidden);
      v_store(t->s + r * NR + j * W, s);
    }
  }
}

/* Of n rows of one vector of columns: scores become P, and dP becomes dS times scale. */
static void weigh(backward_state *t, int64_t n, int j, bool capped, float scale) {
  float *s = t->s + j * W, *dp = t->dp + j * W;
  const float *slope = t->slope + j * W;
  vf m = v_set(-1e30f), sum = v_zero(), mean = v_zero();
  for (int64_t r = 0; r < n; r++) m = v_max(v_load(s + r * NR), m);
  for (int64_t r = 0; r < n; r++) {
    vf e = v_exp2_negative(v_load(s + r * NR) - m);
    v_store(s + r * NR, e);
    sum = sum + e;
    mean = v_fma(e, v_load(dp + r * NR), mean);
  }
  vf inverse = v_set(1.0f) / sum, factor = v_set(scale);
  mean = mean / sum;
  for (int64_t r = 0; r < n; r++) {
    vf p = v_load(s + r * NR) * inverse, ds = p * (v_load(dp + r * NR) - mean) * factor;
    v_store(s + r * NR, p);
    v_store(dp + r * NR, capped ? ds * v_load(slope + r * NR) : ds);
  }
}

/* out[panel] [T, NR] += aᵀ b[panel] for rows `begin` and the n - 1 after it; a is [n, NR], of which `count` columns. */
static void add_products(const backward_state *t, int64_t tokens, int64_t begin, int64_t n, int64_t cols, int64_t count,
                         const float *a, const float *b, float *out) {
  for (int64_t d = 0; d < cols; d += NR) {
    tile_rows(A_IN_ROWS, n, vectors_for(cols - d), count, a, NR, b + d * NR, out + d * tokens + begin * NR, t->ones);
  }
}

/* Rows of dq, which points at the first row and head, from its transpose. */
static void write_columns(const mg_attention_backward_args *a, backward_state *t, float *dq, int64_t first, int64_t count) {
  float *rows = t->q; /* not needed any more */
  transpose_f32(t->dq, NR, a->dk, count, rows, a->dk);
  for (int64_t c = 0; c < count; c++) {
    float *to = dq + (first + c) / a->group * a->dq_stride + (first + c) % a->group * a->dk;
    memcpy(to, rows + c * a->dk, (size_t)a->dk * sizeof *to);
  }
}

static void backward_tile(const mg_attention_backward_args *a, backward_state *t, const float *q, const float *dout, float *dq,
                          int64_t first, int64_t count) {
  const mg_attention_params *p = a->params;
  bool capped = p->softcap > 0;
  int vectors = vectors_for(count);
  int64_t lowest = first / a->group, highest = (first + count - 1) / a->group;
  int64_t begin = p->window > 0 && lowest - p->window + 1 > 0 ? lowest - p->window + 1 : 0, n = highest + 1 - begin;
  for (int64_t c = 0; c < NR; c++) t->position[c] = (float)((first + (c < count ? c : count - 1)) / a->group - begin);
  pack(a, q, a->q_stride, a->dk, first, count, capped ? p->scale / p->softcap : p->scale * LOG2E, t->q_panels, t->q);
  pack(a, dout, a->dout_stride, a->dv, first, count, 1.0f, t->dout_panels, t->dout);
  const float *keys = t->keys + begin * t->key_stride, *values = t->values + begin * t->value_stride;
  tile_rows(A_IN_ROWS, n, vectors, a->dk, keys, t->key_stride, t->q, t->s, NULL);
  tile_rows(A_IN_ROWS, n, vectors, a->dv, values, t->value_stride, t->dout, t->dp, NULL);
  if (capped) cap(t, n, vectors, p->softcap);
  mask(t, n, vectors, p->window);
  for (int j = 0; j < vectors; j++) weigh(t, n, j, capped, p->scale);
  tile_rows(A_IN_COLUMNS, a->dk, vectors, n, keys, t->key_stride, t->dp, t->dq, NULL);
  write_columns(a, t, dq, first, count);
  add_products(t, p->keys, begin, n, a->dk, count, t->dp, t->q_panels, t->dk_panels);
  add_products(t, p->keys, begin, n, a->dv, count, t->s, t->dout_panels, t->dv_panels);
}

static void write_panels(const float *panel, int64_t tokens, int64_t cols, float *x, int64_t stride) {
  for (int64_t d = 0; d < cols; d += NR, panel += tokens * NR) {
    int64_t width = cols - d < NR ? cols - d : NR;
    for (int64_t i = 0; i < tokens; i++) memcpy(x + i * stride + d, panel + i * NR, (size_t)width * sizeof *x);
  }
}

/* Loop: batch * kv_heads. */
void ISA(attention_backward)(const void *args, int64_t begin, int64_t end, void *scratch) {
  const mg_attention_backward_args *a = args;
  int64_t tokens = a->params->keys, columns = tokens * a->group;
  backward_state t;
  lay_out(a, &t, scratch);
  for (int i = 0; i < NR; i++) t.ones[i] = 1.0f;
  for (int64_t task = begin; task < end; task++) {
    int64_t head = task % a->params->kv_heads, row = task / a->params->kv_heads * tokens;
    copy_rows(a->k + row * a->k_stride + head * a->dk, a->k_stride, tokens, a->dk, t.keys, t.key_stride);
    copy_rows(a->v + row * a->v_stride + head * a->dv, a->v_stride, tokens, a->dv, t.values, t.value_stride);
    memset(t.dk_panels, 0, (size_t)(panels(a->dk) * tokens * NR) * sizeof(float));
    memset(t.dv_panels, 0, (size_t)(panels(a->dv) * tokens * NR) * sizeof(float));
    const float *q = a->q + row * a->q_stride + head * a->group * a->dk;
    const float *dout = a->dout + row * a->dout_stride + head * a->group * a->dv;
    float *dq = a->dq + row * a->dq_stride + head * a->group * a->dk;
    for (int64_t first = 0; first < columns; first += NR) {
      backward_tile(a, &t, q, dout, dq, first, columns - first < NR ? columns - first : NR);
    }
    write_panels(t.dk_panels, tokens, a->dk, a->dk_out + row * a->dk_stride + head * a->dk, a->dk_stride);
    write_panels(t.dv_panels, tokens, a->dv, a->dv_out + row * a->dv_stride + head * a->dv, a->dv_stride);
  }
}
