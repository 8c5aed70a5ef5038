/* Contexts, memory, bad arguments, and equal results whatever the number of threads. */
#include "harness.h"

static void refused(const test_context *t, int32_t status, int32_t want, const char *word) {
  const char *text = mg_last_error(t->ctx);
  expect(t, status == want && strstr(text, word), "status %d (%s), wanted %d with \"%s\"", status, text, want, word);
}

static void memory(const test_context *t) {
  void *p = NULL;
  char a[8] = "modegpt", b[8] = "";
  expect_ok(t, mg_alloc(t->ctx, 1000, &p));
  expect(t, p && (uintptr_t)p % 64 == 0, "mg_alloc is not aligned");
  expect_ok(t, mg_copy(t->ctx, p, a, 8, 0));
  expect_ok(t, mg_copy(t->ctx, b, p, 8, 1));
  expect(t, strcmp(b, "modegpt") == 0, "mg_copy");
  expect_ok(t, mg_free(t->ctx, p));
  expect_ok(t, mg_free(t->ctx, NULL));
  expect_ok(t, mg_sync(t->ctx));
  refused(t, mg_alloc(t->ctx, INT64_MAX / 2, &p), MG_ENOMEM, "bytes");
  expect(t, p == NULL, "a failed mg_alloc gave a pointer");
  refused(t, mg_alloc(t->ctx, -1, &p), MG_EINVAL, "bytes");
  refused(t, mg_copy(t->ctx, b, a, 8, 3), MG_EINVAL, "kind");
  refused(t, mg_copy(t->ctx, NULL, a, 8, 0), MG_EINVAL, "NULL");
}

