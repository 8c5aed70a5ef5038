#include "vmath.h"

void ISA(add)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const mg_axpy_args *a = args;
  for (int64_t r = begin; r < end; r++) {
    if (a->wide) {
      const double *x = (const double *)a->x + r * a->x_stride, alpha = (double)a->alpha;
      double *y = (double *)a->y + r * a->y_stride;
      for (int64_t i = 0; i < a->cols; i++) y[i] += alpha * x[i];
    } else {
      const float *x = (const float *)a->x + r * a->x_stride, alpha = a->alpha;
      float *y = (float *)a->y + r * a->y_stride;
      for (int64_t i = 0; i < a->cols; i++) y[i] += alpha * x[i];
    }
  }
}

static void scale_f32(float *x, int64_t n, float alpha, float softcap) {
  if (softcap <= 0) {
    for (int64_t i = 0; i < n; i++) x[i] *= alpha;
    return;
  }
  vf scale = v_set(alpha), cap = v_set(softcap);
  for (int64_t i = 0; i < n; i += W) {
    int64_t k = n - i < W ? n - i : W;
    v_store_n(x + i, cap * v_tanh(v_load_n(x + i, k) * scale / cap), k);
  }
}

void ISA(scale)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const mg_axpy_args *a = args;
  for (int64_t r = begin; r < end; r++) {
    if (!a->wide) {
      scale_f32((float *)a->y + r * a->y_stride, a->cols, a->alpha, a->softcap);
      continue;
    }
    double *x = (double *)a->y + r * a->y_stride, alpha = (double)a->alpha, cap = (double)a->softcap;
    for (int64_t i = 0; i < a->cols; i++) x[i] *= alpha;
    if (cap > 0) {
      for (int64_t i = 0; i < a->cols; i++) x[i] = cap * tanh(x[i] / cap);
    }
  }
}

void ISA(gather)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const mg_gather_args *a = args;
  for (int64_t r = begin; r < end; r++) {
    if (a->wide) {
      const double *x = (const double *)a->x + r * a->x_stride;
      double *y = (double *)a->y + r * a->y_stride;
      for (int64_t j = 0; j < a->cols; j++) y[j] = x[a->index[j]];
    } else {
      const float *x = (const float *)a->x + r * a->x_stride;
      float *y = (float *)a->y + r * a->y_stride;
      for (int64_t j = 0; j < a->cols; j++) y[j] = x[a->index[j]];
    }
  }
}

/* Squares of SIDE rows and columns: whole cache lines are read and written. */
#define SQUARES(type, TRANSPOSE)                                                                                                 \
  do {                                                                                                                           \
    const type *x = (const type *)a->x;                                                                                          \
    type *y = (type *)a->y;                                                                                                      \
    for (int64_t i = begin; i < end; i += SIDE) {                                                                                \
      int64_t rows = end - i < SIDE ? end - i : SIDE;                                                                            \
      for (int64_t j = 0; j < a->cols; j += SIDE) {                                                                              \
        int64_t cols = a->cols - j < SIDE ? a->cols - j : SIDE;                                                                  \
        TRANSPOSE(x + i * a->x_stride + j, a->x_stride, rows, cols, y + j * a->y_stride + i, a->y_stride);                       \
      }                                                                                                                          \
    }                                                                                                                            \
  } while (0)

static void transpose_f64(const double *x, int64_t x_stride, int64_t rows, int64_t cols, double *y, int64_t y_stride) {
  for (int64_t j = 0; j < cols; j++) {
    for (int64_t i = 0; i < rows; i++) y[j * y_stride + i] = x[i * x_stride + j];
  }
}

void ISA(transpose)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  enum { SIDE = 16 };
  const mg_transpose_args *a = args;
  if (a->wide) {
    SQUARES(double, transpose_f64);
  } else {
    SQUARES(float, transpose_f32);
  }
}
