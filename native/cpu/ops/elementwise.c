#include "check.h"

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
