// The two ways to multiply some rows with a stored matrix, chosen in linear.cu.
#pragma once

#include "formats.cuh"

struct LinearArgs {
  const void *x; // float32, or bfloat16 for tensor cores
  const uint8_t *w;
  const float *bias;
  float *y;
  int64_t x_stride, w_pitch, y_stride, rows, in, out;
};

// Tensor cores, 32 rows of x at a time, each time reading w once. `in` is a multiple of 8; rows of x and of plain w start on 16
// bytes. In MG_FAST operands are rounded to bfloat16; else x is split in three bfloat16 parts, which lose nothing, and weights
// that are not bfloat16 in two or three.
void multiply_tensor(mg_context *ctx, const LinearArgs &a, int32_t w_dtype, bool x_bf16);
