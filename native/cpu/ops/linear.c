#include "check.h"

static int32_t linear(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, const mg_tensor *bias, mg_tensor *y) {
  MG_TRY(mg_check(ctx, "x", x, MG_IS_F32));
  MG_TRY(mg_check(ctx, "w", w, MG_IS_WEIGHT));
  MG_REQUIRE(ctx, w->cols == x->cols, "w has %lld columns, x has %lld", (long long)w->cols, (long long)x->cols);
  MG_TRY(mg_check_optional(ctx, "bias", bias, MG_IS_F32, 1, w->rows));
  MG_TRY(mg_check_shape(ctx, "y", y, MG_IS_F32, x->rows, w->rows));
  if (mg_empty(x) || mg_empty(w)) return MG_OK;
  mg_linear_args args = {.x = x->data,
                         .bias = bias ? bias->data : NULL,
                         .w = mg_rows_of(w),
                         .y = y->data,
                         .x_stride = x->stride,
                         .y_stride = y->stride,
                         .rows = x->rows,
                         .cols = x->cols,
                         .outputs = w->rows};
  if (x->rows <= MG_LINEAR_ROWS) {
    return mg_run(ctx, ctx->kernels->linear_rows, &args, w->rows, mg_row_grain(w->cols), 0);
  }
  const int64_t nr = ctx->kernels->nr, floats = (int64_t)sizeof(float);
  int64_t blocks = (x->rows + nr - 1) / nr, chunks = (x->cols + MG_LINEAR_DEPTH - 1) / MG_LINEAR_DEPTH;
  args.packed = mg_space_get(ctx, MG_SPACE_PACKED, blocks * nr * x->cols * floats);
  if (!args.packed) return mg_fail(ctx, MG_ENOMEM, "no memory to pack %lld rows", (long long)x->rows);
  MG_TRY(mg_run(ctx, ctx->kernels->linear_pack, &args, blocks * chunks, 1, 0));
  int64_t groups = (w->rows + MG_LINEAR_GROUP - 1) / MG_LINEAR_GROUP;
  int64_t scratch = (MG_LINEAR_GROUP * (MG_LINEAR_DEPTH + MG_LINEAR_PAD) + blocks * MG_LINEAR_GROUP * nr) * floats;
  return mg_run(ctx, ctx->kernels->linear_tiles, &args, groups, 1, scratch);
}

int32_t mg_linear(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, const mg_tensor *bias, mg_tensor *y, int32_t count) {
  MG_REQUIRE(ctx, count >= 1 && count <= MG_LINEAR_MOST && w && y, "%d matrices asked for at once", count);
  for (int32_t i = 0; i < count; i++) {
    MG_TRY(linear(ctx, x, w + i, bias && bias[i].data ? bias + i : NULL, y + i));
  }
  return MG_OK;
}
