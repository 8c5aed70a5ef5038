#include "check.h"

#include <string.h>

int32_t mg_transpose(mg_context *ctx, const mg_tensor *src, mg_tensor *dst) {
  MG_TRY(mg_check(ctx, "src", src, MG_IS_REAL));
  MG_TRY(mg_check_shape(ctx, "dst", dst, 1u << src->dtype, src->cols, src->rows));
  MG_REQUIRE(ctx, src->data != dst->data || mg_empty(src), "src and dst are the same memory");
  if (mg_empty(src)) return MG_OK;
  mg_transpose_args args = {.x = src->data,
                            .y = dst->data,
                            .x_stride = src->stride,
                            .y_stride = dst->stride,
                            .rows = src->rows,
                            .cols = src->cols,
                            .wide = src->dtype == MG_F64};
  int64_t grain = (mg_row_grain(src->cols) + 31) / 32 * 32;
  return mg_run(ctx, ctx->kernels->transpose, &args, src->rows, grain, 0);
}

int32_t mg_add(mg_context *ctx, float alpha, const mg_tensor *x, mg_tensor *y) {
  MG_TRY(mg_check(ctx, "y", y, MG_IS_REAL));
  MG_TRY(mg_check(ctx, "x", x, 1u << y->dtype));
  MG_REQUIRE(ctx, x->cols == y->cols && (x->rows == y->rows || x->rows == 1),
             "x is [%lld, %lld]; it must have the shape of y, [%lld, %lld], or one such row", (long long)x->rows,
             (long long)x->cols, (long long)y->rows, (long long)y->cols);
  MG_TRY(mg_check_in_place(ctx, "y", x, y));
  if (mg_empty(y)) return MG_OK;
  mg_axpy_args args = {.x = x->data,
                       .y = y->data,
                       .x_stride = x->rows == y->rows ? x->stride : 0,
                       .y_stride = y->stride,
                       .cols = y->cols,
                       .alpha = alpha,
                       .wide = y->dtype == MG_F64};
  return mg_run(ctx, ctx->kernels->add, &args, y->rows, mg_row_grain(y->cols), 0);
}

int32_t mg_scale(mg_context *ctx, float alpha, float softcap, mg_tensor *x) {
  MG_TRY(mg_check(ctx, "x", x, MG_IS_REAL));
  if (mg_empty(x)) return MG_OK;
  mg_axpy_args args = {
      .y = x->data, .y_stride = x->stride, .cols = x->cols, .alpha = alpha, .softcap = softcap, .wide = x->dtype == MG_F64};
  return mg_run(ctx, ctx->kernels->scale, &args, x->rows, mg_row_grain(x->cols), 0);
}

int32_t mg_gather_columns(mg_context *ctx, const mg_tensor *x, const mg_tensor *index, mg_tensor *y) {
  MG_TRY(mg_check(ctx, "x", x, MG_IS_REAL));
  MG_TRY(mg_check(ctx, "index", index, MG_IS_I32));
  MG_TRY(mg_check_shape(ctx, "y", y, 1u << x->dtype, x->rows, index->cols));
  MG_TRY(mg_check_indices(ctx, "index", index, index->cols, x->cols));
  MG_REQUIRE(ctx, x->data != y->data || mg_empty(y), "x and y are the same memory");
  if (mg_empty(y)) return MG_OK;
  mg_gather_args args = {.x = x->data,
                         .y = y->data,
                         .index = index->data,
                         .x_stride = x->stride,
                         .y_stride = y->stride,
                         .cols = y->cols,
                         .wide = x->dtype == MG_F64};
  return mg_run(ctx, ctx->kernels->gather, &args, y->rows, mg_row_grain(y->cols), 0);
}

typedef struct {
  mg_rows x;
  const int32_t *from, *to; /* rows of x and of y, NULL for 0, 1, 2, ... */
  char *y;
  int64_t y_bytes, row_bytes;
} copy_rows_args;

/* Bound by memory, so the baseline instructions serve every CPU. */
static void copy_rows(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const copy_rows_args *a = args;
  for (int64_t i = begin; i < end; i++) {
    int64_t from = a->from ? a->from[i] : i, to = a->to ? a->to[i] : i;
    memcpy(a->y + to * a->y_bytes, a->x.data + from * a->x.bytes, (size_t)a->row_bytes);
  }
}

static copy_rows_args copying(const mg_tensor *x, const int32_t *from, const int32_t *to, mg_tensor *y) {
  mg_block block = mg_block_of(x->dtype);
  return (copy_rows_args){.x = mg_rows_of(x),
                          .from = from,
                          .to = to,
                          .y = y->data,
                          .y_bytes = mg_rows_of(y).bytes,
                          .row_bytes = x->cols / block.length * block.bytes};
}

int32_t mg_gather_rows(mg_context *ctx, const mg_tensor *x, const mg_tensor *index, mg_tensor *y) {
  MG_TRY(mg_check(ctx, "x", x, MG_IS_VALUE | MG_IS_I32));
  MG_TRY(mg_check(ctx, "index", index, MG_IS_I32));
  MG_TRY(mg_check_shape(ctx, "y", y, 1u << x->dtype, index->cols, x->cols));
  MG_TRY(mg_check_indices(ctx, "index", index, index->cols, x->rows));
  MG_REQUIRE(ctx, x->data != y->data || mg_empty(y), "x and y are the same memory");
  if (mg_empty(y)) return MG_OK;
  copy_rows_args args = copying(x, index->data, NULL, y);
  return mg_run(ctx, copy_rows, &args, y->rows, mg_row_grain(y->cols), 0);
}

int32_t mg_scatter_rows(mg_context *ctx, const mg_tensor *x, const mg_tensor *index, mg_tensor *y) {
  MG_TRY(mg_check(ctx, "x", x, MG_IS_VALUE | MG_IS_I32));
  MG_TRY(mg_check(ctx, "index", index, MG_IS_I32));
  MG_TRY(mg_check_shape(ctx, "y", y, 1u << x->dtype, y ? y->rows : 0, x->cols));
  MG_TRY(mg_check_indices(ctx, "index", index, x->rows, y->rows));
  MG_REQUIRE(ctx, x->data != y->data || mg_empty(x), "x and y are the same memory");
  if (mg_empty(x)) return MG_OK;
  copy_rows_args args = copying(x, NULL, index->data, y);
  return mg_run(ctx, copy_rows, &args, x->rows, mg_row_grain(x->cols), 0);
}

typedef struct {
  char *x;
  int64_t stride, n;
  bool wide, mirror;
} triangle_args;

static void above_diagonal(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const triangle_args *a = args;
  for (int64_t i = begin; i < end; i++) {
    for (int64_t j = i + 1; j < a->n; j++) {
      int64_t to = i * a->stride + j, from = j * a->stride + i;
      if (a->wide) {
        ((double *)a->x)[to] = a->mirror ? ((double *)a->x)[from] : 0;
      } else {
        ((float *)a->x)[to] = a->mirror ? ((float *)a->x)[from] : 0;
      }
    }
  }
}

int32_t mg_triangle(mg_context *ctx, mg_tensor *x, int32_t mirror) {
  MG_TRY(mg_check(ctx, "x", x, MG_IS_REAL));
  MG_TRY(mg_check_shape(ctx, "x", x, 1u << x->dtype, x->rows, x->rows));
  if (mg_empty(x)) return MG_OK;
  triangle_args args = {.x = x->data, .stride = x->stride, .n = x->rows, .wide = x->dtype == MG_F64, .mirror = mirror != 0};
  return mg_run(ctx, above_diagonal, &args, x->rows, mg_row_grain(x->cols), 0);
}
