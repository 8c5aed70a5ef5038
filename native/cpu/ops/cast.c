#include "check.h"

/* What mg_cast writes: plain types, and two of the block formats. */
static unsigned cast_targets(const mg_tensor *dst) {
  return dst && (dst->dtype == MG_Q4_0 || dst->dtype == MG_Q8_0) ? MG_IS_QUANTISED : MG_IS_PLAIN;
}

int32_t mg_cast(mg_context *ctx, const mg_tensor *src, mg_tensor *dst) {
  MG_TRY(mg_check(ctx, "src", src, MG_IS_VALUE));
  MG_TRY(mg_check_shape(ctx, "dst", dst, cast_targets(dst), src->rows, src->cols));
  if (mg_empty(src)) return MG_OK;
  mg_cast_args args = {
      .x = mg_rows_of(src), .y = dst->data, .y_bytes = mg_rows_of(dst).bytes, .cols = src->cols, .y_dtype = dst->dtype};
  return mg_run(ctx, ctx->kernels->cast, &args, src->rows, mg_row_grain(src->cols), 0);
}

int32_t mg_embed(mg_context *ctx, const mg_tensor *table, const mg_tensor *ids, mg_tensor *out) {
  MG_TRY(mg_check(ctx, "table", table, MG_IS_VALUE));
  MG_TRY(mg_check(ctx, "ids", ids, MG_IS_I32));
  MG_TRY(mg_check_shape(ctx, "out", out, MG_IS_F32, ids->cols, table->cols));
  MG_TRY(mg_check_indices(ctx, "ids", ids, ids->cols, table->rows));
  if (mg_empty(out)) return MG_OK;
  mg_cast_args args = {.x = mg_rows_of(table),
                       .ids = ids->data,
                       .y = out->data,
                       .y_bytes = out->stride * 4,
                       .cols = table->cols,
                       .y_dtype = MG_F32};
  return mg_run(ctx, ctx->kernels->cast, &args, out->rows, mg_row_grain(out->cols), 0);
}

int32_t mg_count_nonfinite(mg_context *ctx, const mg_tensor *x, int64_t *bad) {
  MG_TRY(mg_check(ctx, "x", x, MG_IS_VALUE));
  MG_REQUIRE(ctx, bad, "bad is NULL");
  *bad = 0;
  if (mg_empty(x)) return MG_OK;
  int64_t grain = mg_row_grain(x->cols), chunks = (x->rows + grain - 1) / grain;
  int64_t *counts = mg_space_get(ctx, MG_SPACE_PARTIALS, chunks * (int64_t)sizeof *counts);
  if (!counts) return mg_fail(ctx, MG_ENOMEM, "no memory for %lld counts", (long long)chunks);
  mg_nonfinite_args args = {.x = mg_rows_of(x), .cols = x->cols, .grain = grain, .counts = counts};
  MG_TRY(mg_run(ctx, ctx->kernels->nonfinite, &args, x->rows, grain, 0));
  for (int64_t i = 0; i < chunks; i++) *bad += counts[i];
  return MG_OK;
}