void test_arguments(const test_context *t) {
  mg_tensor x = random_matrix(4, 8, 0, 1.0), y = matrix(MG_F32, 4, 8, 0), wrong = matrix(MG_F32, 4, 7, 0), bad;
  mg_tensor wide = matrix(MG_F64, 8, 8, 0), ids = integers(4, 4), half = matrix(MG_BF16, 4, 8, 0);
  memory(t);
  refused(t, mg_rms_norm(t->ctx, NULL, NULL, 0, &y), MG_EINVAL, "x is NULL");
  refused(t, mg_rms_norm(t->ctx, &x, NULL, 0, NULL), MG_EINVAL, "y is NULL");
  refused(t, mg_rms_norm(t->ctx, &x, NULL, -1, &y), MG_EINVAL, "eps");
  refused(t, mg_rms_norm(t->ctx, &x, NULL, 0, &wrong), MG_EINVAL, "[4, 7]");
  refused(t, mg_rms_norm(t->ctx, &half, NULL, 0, &y), MG_EINVAL, "BF16");
  expect(t, mg_rms_norm(NULL, &x, NULL, 0, &y) == MG_EINVAL, "a NULL context was accepted");
#define BAD(change, word)                                                                                                        \
  bad = x;                                                                                                                       \
  change;                                                                                                                        \
  refused(t, mg_activation(t->ctx, &bad, MG_SILU), MG_EINVAL, word)
  BAD(bad.rows = -1, "negative");
  BAD(bad.stride = 7, "stride");
  BAD(bad.dtype = 99, "dtype");
  BAD(bad.dtype = -1, "dtype");
  BAD(bad.data = NULL, "no data");
  BAD(bad.data = (char *)bad.data + 1, "aligned");
  BAD(bad.rows = INT64_MAX, "larger than memory");
  refused(t, mg_activation(t->ctx, &x, 5), MG_EINVAL, "act");
  bad = x;
  bad.stride = 9;
  bad.rows = 3;
  refused(t, mg_gated_activation(t->ctx, &x, &x, MG_SILU, &bad), MG_EINVAL, "y");
  refused(t, mg_cast(t->ctx, &ids, &y), MG_EINVAL, "I32");
  bad = (mg_tensor){half.data, 1, 48, 48, MG_Q8_0, 0};
  refused(t, mg_cast(t->ctx, &bad, &y), MG_EINVAL, "multiple of 32");
  bad = (mg_tensor){half.data, 4, 8, 8, MG_Q8_0, 0};
  refused(t, mg_cast(t->ctx, &x, &bad), MG_EINVAL, "dst");
  mg_tensor rows = matrix(MG_F32, 4, 8, 0), table = {x.data, 3, 8, 8, MG_F32, 0};
  for (int64_t j = 0; j < 4; j++) *i32(&ids, j) = 0;
  *i32(&ids, 2) = 3;
  refused(t, mg_embed(t->ctx, &table, &ids, &rows), MG_EINVAL, "ids[2] is 3");
  *i32(&ids, 2) = -1;
  refused(t, mg_embed(t->ctx, &table, &ids, &rows), MG_EINVAL, "ids[2] is -1");
  mg_tensor freqs = random_matrix(1, 3, 0, 1.0);
  *i32(&ids, 2) = 1;
  refused(t, mg_rope(t->ctx, &x, &ids, &freqs, 3), MG_EINVAL, "heads");
  refused(t, mg_rope(t->ctx, &x, &ids, &freqs, 0), MG_EINVAL, "heads");
  refused(t, mg_rope(t->ctx, &x, &ids, &freqs, 2), MG_EINVAL, "pairs");
  mg_attention_params p = {.batch = 1, .queries = 4, .keys = 4, .key_capacity = 4, .heads = 2, .kv_heads = 1, .scale = 1};
  mg_tensor kv = random_matrix(4, 4, 0, 1.0);
  refused(t, mg_attention(t->ctx, &x, &kv, &kv, NULL, NULL, &y), MG_EINVAL, "params");
  refused(t, mg_attention(t->ctx, &x, &x, &kv, &p, NULL, &y), MG_EINVAL, "head of q");
  refused(t, mg_attention(t->ctx, &x, &kv, &x, &p, NULL, &y), MG_EINVAL, "head of v");
  p.keys = 3;
  refused(t, mg_attention(t->ctx, &x, &kv, &kv, &p, NULL, &y), MG_EINVAL, "decrease");
  p.keys = 4, p.kv_heads = 0;
  refused(t, mg_attention(t->ctx, &x, &kv, &kv, &p, NULL, &y), MG_EINVAL, "heads");
  p.kv_heads = 1, p.key_capacity = 0;
  mg_tensor spans = matrix(MG_I32, 2, 1, 0);
  *i32(&spans, 0) = 0, *i32(&spans, 1) = 3;
  refused(t, mg_attention(t->ctx, &x, &kv, &kv, &p, &spans, &y), MG_EINVAL, "spans[1, 0] is 3");
  *i32(&spans, 1) = 5;
  refused(t, mg_attention(t->ctx, &x, &kv, &kv, &p, &spans, &y), MG_EINVAL, "spans[1, 0] is 5");
  *i32(&spans, 0) = 1, *i32(&spans, 1) = 4;
  refused(t, mg_attention(t->ctx, &x, &kv, &kv, &p, &spans, &y), MG_EINVAL, "spans[0, 0] is 1");
  *i32(&spans, 0) = -1;
  refused(t, mg_attention(t->ctx, &x, &kv, &kv, &p, &spans, &y), MG_EINVAL, "spans[0, 0] is -1");
  refused(t, mg_attention(t->ctx, &x, &kv, &kv, &p, &ids, &y), MG_EINVAL, "spans is [1, 4]");
  p.key_capacity = 4, p.batch = INT64_MAX;
  refused(t, mg_attention(t->ctx, &x, &kv, &kv, &p, NULL, &y), MG_EINVAL, "rows");
  refused(t, mg_gram(t->ctx, &x, &y), MG_EINVAL, "c");
  refused(t, mg_head_gram(t->ctx, &x, 3, &wide), MG_EINVAL, "heads");
  mg_tensor nll = matrix(MG_F64, 1, 4, 0);
  *i32(&ids, 0) = 8;
  refused(t, mg_nll(t->ctx, &x, &ids, &nll, NULL), MG_EINVAL, "targets[0] is 8");
  refused(t, mg_linear(t->ctx, &x, &wrong, NULL, &y, 1), MG_EINVAL, "w has 7 columns");
  refused(t, mg_linear(t->ctx, &x, &wrong, NULL, &y, MG_LINEAR_MOST + 1), MG_EINVAL, "4 matrices");
  refused(t, mg_gather_columns(t->ctx, &x, &ids, &kv), MG_EINVAL, "index[0] is 8");
  refused(t, mg_scatter_rows(t->ctx, &x, &ids, &rows), MG_EINVAL, "index[0] is 8");
  refused(t, mg_count_nonfinite(t->ctx, &x, NULL), MG_EINVAL, "bad");
}

