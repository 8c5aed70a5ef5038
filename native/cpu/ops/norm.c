#include "check.h"

static int32_t norm(mg_context *ctx, mg_body *kernel, const mg_tensor *x, const mg_tensor *w, const mg_tensor *b, float eps,
                    mg_tensor *y) {
  MG_TRY(mg_check(ctx, "x", x, MG_IS_F32));
  MG_TRY(mg_check_optional(ctx, "w", w, MG_IS_F32, 1, x->cols));
  MG_TRY(mg_check_optional(ctx, "b", b, MG_IS_F32, 1, x->cols));
  MG_TRY(mg_check_shape(ctx, "y", y, MG_IS_F32, x->rows, x->cols));
  MG_TRY(mg_check_in_place(ctx, "y", x, y));
  MG_REQUIRE(ctx, eps >= 0, "eps is %g; it must not be negative", (double)eps);
  if (mg_empty(x)) return MG_OK;
  mg_norm_args args = {.x = x->data,
                       .w = w ? w->data : NULL,
                       .b = b ? b->data : NULL,
                       .y = y->data,
                       .x_stride = x->stride,
                       .y_stride = y->stride,
                       .cols = x->cols,
                       .eps = eps};
  return mg_run(ctx, kernel, &args, x->rows, mg_row_grain(x->cols), 0);
}

int32_t mg_rms_norm(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, float eps, mg_tensor *y) {
  MG_REQUIRE(ctx, ctx, "ctx is NULL");
  return norm(ctx, ctx->kernels->rms_norm, x, w, NULL, eps, y);
}

int32_t mg_layer_norm(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, const mg_tensor *b, float eps, mg_tensor *y) {
  MG_REQUIRE(ctx, ctx, "ctx is NULL");
  return norm(ctx, ctx->kernels->layer_norm, x, w, b, eps, y);
}

static int32_t norm_backward(mg_context *ctx, mg_body *kernel, const mg_tensor *x, const mg_tensor *w, float eps,
                             const mg_tensor *dy, mg_tensor *dx) {
  MG_TRY(mg_check(ctx, "x", x, MG_IS_F32));
  MG_TRY(mg_check_optional(ctx, "w", w, MG_IS_F32, 1, x->cols));
  MG_TRY(mg_check_shape(ctx, "dy", dy, MG_IS_F32, x->rows, x->cols));
  MG_TRY(mg_check_shape(ctx, "dx", dx, MG_IS_F32, x->rows, x->cols));
  MG_TRY(mg_check_in_place(ctx, "dx", dy, dx));
  MG_REQUIRE(ctx, eps >= 0, "eps is %g; it must not be negative", (double)eps);
  if (mg_empty(x)) return MG_OK;
  mg_norm_backward_args args = {.x = x->data,
                                .w = w ? w->data : NULL,
                                .dy = dy->data,
                                .dx = dx->data,
                                .x_stride = x->stride,
                                .dy_stride = dy->stride,
                                .dx_stride = dx->stride,
                                .cols = x->cols,
                                .eps = eps};
  return mg_run(ctx, kernel, &args, x->rows, mg_row_grain(x->cols), 0);
}

int32_t mg_rms_norm_backward(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, float eps, const mg_tensor *dy,
                             mg_tensor *dx) {
  MG_REQUIRE(ctx, ctx, "ctx is NULL");
  return norm_backward(ctx, ctx->kernels->rms_norm_backward, x, w, eps, dy, dx);
}

int32_t mg_layer_norm_backward(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, float eps, const mg_tensor *dy,
                               mg_tensor *dx) {
  MG_REQUIRE(ctx, ctx, "ctx is NULL");
  return norm_backward(ctx, ctx->kernels->layer_norm_backward, x, w, eps, dy, dx);
}
