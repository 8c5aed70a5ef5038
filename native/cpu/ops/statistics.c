#include "check.h"

typedef struct {
  const float *x;
  double *c;
  int64_t x_stride, c_stride, cols;
  bool lower;
} accumulate_args;

/* Bound by memory, so the baseline instructions serve every CPU. */
static void accumulate_rows(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const accumulate_args *a = args;
  for (int64_t i = begin; i < end; i++) {
    int64_t count = a->lower ? i + 1 : a->cols;
    for (int64_t j = 0; j < count; j++) a->c[i * a->c_stride + j] += (double)a->x[i * a->x_stride + j];
  }
}

int32_t mg_accumulate(mg_context *ctx, const mg_tensor *x, int32_t lower, mg_tensor *c) {
  MG_TRY(mg_check(ctx, "x", x, MG_IS_F32));
  MG_TRY(mg_check_shape(ctx, "c", c, MG_IS_F64, x->rows, x->cols));
  MG_REQUIRE(ctx, !lower || x->rows == x->cols, "x is [%lld, %lld]; it must be square to have a lower triangle",
             (long long)x->rows, (long long)x->cols);
  accumulate_args args = {
      .x = x->data, .c = c->data, .x_stride = x->stride, .c_stride = c->stride, .cols = c->cols, .lower = lower != 0};
  if (mg_empty(x)) return MG_OK;
  return mg_run(ctx, accumulate_rows, &args, x->rows, mg_row_grain(x->cols), 0);
}

int32_t mg_column_energy(mg_context *ctx, const mg_tensor *x, mg_tensor *e) {
  MG_TRY(mg_check(ctx, "x", x, MG_IS_REAL));
  MG_TRY(mg_check_shape(ctx, "e", e, MG_IS_F64, 1, x->cols));
  if (mg_empty(x)) return MG_OK;
  int64_t slabs = (x->rows + MG_ENERGY_ROWS - 1) / MG_ENERGY_ROWS, blocks = (x->cols + MG_ENERGY_COLS - 1) / MG_ENERGY_COLS;
  double *sums = mg_space_get(ctx, MG_SPACE_PARTIALS, slabs * x->cols * (int64_t)sizeof *sums);
  if (!sums) return mg_fail(ctx, MG_ENOMEM, "no memory for %lld partial sums", (long long)(slabs * x->cols));
  mg_energy_args args = {.x = x->data, .stride = x->stride, .rows = x->rows, .cols = x->cols, .out = sums,
                         .wide = x->dtype == MG_F64};
  MG_TRY(mg_run(ctx, ctx->kernels->energy, &args, slabs * blocks, 1, 0));
  double *energy = e->data;
  for (int64_t s = 0; s < slabs; s++) {
    for (int64_t j = 0; j < x->cols; j++) energy[j] += sums[s * x->cols + j];
  }
  return MG_OK;
}

int32_t mg_logit_covariance(mg_context *ctx, const mg_tensor *q, const mg_tensor *k, const mg_tensor *queries, int32_t heads,
                            int32_t kv_heads, float scale, mg_tensor *c) {
  MG_TRY(mg_check(ctx, "q", q, MG_IS_F32));
  MG_TRY(mg_check(ctx, "k", k, MG_IS_F32));
  MG_REQUIRE(ctx, heads > 0 && kv_heads > 0 && heads % kv_heads == 0 && q->cols % heads == 0 && q->cols / heads % 2 == 0,
             "%lld columns of q are not %d heads of whole pairs that share %d key heads", (long long)q->cols, heads, kv_heads);
  int64_t h = q->cols / heads;
  MG_TRY(mg_check_shape(ctx, "k", k, MG_IS_F32, q->rows, h * kv_heads));
  MG_TRY(mg_check_shape(ctx, "c", c, MG_IS_F64, q->cols, h));
  MG_TRY(mg_check(ctx, "queries", queries, MG_IS_I32));
  MG_TRY(mg_check_indices(ctx, "queries", queries, queries->cols, q->rows));
  if (mg_empty(q) || mg_empty(queries)) return MG_OK;
  int64_t tasks = heads * MG_LOGIT_SHARES;
  double *partial = mg_space_get(ctx, MG_SPACE_PARTIALS, tasks * h * h * (int64_t)sizeof *partial);
  if (!partial) return mg_fail(ctx, MG_ENOMEM, "no memory for %lld partial covariances", (long long)tasks);
  mg_logit_args args = {.q = q->data, .k = k->data, .queries = queries->data, .partial = partial, .q_stride = q->stride,
                        .k_stride = k->stride, .count = queries->cols, .h = h, .tokens = q->rows,
                        .group = heads / kv_heads, .scale = scale};
  /* as the kernel cuts it: h² float64, then tokens + h² + 2 h + 8 h float32 */
  int64_t scratch = h * h * (int64_t)sizeof(double) + (q->rows + h * h + 10 * h) * (int64_t)sizeof(float);
  MG_TRY(mg_run(ctx, ctx->kernels->logit_covariance, &args, tasks, 1, scratch));
  double *sum = c->data;
  for (int64_t task = 0; task < tasks; task++) {
    for (int64_t i = 0; i < h; i++) {
      double *row = sum + (task / MG_LOGIT_SHARES * h + i) * c->stride;
      for (int64_t j = 0; j < h; j++) row[j] += partial[(task * h + i) * h + j];
    }
  }
  return MG_OK;
}

int32_t mg_block_influence(mg_context *ctx, const mg_tensor *x, const mg_tensor *y, mg_tensor *acc) {
  MG_TRY(mg_check(ctx, "x", x, MG_IS_F32));
  MG_TRY(mg_check_shape(ctx, "y", y, MG_IS_F32, x->rows, x->cols));
  MG_TRY(mg_check_shape(ctx, "acc", acc, MG_IS_F64, 1, 3));
  if (mg_empty(x)) return MG_OK;
  double *rows = mg_space_get(ctx, MG_SPACE_PARTIALS, 2 * x->rows * (int64_t)sizeof *rows), *sum = acc->data;
  if (!rows) return mg_fail(ctx, MG_ENOMEM, "no memory for %lld rows", (long long)x->rows);
  mg_influence_args args = {
      .x = x->data, .y = y->data, .x_stride = x->stride, .y_stride = y->stride, .cols = x->cols, .out = rows};
  MG_TRY(mg_run(ctx, ctx->kernels->influence, &args, x->rows, mg_row_grain(x->cols), 0));
  for (int64_t i = 0; i < x->rows; i++) {
    sum[0] += rows[2 * i];
    sum[1] += rows[2 * i + 1];
  }
  sum[2] += (double)x->rows;
  return MG_OK;
}
