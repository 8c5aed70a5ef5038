// Rows of a table, decoded to float32.
#include "formats.cuh"

namespace {

struct EmbedArgs {
  const uint8_t *table;
  const int32_t *ids;
  float *out;
  int64_t pitch, rows, cols, stride;
  uint64_t *fault;
};

template <class Format, bool ALIGNED> __global__ void __launch_bounds__(128) embed_kernel(EmbedArgs a) {
  const int32_t id = a.ids[blockIdx.x];
  const bool inside = id >= 0 && id < a.rows;
  if (!inside && threadIdx.x == 0) raise_fault(a.fault, FAULT_EMBED, id);
  float *out = a.out + blockIdx.x * a.stride;
  for (int64_t col = threadIdx.x * 8; col < a.cols; col += 128 * 8) {
    const int count = a.cols - col < 8 ? (int)(a.cols - col) : 8;
    float v[8] = {};
    if (inside) Format::template load8<ALIGNED>(a.table + id * a.pitch, col, count, v);
    if (ALIGNED && count == 8) {
      store<8>(out + col, v);
    } else {
#pragma unroll
      for (int i = 0; i < 8; i++) {
        if (i < count) out[col + i] = v[i];
      }
    }
  }
}

} // namespace

int32_t mg_embed(mg_context *ctx, const mg_tensor *table, const mg_tensor *ids, mg_tensor *out) {
  return guarded(ctx, "embed", [&] {
    require("table", table, {MG_STORED});
    require("out", out, {MG_F32});
    require_vector("ids", ids, MG_I32, out->rows);
    require_shape("out", out, out->rows, table->cols);
    if (empty(out)) return;
    const EmbedArgs args{pointer<uint8_t>(table),
                         pointer<int32_t>(ids),
                         pointer<float>(out),
                         pitch(table),
                         table->rows,
                         table->cols,
                         out->stride,
                         ctx->fault};
    const bool vector = aligned(out, 16) && (is_quantised(table->dtype) || aligned(table, 16));
    with_format(table->dtype, [&](auto format) {
      using Format = decltype(format);
      if (vector) {
        embed_kernel<Format, true><<<(unsigned)out->rows, 128, 0, ctx->stream>>>(args);
      } else {
        embed_kernel<Format, false><<<(unsigned)out->rows, 128, 0, ctx->stream>>>(args);
      }
    });
    launched();
  });
}
