#include "check.h"

static const char *dtype_name(int32_t dtype) {
  static const char *const plain[] = {"F32", "F64", "BF16", "F16", "I32"};
  static const char *const blocks[] = {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"};
  if (dtype >= MG_F32 && dtype <= MG_I32) return plain[dtype];
  if (dtype >= MG_Q4_0 && dtype <= MG_Q6_K) return blocks[dtype - MG_Q4_0];
  return "no known dtype";
}

int32_t mg_check(mg_context *ctx, const char *name, const mg_tensor *x, unsigned dtypes) {
  MG_REQUIRE(ctx, ctx, "ctx is NULL");
  MG_REQUIRE(ctx, x, "%s is NULL", name);
  bool known = x->dtype >= 0 && x->dtype < 32 && (dtypes >> x->dtype & 1);
  MG_REQUIRE(ctx, known, "%s has dtype %d (%s), which this operation does not take", name, x->dtype, dtype_name(x->dtype));
  MG_REQUIRE(ctx, x->rows >= 0 && x->cols >= 0, "%s is [%lld, %lld]: a negative size", name, (long long)x->rows,
             (long long)x->cols);
  MG_REQUIRE(ctx, x->stride >= x->cols, "%s has stride %lld, less than its %lld columns", name, (long long)x->stride,
             (long long)x->cols);
  mg_block block = mg_block_of(x->dtype);
  if (block.length > 1) {
    MG_REQUIRE(ctx, x->cols % block.length == 0 && x->stride == x->cols,
               "%s (%s) has %lld columns and stride %lld; it needs equal ones, a multiple of %d", name, dtype_name(x->dtype),
               (long long)x->cols, (long long)x->stride, block.length);
  }
  if (mg_empty(x)) return MG_OK;
  int64_t elements, bytes;
  bool fits = !__builtin_mul_overflow(x->rows, x->stride, &elements) && !__builtin_mul_overflow(elements, 8, &bytes);
  MG_REQUIRE(ctx, fits, "%s is [%lld, %lld]: larger than memory can be", name, (long long)x->rows, (long long)x->cols);
  MG_REQUIRE(ctx, x->data, "%s has no data", name);
  /* Weights may lie anywhere in a mapped file; what kernels compute on must be aligned. */
  bool aligned = (dtypes & MG_IS_QUANTISED) || (uintptr_t)x->data % (uintptr_t)block.bytes == 0;
  MG_REQUIRE(ctx, aligned, "%s is not aligned to its elements of %d bytes", name, block.bytes);
  return MG_OK;
}

int32_t mg_check_shape(mg_context *ctx, const char *name, const mg_tensor *x, unsigned dtypes, int64_t rows, int64_t cols) {
  MG_TRY(mg_check(ctx, name, x, dtypes));
  MG_REQUIRE(ctx, x->rows == rows && x->cols == cols, "%s is [%lld, %lld]; it must be [%lld, %lld]", name, (long long)x->rows,
             (long long)x->cols, (long long)rows, (long long)cols);
  return MG_OK;
}

int32_t mg_check_optional(mg_context *ctx, const char *name, const mg_tensor *x, unsigned dtypes, int64_t rows, int64_t cols) {
  return x ? mg_check_shape(ctx, name, x, dtypes, rows, cols) : MG_OK;
}

int32_t mg_check_in_place(mg_context *ctx, const char *name, const mg_tensor *x, const mg_tensor *y) {
  MG_REQUIRE(ctx, x->data != y->data || x->stride == y->stride, "%s is computed in place but its stride differs from the input's",
             name);
  return MG_OK;
}

int32_t mg_check_indices(mg_context *ctx, const char *name, const mg_tensor *index, int64_t count, int64_t limit) {
  MG_TRY(mg_check_shape(ctx, name, index, MG_IS_I32, 1, count));
  const int32_t *values = index->data;
  for (int64_t i = 0; i < count; i++) {
    MG_REQUIRE(ctx, values[i] >= 0 && values[i] < limit, "%s[%lld] is %d; it must be 0 to %lld", name, (long long)i, values[i],
               (long long)limit - 1);
  }
  return MG_OK;
}
