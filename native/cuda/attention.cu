// Attention: checks and the choice of kernel.
#include "attention.cuh"

namespace {

constexpr int64_t FEW_QUERIES = 16; // below that a tile would be mostly empty

Attention checked(const mg_tensor *q, const mg_tensor *k, const mg_tensor *v, const mg_attention_params *p,
                  const mg_tensor *spans, mg_tensor *out) {
  if (!p) fail(MG_EINVAL, "params is NULL");
  require("q", q, {MG_F32});
  require("k", k, {MG_F32, MG_BF16});
  require("v", v, {k->dtype});
  require("out", out, {MG_F32, MG_BF16});
  if (p->heads <= 0 || p->kv_heads <= 0 || p->heads % p->kv_heads != 0) {
    fail(MG_EINVAL, "%d key/value heads do not divide %d heads", p->kv_heads, p->heads);
  }
  if (p->batch < 0 || p->queries < 0 || p->queries > p->keys || (!spans && p->keys > p->key_capacity)) {
    fail(MG_EINVAL, "batch %lld, queries %lld, keys %lld, capacity %lld: queries <= keys <= capacity must hold",
         (long long)p->batch, (long long)p->queries, (long long)p->keys, (long long)p->key_capacity);
  }
  if (q->cols % p->heads != 0) fail(MG_EINVAL, "q's %lld columns are not %d heads", (long long)q->cols, p->heads);
  if (v->cols % p->kv_heads != 0) fail(MG_EINVAL, "v's %lld columns are not %d heads", (long long)v->cols, p->kv_heads);
  const int64_t dk = q->cols / p->heads, dv = v->cols / p->kv_heads;
  require_shape("q", q, p->batch * p->queries, q->cols);
  if (spans) {
    require("spans", spans, {MG_I32});
    require_shape("spans", spans, 2, p->batch);
  }
  require_shape("k", k, spans ? k->rows : p->batch * p->key_capacity, p->kv_heads * dk);
  require_shape("v", v, k->rows, v->cols);
  require_shape("out", out, q->rows, p->heads * dv);
  if (p->keys > 1 << 30) fail(MG_EUNSUPPORTED, "%lld keys; 2^30 at most", (long long)p->keys);
  if (p->window < 0) fail(MG_EINVAL, "window is %d; it must not be negative", p->window);
  if (p->batch > 65535) fail(MG_EUNSUPPORTED, "a batch of %lld; 65535 at most", (long long)p->batch);
  return {pointer<float>(q),
          k->data,
          v->data,
          out->data,
          q->stride,
          k->stride,
          v->stride,
          out->stride,
          p->batch,
          p->queries,
          p->keys,
          p->key_capacity,
          p->heads,
          p->kv_heads,
          p->heads / p->kv_heads,
          (int)dk,
          (int)dv,
          p->window,
          p->scale,
          p->softcap,
          k->dtype == MG_BF16,
          out->dtype == MG_BF16,
          spans ? pointer<int32_t>(spans) : nullptr,
          spans ? pointer<int32_t>(spans) + spans->stride : nullptr,
          k->rows};
}

} // namespace

int32_t mg_attention(mg_context *ctx, const mg_tensor *q, const mg_tensor *k, const mg_tensor *v,
                     const mg_attention_params *params, const mg_tensor *spans, mg_tensor *out) {
  return guarded(ctx, "attention", [&] {
    const Attention a = checked(q, k, v, params, spans, out);
    if (empty(out)) return;
    if (a.dk == 0) fail(MG_EINVAL, "q has no columns");
    if (spans || a.queries < FEW_QUERIES || !attend_tiled(ctx, a, ctx->precision == MG_PRECISE)) attend_few(ctx, a);
  });
}
