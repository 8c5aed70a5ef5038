#include "tile.h"

INLINE void body(const int mr, const int nv, const int64_t row_step, const int64_t k_step, int64_t k, const float *a,
                 const float *b, float *out, const float *beta) {
  vf acc[MR][NV];
#pragma GCC unroll 8
  for (int i = 0; i < mr; i++) {
#pragma GCC unroll 3
    for (int j = 0; j < nv; j++) {
      acc[i][j] = v_zero();
      if (beta) acc[i][j] = v_load(out + i * NR + j * W) * v_load(beta + j * W);
    }
  }
  for (int64_t p = 0; p < k; p++) {
    vf row[NV];
#pragma GCC unroll 3
    for (int j = 0; j < nv; j++) row[j] = v_load(b + j * W);
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
      vf x = v_set(a[i * row_step]);
#pragma GCC unroll 3
      for (int j = 0; j < nv; j++) acc[i][j] = v_fma(x, row[j], acc[i][j]);
    }
    a += k_step;
    b += NR;
  }
#pragma GCC unroll 8
  for (int i = 0; i < mr; i++) {
#pragma GCC unroll 3
    for (int j = 0; j < nv; j++) v_store(out + i * NR + j * W, acc[i][j]);
  }
}

#define TILE(mr, nv)                                                                                                             \
  static void rows_##mr##_##nv(int64_t k, const float *a, int64_t lda, const float *b, float *out, const float *beta) {          \
    body(mr, nv, lda, 1, k, a, b, out, beta);                                                                                    \
  }                                                                                                                              \
  static void columns_##mr##_##nv(int64_t k, const float *a, int64_t lda, const float *b, float *out, const float *beta) {       \
    body(mr, nv, 1, lda, k, a, b, out, beta);                                                                                    \
  }
#define TILES(mr) TILE(mr, 1) TILE(mr, 2) TILE(mr, 3)

TILES(1)
TILES(2)
TILES(4)
#if defined(__AVX512F__)
TILES(8)
#define EIGHT(layout)                                                                                                            \
  { layout##_8_1, layout##_8_2, layout##_8_3 }
#else
#define EIGHT(layout)                                                                                                            \
  { NULL, NULL, NULL }
#endif

#define LAYOUT(layout)                                                                                                           \
  {                                                                                                                              \
    {layout##_1_1, layout##_1_2, layout##_1_3}, {layout##_2_1, layout##_2_2, layout##_2_3},                                      \
        {layout##_4_1, layout##_4_2, layout##_4_3}, EIGHT(layout)                                                                \
  }

mg_tile *const ISA(tiles)[2][4][NV] = {LAYOUT(rows), LAYOUT(columns)};
