#include "quant.h"
#include "tile.h"

enum {
  CHUNK = 512,
  DEPTH = MG_LINEAR_DEPTH,
  LDA = DEPTH + MG_LINEAR_PAD
}; /* the pad keeps rows out of each other's cache sets */

typedef vf loader(const char *p);

INLINE vf load_f32(const char *p) {
  vf v;
  memcpy(&v, p, sizeof v);
  return v;
}
INLINE vf load_bf16(const char *p) {
  return v_load_bf16(p);
}
INLINE vf load_f16(const char *p) {
  return v_load_f16(p);
}

/* Dot product over whole vectors of n elements in four chains; the sum stays a vector. */
INLINE vf dot(loader *load, int bytes, const char *w, const float *x, int64_t n) {
  vf s0 = v_zero(), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  for (; i + 4 * W <= n; i += 4 * W) {
    s0 = v_fma(load(w + i * bytes), v_load(x + i), s0);
    s1 = v_fma(load(w + (i + W) * bytes), v_load(x + i + W), s1);
    s2 = v_fma(load(w + (i + 2 * W) * bytes), v_load(x + i + 2 * W), s2);
    s3 = v_fma(load(w + (i + 3 * W) * bytes), v_load(x + i + 3 * W), s3);
  }
  for (; i < n; i += W) s0 = v_fma(load(w + i * bytes), v_load(x + i), s0);
  return (s0 + s1) + (s2 + s3);
}

static vf chunk_dot(int32_t dtype, const char *w, const float *x, int64_t n) {
  switch (dtype) {
  case MG_BF16:
    return dot(load_bf16, 2, w, x, n);
  case MG_F16:
    return dot(load_f16, 2, w, x, n);
  default:
    return dot(load_f32, 4, w, x, n);
  }
}

/* One row of w against all rows of x. Quantised weights become float32 chunk by chunk; the others are widened in registers. */
static void row_of_w(const mg_linear_args *a, int64_t r) {
  float buffer[CHUNK];
  vf sum[MG_LINEAR_ROWS];
  float tail[MG_LINEAR_ROWS] = {0};
  mg_block block = mg_block_of(a->w.dtype);
  const char *w = a->w.data + r * a->w.bytes;
  bool direct = block.length == 1;
  int64_t whole = a->cols / W * W, step = direct ? 8 * CHUNK : CHUNK;
  for (int64_t i = 0; i < a->rows; i++) sum[i] = v_zero();
  for (int64_t j = 0; j < whole; j += step) {
    int64_t n = whole - j < step ? whole - j : step;
    const char *chunk = w + j / block.length * block.bytes;
    if (!direct) {
      ISA(dequantise)(a->w.dtype, chunk, n, buffer);
      chunk = (const char *)buffer;
    }
    for (int64_t i = 0; i < a->rows; i++) {
      sum[i] = sum[i] + chunk_dot(direct ? a->w.dtype : MG_F32, chunk, a->x + i * a->x_stride + j, n);
    }
  }
  if (whole < a->cols) {
    ISA(read_f32)(a->w.dtype, w, whole, a->cols - whole, buffer);
    for (int64_t i = 0; i < a->rows; i++) {
      for (int64_t j = whole; j < a->cols; j++) tail[i] += buffer[j - whole] * a->x[i * a->x_stride + j];
    }
  }
  for (int64_t i = 0; i < a->rows; i++) a->y[i * a->y_stride + r] = v_sum(sum[i]) + tail[i] + (a->bias ? a->bias[r] : 0.0f);
}

void ISA(linear_rows)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const mg_linear_args *a = args;
  for (int64_t r = begin; r < end; r++) row_of_w(a, r);
}

/* Blocks of NR rows of x, transposed to [cols, NR]. Loop: blocks * chunks of DEPTH columns. */
void ISA(linear_pack)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const mg_linear_args *a = args;
  int64_t chunks = (a->cols + DEPTH - 1) / DEPTH;
  for (int64_t task = begin; task < end; task++) {
    int64_t block = task / chunks, j0 = task % chunks * DEPTH, j1 = j0 + DEPTH < a->cols ? j0 + DEPTH : a->cols;
    float *out = a->packed + block * a->cols * NR;
    int64_t rows = a->rows - block * NR < NR ? a->rows - block * NR : NR;
    const float *x = a->x + block * NR * a->x_stride;
    for (int64_t j = j0; j < j1; j++) {
      for (int64_t i = 0; i < rows; i++) out[j * NR + i] = x[i * a->x_stride + j];
      for (int64_t i = rows; i < NR; i++) out[j * NR + i] = 0.0f;
    }
  }
}

/* Groups of MG_LINEAR_GROUP rows of w against all of x; scratch: the group in float32, then its transposed results. */
void ISA(linear_tiles)(const void *args, int64_t begin, int64_t end, void *scratch) {
  const mg_linear_args *a = args;
  float *w = scratch, *results = w + MG_LINEAR_GROUP * LDA;
  int64_t blocks = (a->rows + NR - 1) / NR;
  float one[NR];
  for (int j = 0; j < NR; j++) one[j] = 1.0f;
  for (int64_t group = begin; group < end; group++) {
    int64_t r0 = group * MG_LINEAR_GROUP, m = a->outputs - r0 < MG_LINEAR_GROUP ? a->outputs - r0 : MG_LINEAR_GROUP;
    for (int64_t j = 0; j < a->cols; j += DEPTH) {
      int64_t k = a->cols - j < DEPTH ? a->cols - j : DEPTH;
      for (int64_t r = 0; r < m; r++) ISA(read_f32)(a->w.dtype, a->w.data + (r0 + r) * a->w.bytes, j, k, w + r * LDA);
      for (int64_t b = 0; b < blocks; b++) {
        tile_rows(A_IN_ROWS, m, vectors_for(a->rows - b * NR), k, w, LDA, a->packed + (b * a->cols + j) * NR,
                  results + b * MG_LINEAR_GROUP * NR, j > 0 ? one : NULL);
      }
    }
    for (int64_t i = 0; i < a->rows; i++) {
      const float *result = results + i / NR * MG_LINEAR_GROUP * NR + i % NR;
      float *y = a->y + i * a->y_stride + r0;
      for (int64_t r = 0; r < m; r++) y[r] = result[r * NR] + (a->bias ? a->bias[r0 + r] : 0.0f);
    }
  }
}
