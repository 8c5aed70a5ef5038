#include "check.h"

static int32_t check_params(mg_context *ctx, const mg_attention_params *p, const mg_tensor *spans) {
  MG_REQUIRE(ctx, p, "params is NULL");
  MG_REQUIRE(ctx, p->batch >= 0 && p->queries >= 0 && p->keys >= 0, "batch, queries or keys is negative");
  MG_REQUIRE(ctx, p->keys >= p->queries && (spans || p->key_capacity >= p->keys),
             "%lld queries, %lld keys, capacity %lld: these must not decrease", (long long)p->queries, (long long)p->keys,
             (long long)p->key_capacity);
  MG_REQUIRE(ctx, p->kv_heads > 0 && p->heads > 0 && p->heads % p->kv_heads == 0,
             "%d heads are not a multiple of %d key/value heads", p->heads, p->kv_heads);
  MG_REQUIRE(ctx, p->window >= 0, "window is %d; it must not be negative", p->window);
  if (p->keys > 1 << 24) return mg_fail(ctx, MG_EUNSUPPORTED, "%lld keys; at most 2^24 are supported", (long long)p->keys);
  return MG_OK;
}

static int32_t check_spans(mg_context *ctx, const mg_attention_params *p, const mg_tensor *spans, int64_t rows) {
  MG_TRY(mg_check_shape(ctx, "spans", spans, MG_IS_I32, 2, p->batch));
  const int32_t *first = spans->data, *count = first + spans->stride;
  for (int64_t b = 0; b < p->batch; b++) {
    MG_REQUIRE(ctx, count[b] >= p->queries && count[b] <= p->keys, "spans[1, %lld] is %d; it must be %lld to %lld", (long long)b,
               count[b], (long long)p->queries, (long long)p->keys);
    MG_REQUIRE(ctx, first[b] >= 0 && first[b] <= rows - count[b],
               "spans[0, %lld] is %d; k has %lld rows for %d keys from there on", (long long)b, first[b], (long long)rows,
               count[b]);
  }
  return MG_OK;
}

/* x is [batch * rows, heads * size], or of any number of rows if these are negative; gives the size. */
static int32_t check_heads(mg_context *ctx, const char *name, const mg_tensor *x, int64_t batch, int64_t rows, int64_t heads,
                           int64_t *size) {
  MG_TRY(mg_check(ctx, name, x, MG_IS_F32));
  int64_t all;
  MG_REQUIRE(ctx, rows < 0 || (!__builtin_mul_overflow(batch, rows, &all) && x->rows == all),
             "%s has %lld rows; params say %lld * %lld", name, (long long)x->rows, (long long)batch, (long long)rows);
  MG_REQUIRE(ctx, x->cols % heads == 0, "%s has %lld columns, not a multiple of %lld heads", name, (long long)x->cols,
             (long long)heads);
  *size = x->cols / heads;
  return MG_OK;
}

/* Few columns: the keys are cut into splits, so that long contexts use all threads; the partial results are merged in order. */
static int32_t decode(mg_context *ctx, mg_attention_args *a) {
  const mg_attention_params *p = a->params;
  int64_t columns = p->queries * a->group, seen = p->keys;
  if (p->window > 0 && p->queries + p->window - 1 < p->keys) seen = p->queries + p->window - 1;
  a->splits = (seen + MG_DECODE_KEYS - 1) / MG_DECODE_KEYS;
  int64_t pairs = p->batch * p->kv_heads, tasks = pairs * a->splits, floats = (int64_t)sizeof(float);
  a->partial = mg_space_get(ctx, MG_SPACE_PARTIALS, tasks * columns * (a->dv + 2) * floats);
  if (!a->partial) return mg_fail(ctx, MG_ENOMEM, "no memory for %lld partial results", (long long)(tasks * columns));
  int64_t keys = seen < MG_DECODE_KEYS ? seen : MG_DECODE_KEYS;
  MG_TRY(mg_run(ctx, ctx->kernels->attention_rows, a, tasks, mg_row_grain(keys * (a->dk + a->dv)), columns * a->dk * floats));
  return mg_run(ctx, ctx->kernels->attention_merge, a, pairs, mg_row_grain(a->splits * columns * a->dv), 0);
}

