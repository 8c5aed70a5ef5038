#include "check.h"

int32_t mg_rope(mg_context *ctx, mg_tensor *x, const mg_tensor *positions, const mg_tensor *freqs, int32_t heads) {
  MG_TRY(mg_check(ctx, "x", x, MG_IS_F32));
  MG_TRY(mg_check_shape(ctx, "positions", positions, MG_IS_I32, 1, x->rows));
  MG_TRY(mg_check(ctx, "freqs", freqs, MG_IS_F32));
  MG_REQUIRE(ctx, heads > 0 && x->cols % heads == 0, "x has %lld columns, not a multiple of %d heads", (long long)x->cols, heads);
  MG_REQUIRE(ctx, freqs->rows > 0 && heads % freqs->rows == 0, "freqs has %lld rows, not a divisor of %d heads",
             (long long)freqs->rows, heads);
  int64_t dim = x->cols / heads;
  MG_REQUIRE(ctx, freqs->cols <= dim / 2, "freqs has %lld pairs; a head of %lld columns has at most %lld", (long long)freqs->cols,
             (long long)dim, (long long)(dim / 2));
  if (mg_empty(x) || mg_empty(freqs)) return MG_OK;
  mg_rope_args args = {.x = x->data,
                       .positions = positions->data,
                       .freqs = freqs->data,
                       .x_stride = x->stride,
                       .freq_stride = freqs->stride,
                       .freq_rows = freqs->rows,
                       .pairs = freqs->cols,
                       .heads = heads,
                       .dim = dim};
  int64_t scratch = 2 * freqs->rows * freqs->cols * (int64_t)sizeof(float);
  return mg_run(ctx, ctx->kernels->rope, &args, x->rows, mg_row_grain(x->cols), scratch);
}