void test_contexts(void) {
  mg_context *ctx = NULL;
  expect(NULL, mg_abi_version() == MG_ABI_VERSION, "ABI version");
  expect(NULL, mg_device_count() == 1, "device count");
  expect(NULL, mg_context_create(1, 1, NULL, &ctx) == MG_EINVAL && !ctx && strstr(mg_last_error(NULL), "device"), "device 1");
  expect(NULL, mg_context_create(0, -1, NULL, &ctx) == MG_EINVAL && strstr(mg_last_error(NULL), "threads"), "-1 threads");
  expect(NULL, mg_context_create(0, 1, "sse9", &ctx) == MG_EINVAL && strstr(mg_last_error(NULL), "sse9"), "unknown isa");
  expect(NULL, mg_context_create(0, 1, NULL, NULL) == MG_EINVAL, "NULL out");
  setenv("MODEGPT_ISA", "generic", 1);
  setenv("MODEGPT_NUM_THREADS", "2", 1);
  char text[64] = "", small[4] = "";
  expect(NULL, mg_context_create(0, 0, "", &ctx) == MG_OK, "environment: %s", mg_last_error(NULL));
  mg_describe(ctx, text, sizeof text);
  expect(NULL, strcmp(text, "generic, 2 threads") == 0, "described as \"%s\"", text);
  mg_describe(ctx, small, sizeof small);
  expect(NULL, strcmp(small, "gen") == 0, "described as \"%s\" in 4 bytes", small);
  mg_context_destroy(ctx);
  setenv("MODEGPT_NUM_THREADS", "many", 1);
  expect(NULL, mg_context_create(0, 0, NULL, &ctx) == MG_EINVAL && strstr(mg_last_error(NULL), "many"), "bad thread count");
  unsetenv("MODEGPT_ISA");
  unsetenv("MODEGPT_NUM_THREADS");
  mg_context_destroy(NULL);
}

/* The same calls on one and on three threads of each instruction set; contexts come in such pairs. */
void test_threads(void) {
  mg_attention_params p = {
      .batch = 2, .queries = 150, .keys = 150, .key_capacity = 150, .heads = 9, .kv_heads = 3, .scale = 0.1f};
  mg_attention_params decode = {
      .batch = 1, .queries = 1, .keys = 300, .key_capacity = 300, .heads = 9, .kv_heads = 3, .scale = 0.1f};
  mg_tensor q = random_matrix(300, 9 * 40, 0, 1.0), kv = random_matrix(300, 3 * 40, 0, 1.0), w = random_matrix(700, 360, 0, 1.0);
  mg_tensor few = {q.data, 1, 360, 360, MG_F32, 0};
  for (int i = 0; i + 1 < context_count; i += 2) {
    mg_tensor out[2], row[2], gram[2], linear[2], energy[2];
    for (int j = 0; j < 2; j++) {
      const test_context *t = &contexts[i + j];
      out[j] = matrix(MG_F32, 300, 360, 0), row[j] = matrix(MG_F32, 1, 360, 0), gram[j] = matrix(MG_F64, 360, 360, 0);
      linear[j] = matrix(MG_F32, 300, 700, 0), energy[j] = matrix(MG_F64, 1, 360, 0);
      expect_ok(t, mg_fill_zero(t->ctx, &gram[j]));
      expect_ok(t, mg_fill_zero(t->ctx, &energy[j]));
      for (int repeat = 0; repeat < 10; repeat++) {
        expect_ok(t, mg_attention(t->ctx, &q, &kv, &kv, &p, NULL, &out[j]));
        expect_ok(t, mg_attention(t->ctx, &few, &kv, &kv, &decode, NULL, &row[j]));
        expect_ok(t, mg_gram(t->ctx, &q, &gram[j]));
        expect_ok(t, mg_linear(t->ctx, &q, &w, NULL, &linear[j], 1));
        expect_ok(t, mg_column_energy(t->ctx, &q, &energy[j]));
      }
    }
    expect(&contexts[i], same_bytes(&out[0], &out[1]), "attention depends on the number of threads");
    expect(&contexts[i], same_bytes(&row[0], &row[1]), "decode attention depends on the number of threads");
    expect(&contexts[i], same_bytes(&gram[0], &gram[1]), "gram depends on the number of threads");
    expect(&contexts[i], same_bytes(&linear[0], &linear[1]), "linear depends on the number of threads");
    expect(&contexts[i], same_bytes(&energy[0], &energy[1]), "column_energy depends on the number of threads");
  }
}