int32_t mg_attention(mg_context *ctx, const mg_tensor *q, const mg_tensor *k, const mg_tensor *v,
                     const mg_attention_params *params, const mg_tensor *spans, mg_tensor *out) {
  MG_REQUIRE(ctx, ctx, "ctx is NULL");
  MG_TRY(check_params(ctx, params, spans));
  int64_t dk = 0, dv = 0, key_dk = 0, out_dv = 0, capacity = spans ? -1 : params->key_capacity;
  MG_TRY(check_heads(ctx, "q", q, params->batch, params->queries, params->heads, &dk));
  MG_TRY(check_heads(ctx, "k", k, params->batch, capacity, params->kv_heads, &key_dk));
  MG_TRY(check_heads(ctx, "v", v, params->batch, capacity, params->kv_heads, &dv));
  MG_TRY(check_heads(ctx, "out", out, params->batch, params->queries, params->heads, &out_dv));
  MG_REQUIRE(ctx, key_dk == dk, "a head of q has %lld columns, one of k %lld", (long long)dk, (long long)key_dk);
  MG_REQUIRE(ctx, out_dv == dv, "a head of v has %lld columns, one of out %lld", (long long)dv, (long long)out_dv);
  MG_REQUIRE(ctx, k->rows == v->rows, "k has %lld rows, v %lld", (long long)k->rows, (long long)v->rows);
  if (spans) MG_TRY(check_spans(ctx, params, spans, k->rows));
  if (mg_empty(out)) return MG_OK;
  mg_attention_args args = {.q = q->data,
                            .k = k->data,
                            .v = v->data,
                            .out = out->data,
                            .q_stride = q->stride,
                            .k_stride = k->stride,
                            .v_stride = v->stride,
                            .out_stride = out->stride,
                            .dk = dk,
                            .dv = dv,
                            .group = params->heads / params->kv_heads,
                            .params = params,
                            .first_rows = spans ? spans->data : NULL,
                            .counts = spans ? (const int32_t *)spans->data + spans->stride : NULL};
  int64_t columns = params->queries * args.group;
  if (columns <= MG_DECODE_COLUMNS) return decode(ctx, &args);
  args.tiles = (columns + ctx->kernels->nr - 1) / ctx->kernels->nr;
  int64_t tasks = params->batch * params->kv_heads * args.tiles;
  return mg_run(ctx, ctx->kernels->attention_tiles, &args, tasks, 1, ctx->kernels->attention_scratch(&args));
}

int32_t mg_attention_backward(mg_context *ctx, const mg_tensor *q, const mg_tensor *k, const mg_tensor *v,
                              const mg_attention_params *params, const mg_tensor *dout, mg_tensor *dq, mg_tensor *dk,
                              mg_tensor *dv) {
  MG_REQUIRE(ctx, ctx, "ctx is NULL");
  MG_TRY(check_params(ctx, params, NULL));
  int64_t tokens = params->queries, size = 0, width = 0, key_size = 0, out_width = 0;
  MG_REQUIRE(ctx, params->keys == tokens && params->key_capacity == tokens,
             "%lld queries, %lld keys, capacity %lld: these must be equal", (long long)tokens, (long long)params->keys,
             (long long)params->key_capacity);
  MG_TRY(check_heads(ctx, "q", q, params->batch, tokens, params->heads, &size));
  MG_TRY(check_heads(ctx, "k", k, params->batch, tokens, params->kv_heads, &key_size));
  MG_TRY(check_heads(ctx, "v", v, params->batch, tokens, params->kv_heads, &width));
  MG_TRY(check_heads(ctx, "dout", dout, params->batch, tokens, params->heads, &out_width));
  MG_REQUIRE(ctx, key_size == size, "a head of q has %lld columns, one of k %lld", (long long)size, (long long)key_size);
  MG_REQUIRE(ctx, out_width == width, "a head of v has %lld columns, one of dout %lld", (long long)width, (long long)out_width);
  MG_TRY(mg_check_shape(ctx, "dq", dq, MG_IS_F32, q->rows, q->cols));
  MG_TRY(mg_check_shape(ctx, "dk", dk, MG_IS_F32, k->rows, k->cols));
  MG_TRY(mg_check_shape(ctx, "dv", dv, MG_IS_F32, v->rows, v->cols));
  if (q->rows == 0) return MG_OK;
  mg_attention_backward_args args = {.q = q->data,
                                     .k = k->data,
                                     .v = v->data,
                                     .dout = dout->data,
                                     .dq = dq->data,
                                     .dk_out = dk->data,
                                     .dv_out = dv->data,
                                     .q_stride = q->stride,
                                     .k_stride = k->stride,
                                     .v_stride = v->stride,
                                     .dout_stride = dout->stride,
                                     .dq_stride = dq->stride,
                                     .dk_stride = dk->stride,
                                     .dv_stride = dv->stride,
                                     .dk = size,
                                     .dv = width,
                                     .group = params->heads / params->kv_heads,
                                     .params = params};
  int64_t tasks = params->batch * params->kv_heads, scratch = ctx->kernels->attention_backward_scratch(&args);
  return mg_run(ctx, ctx->kernels->attention_backward, &args, tasks, 1, scratch);
}
