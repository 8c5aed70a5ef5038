#include "check.h"

int32_t mg_nll(mg_context *ctx, const mg_tensor *logits, const mg_tensor *targets, mg_tensor *nll, mg_tensor *argmax) {
  MG_TRY(mg_check(ctx, "logits", logits, MG_IS_F32));
  MG_TRY(mg_check_shape(ctx, "targets", targets, MG_IS_I32, 1, logits->rows));
  MG_TRY(mg_check_shape(ctx, "nll", nll, MG_IS_F64, 1, logits->rows));
  MG_TRY(mg_check_optional(ctx, "argmax", argmax, MG_IS_I32, 1, logits->rows));
  MG_REQUIRE(ctx, logits->cols <= INT32_MAX, "logits has %lld columns; ids are 32-bit", (long long)logits->cols);
  if (mg_empty(logits)) return MG_OK;
  const int32_t *ids = targets->data;
  for (int64_t i = 0; i < logits->rows; i++) {
    MG_REQUIRE(ctx, ids[i] < logits->cols, "targets[%lld] is %d; the vocabulary has %lld", (long long)i, ids[i],
               (long long)logits->cols);
  }
  mg_loss_args args = {.x = logits->data,
                       .targets = ids,
                       .out = nll->data,
                       .argmax = argmax ? argmax->data : NULL,
                       .x_stride = logits->stride,
                       .cols = logits->cols};
  return mg_run(ctx, ctx->kernels->nll, &args, logits->rows, mg_row_grain(logits->cols), 0);
}

int32_t mg_kl_divergence(mg_context *ctx, const mg_tensor *p, const mg_tensor *q, mg_tensor *kl) {
  MG_TRY(mg_check(ctx, "p", p, MG_IS_F32));
  MG_TRY(mg_check_shape(ctx, "q", q, MG_IS_F32, p->rows, p->cols));
  MG_TRY(mg_check_shape(ctx, "kl", kl, MG_IS_F64, 1, p->rows));
  if (mg_empty(p)) return MG_OK;
  mg_loss_args args = {
      .x = p->data, .y = q->data, .out = kl->data, .x_stride = p->stride, .y_stride = q->stride, .cols = p->cols};
  return mg_run(ctx, ctx->kernels->kl, &args, p->rows, mg_row_grain(p->cols), 0);
}

int32_t mg_sampled_gradient(mg_context *ctx, mg_tensor *logits, float softcap, const mg_tensor *uniforms, mg_tensor *ids) {
  MG_TRY(mg_check(ctx, "logits", logits, MG_IS_F32));
  MG_TRY(mg_check_shape(ctx, "uniforms", uniforms, MG_IS_F32, 1, logits->rows));
  MG_TRY(mg_check_shape(ctx, "ids", ids, MG_IS_I32, 1, logits->rows));
  MG_REQUIRE(ctx, softcap >= 0, "softcap is %g; it must not be negative", (double)softcap);
  MG_REQUIRE(ctx, logits->cols <= INT32_MAX, "logits has %lld columns; ids are 32-bit", (long long)logits->cols);
  if (mg_empty(logits)) return MG_OK;
  mg_sample_args args = {.x = logits->data,
                         .uniforms = uniforms->data,
                         .ids = ids->data,
                         .stride = logits->stride,
                         .cols = logits->cols,
                         .softcap = softcap};
  return mg_run(ctx, ctx->kernels->sampled_gradient, &args, logits->rows, mg_row_grain(logits->cols), 0);
}
