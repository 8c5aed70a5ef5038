#include "check.h"

static int32_t activation(mg_context *ctx, const char *name, const mg_tensor *x, const mg_tensor *up, int32_t act, mg_tensor *y) {
  MG_TRY(mg_check(ctx, name, x, MG_IS_F32));
  if (up) MG_TRY(mg_check_shape(ctx, "up", up, MG_IS_F32, x->rows, x->cols));
  MG_TRY(mg_check_shape(ctx, "y", y, MG_IS_F32, x->rows, x->cols));
  MG_TRY(mg_check_in_place(ctx, "y", x, y));
  if (up) MG_TRY(mg_check_in_place(ctx, "y", up, y));
  MG_REQUIRE(ctx, act >= MG_SILU && act <= MG_IDENTITY, "act is %d, no known activation", act);
  if (mg_empty(x)) return MG_OK;
  mg_act_args args = {.x = x->data,
                      .up = up ? up->data : NULL,
                      .y = y->data,
                      .x_stride = x->stride,
                      .up_stride = up ? up->stride : 0,
                      .y_stride = y->stride,
                      .cols = x->cols,
                      .act = act};
  return mg_run(ctx, ctx->kernels->activation, &args, x->rows, mg_row_grain(x->cols), 0);
}

int32_t mg_gated_activation(mg_context *ctx, const mg_tensor *gate, const mg_tensor *up, int32_t act, mg_tensor *y) {
  MG_REQUIRE(ctx, up, "up is NULL");
  return activation(ctx, "gate", gate, up, act, y);
}

int32_t mg_activation(mg_context *ctx, mg_tensor *x, int32_t act) { return activation(ctx, "x", x, NULL, act, x); }

int32_t mg_activation_backward(mg_context *ctx, const mg_tensor *gate, const mg_tensor *up, int32_t act, const mg_tensor *dy,
                               mg_tensor *dgate, mg_tensor *dup) {
  MG_TRY(mg_check(ctx, "gate", gate, MG_IS_F32));
  MG_REQUIRE(ctx, !up == !dup, "only one of up and dup is NULL");
  MG_TRY(mg_check_optional(ctx, "up", up, MG_IS_F32, gate->rows, gate->cols));
  MG_TRY(mg_check_shape(ctx, "dy", dy, MG_IS_F32, gate->rows, gate->cols));
  MG_TRY(mg_check_shape(ctx, "dgate", dgate, MG_IS_F32, gate->rows, gate->cols));
  MG_TRY(mg_check_optional(ctx, "dup", dup, MG_IS_F32, gate->rows, gate->cols));
  MG_TRY(mg_check_in_place(ctx, "dgate", gate, dgate));
  if (up) MG_TRY(mg_check_in_place(ctx, "dup", up, dup));
  MG_REQUIRE(ctx, act >= MG_SILU && act <= MG_IDENTITY, "act is %d, no known activation", act);
  if (mg_empty(gate)) return MG_OK;
  mg_act_backward_args args = {.gate = gate->data,
                               .up = up ? up->data : NULL,
                               .dy = dy->data,
                               .dgate = dgate->data,
                               .dup = dup ? dup->data : NULL,
                               .gate_stride = gate->stride,
                               .up_stride = up ? up->stride : 0,
                               .dy_stride = dy->stride,
                               .dgate_stride = dgate->stride,
                               .dup_stride = dup ? dup->stride : 0,
                               .cols = gate->cols,
                               .act = act};
  return mg_run(ctx, ctx->kernels->activation_backward, &args, gate->rows, mg_row_grain(gate->cols), 0);
}
