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
INLINE vf load_bf16(const char *p) { return v_load_bf16(p); }
INLINE vf load_f16(const char *p) { return v_load_f16(p); }

/*
 * sums[r][i] += dot product of row r of w with row i of x over n elements (whole vectors). A block of R rows of w and up to 4 of
 * x is held in registers, so that each element is loaded and widened once for several products.
 */
enum { R = 4 };

INLINE void dots(loader *load, const int bytes, const int rows, const char *const *w, const float *x, int64_t stride, int64_t n,
                 vf sums[R][MG_LINEAR_ROWS], int first) {
  vf s[R][4];
#pragma GCC unroll 4
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) s[r][i] = sums[r][first + i];
  }
  for (int64_t j = 0; j < n; j += W) {
    vf v[4];
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) v[i] = v_load(x + i * stride + j);
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
      vf u = load(w[r] + j * bytes);
#pragma GCC unroll 4
      for (int i = 0; i < rows; i++) s[r][i] = v_fma(u, v[i], s[r][i]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) sums[r][first + i] = s[r][i];
  }
}

INLINE void all_rows(loader *load, const int bytes, const char *const *w, const float *x, int64_t stride, int64_t rows, int64_t n,
                     vf sums[R][MG_LINEAR_ROWS]) {
  int i = 0;
  for (; i + 4 <= rows; i += 4) dots(load, bytes, 4, w, x + i * stride, stride, n, sums, i);
  for (; i + 2 <= rows; i += 2) dots(load, bytes, 2, w, x + i * stride, stride, n, sums, i);
  if (i < rows) dots(load, bytes, 1, w, x + i * stride, stride, n, sums, i);
}

static void chunk(int32_t dtype, const char *const *w, const float *x, int64_t stride, int64_t rows, int64_t n,
                  vf sums[R][MG_LINEAR_ROWS]) {
  switch (dtype) {
  case MG_BF16:
    all_rows(load_bf16, 2, w, x, stride, rows, n, sums);
    return;
  case MG_F16:
    all_rows(load_f16, 2, w, x, stride, rows, n, sums);
    return;
  default:
    all_rows(load_f32, 4, w, x, stride, rows, n, sums);
  }
}

/* R rows of w from r on against all rows of x; of these the first `count` are stored (the others repeat the last). Quantised
 * weights become float32 chunk by chunk; the others are widened in registers. */
static void rows_of_w(const mg_linear_args *a, int64_t r, int64_t count) {
  float buffer[R][CHUNK];
  vf sums[R][MG_LINEAR_ROWS];
  mg_block block = mg_block_of(a->w.dtype);
  bool direct = block.length == 1;
  int64_t whole = a->cols / W * W;
  const char *w[R], *part[R];
  for (int i = 0; i < R; i++) {
    w[i] = a->w.data + (r + (i < count ? i : count - 1)) * a->w.bytes;
    for (int64_t j = 0; j < a->rows; j++) sums[i][j] = v_zero();
  }
  for (int64_t j = 0; j < whole; j += CHUNK) {
    int64_t n = whole - j < CHUNK ? whole - j : CHUNK;
    for (int i = 0; i < R; i++) {
      part[i] = w[i] + j / block.length * block.bytes;
      if (direct) continue;
      if (i < count) ISA(dequantise)(a->w.dtype, part[i], n, buffer[i]);
      part[i] = (const char *)buffer[i < count ? i : count - 1];
    }
    chunk(direct ? a->w.dtype : MG_F32, part, a->x + j, a->x_stride, a->rows, n, sums);
  }
  for (int i = 0; i < count; i++) {
    if (whole < a->cols) ISA(read_f32)(a->w.dtype, w[i], whole, a->cols - whole, buffer[i]);
    for (int64_t k = 0; k < a->rows; k++) {
      float sum = v_sum(sums[i][k]);
      for (int64_t j = whole; j < a->cols; j++) sum += buffer[i][j - whole] * a->x[k * a->x_stride + j];
      a->y[k * a->y_stride + r + i] = sum + (a->bias ? a->bias[r + i] : 0.0f);
    }
  }
}

/* A single row of x against plain weights: one stream through w, four chains of sums. */
INLINE void row_of_w(loader *load, const int bytes, const mg_linear_args *a, int64_t r) {
  const char *w = a->w.data + r * a->w.bytes;
  const float *x = a->x;
  vf s[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
  int64_t j = 0;
  for (; j + 4 * W <= a->cols; j += 4 * W) {
    for (int c = 0; c < 4; c++) s[c] = v_fma(load(w + (j + c * W) * bytes), v_load(x + j + c * W), s[c]);
  }
  for (; j + W <= a->cols; j += W) s[0] = v_fma(load(w + j * bytes), v_load(x + j), s[0]);
  float sum = v_sum((s[0] + s[1]) + (s[2] + s[3])), rest[W];
  if (j < a->cols) ISA(read_f32)(a->w.dtype, w, j, a->cols - j, rest);
  for (int64_t i = j; i < a->cols; i++) sum += rest[i - j] * x[i];
  a->y[r] = sum + (a->bias ? a->bias[r] : 0.0f);
}

/* A row's sum is the same in whatever group of R it falls. */
void ISA(linear_rows)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const mg_linear_args *a = args;
  if (a->rows > 1 || mg_block_of(a->w.dtype).length > 1) {
    for (int64_t r = begin; r < end; r += R) rows_of_w(a, r, end - r < R ? end - r : R);
    return;
  }
  for (int64_t r = begin; r < end; r++) {
    switch (a->w.dtype) {
    case MG_BF16:
      row_of_w(load_bf16, 2, a, r);
      break;
    case MG_F16:
      row_of_w(load_f16, 2, a, r);
      break;
    default:
      row_of_w(load_f32, 4, a, r);
    }
  }
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
    transpose_f32(x + j0, a->x_stride, rows, j1 - j0, out + j0 * NR, NR);
    if (rows == NR) continue;
    for (int64_t j = j0; j < j1; j++) memset(out + j * NR + rows, 0, (size_t)(NR - rows) * sizeof *out);
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
    for (int64_t b = 0; b < blocks; b++) {
      int64_t rows = a->rows - b * NR < NR ? a->rows - b * NR : NR;
      float *y = a->y + b * NR * a->y_stride + r0;
      transpose_f32(results + b * MG_LINEAR_GROUP * NR, NR, m, rows, y, a->y_stride);
      for (int64_t i = 0; i < rows && a->bias; i++) {
        for (int64_t r = 0; r < m; r++) y[i * a->y_stride + r] += a->bias[r0 + r];
      }
    }
  }
}
