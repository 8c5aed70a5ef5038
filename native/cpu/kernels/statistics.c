#include "simd.h"

void ISA(energy)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const mg_energy_args *a = args;
  int64_t blocks = (a->cols + MG_ENERGY_COLS - 1) / MG_ENERGY_COLS;
  for (int64_t task = begin; task < end; task++) {
    int64_t slab = task / blocks, j0 = task % blocks * MG_ENERGY_COLS, i0 = slab * MG_ENERGY_ROWS;
    int64_t n = a->cols - j0 < MG_ENERGY_COLS ? a->cols - j0 : MG_ENERGY_COLS;
    int64_t rows = a->rows - i0 < MG_ENERGY_ROWS ? a->rows - i0 : MG_ENERGY_ROWS;
    double sum[MG_ENERGY_COLS] = {0};
    for (int64_t i = 0; i < rows; i++) {
      int64_t at = (i0 + i) * a->stride + j0;
      if (a->wide) {
        const double *x = (const double *)a->x + at;
        for (int64_t j = 0; j < n; j++) sum[j] += x[j] * x[j];
      } else {
        const float *x = (const float *)a->x + at;
        for (int64_t j = 0; j < n; j++) sum[j] += (double)x[j] * (double)x[j];
      }
    }
    memcpy(a->out + slab * a->cols + j0, sum, (size_t)n * sizeof *sum);
  }
}

/* Sums over the row in float64, in eight interleaved chains of fixed order. */
void ISA(influence)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  enum { LANES = 16 };
  const mg_influence_args *a = args;
  for (int64_t r = begin; r < end; r++) {
    const float *x = a->x + r * a->x_stride, *y = a->y + r * a->y_stride;
    double xx[LANES] = {0}, xy[LANES] = {0}, yy[LANES] = {0}, dd[LANES] = {0};
    for (int64_t i = 0; i < a->cols; i += LANES) {
      int64_t n = a->cols - i < LANES ? a->cols - i : LANES;
      double u[LANES] = {0}, v[LANES] = {0};
      for (int64_t j = 0; j < n; j++) u[j] = (double)x[i + j], v[j] = (double)y[i + j];
      for (int j = 0; j < LANES; j++) {
        double d = v[j] - u[j];
        xx[j] += u[j] * u[j];
        xy[j] += u[j] * v[j];
        yy[j] += v[j] * v[j];
        dd[j] += d * d;
      }
    }
    for (int half = LANES / 2; half > 0; half /= 2) {
      for (int j = 0; j < half; j++) {
        xx[j] += xx[j + half];
        xy[j] += xy[j + half];
        yy[j] += yy[j + half];
        dd[j] += dd[j + half];
      }
    }
    a->out[2 * r] = xy[0] / (sqrt(xx[0]) * sqrt(yy[0]));
    a->out[2 * r + 1] = dd[0] / xx[0];
  }
}
