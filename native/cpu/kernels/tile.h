/*
 * The register-blocked product under the Gram, attention and linear kernels: out[m, n] = A[m, k] B[k, n] with up to MR rows and
 * up to NR columns. B is packed, NR floats per row. A is read in place by broadcasts: in rows (element (i, p) at a[i * lda + p])
 * or in columns (at a[p * lda + i]). Every element is one chain of fused multiply-adds in the order of k.
 */
#ifndef MG_TILE_H
#define MG_TILE_H

#include "simd.h"

/* 24 accumulators of 32 registers with AVX-512, 12 of 16 otherwise. */
enum { NV = 3, NR = NV * W, MR = W == 16 ? 8 : 4 };

typedef enum { A_IN_ROWS, A_IN_COLUMNS } mg_layout;

/* beta NULL: out = A B; else out[:, j] = beta[j] * out[:, j] + A B. `out` has NR floats per row. */
typedef void mg_tile(int64_t k, const float *a, int64_t lda, const float *b, float *out, const float *beta);

/* [layout][log2 of rows][vectors of columns - 1] */
extern mg_tile *const ISA(tiles)[2][4][NV];

/* Any number of rows. */
INLINE void tile_rows(mg_layout layout, int64_t rows, int vectors, int64_t k, const float *a, int64_t lda, const float *b,
                      float *out, const float *beta) {
  mg_tile *const(*tiles)[NV] = ISA(tiles)[layout];
  int64_t step = layout == A_IN_ROWS ? lda : 1;
  int log = MR == 8 ? 3 : 2;
  for (int64_t m = 0; m < rows;) {
    while (m + (1 << log) > rows) log--;
    tiles[log][vectors - 1](k, a + m * step, lda, b, out + m * NR, beta);
    m += 1 << log;
  }
}

/* Vectors that hold `columns` columns. */
INLINE int vectors_for(int64_t columns) { return columns >= NR ? NV : (int)((columns + W - 1) / W); }

#endif
