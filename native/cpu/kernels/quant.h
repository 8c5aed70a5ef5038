/* Rows of any dtype as float32. */
#ifndef MG_QUANT_H
#define MG_QUANT_H

#include "simd.h"

static inline uint16_t f16_of_f32(float x) {
#if defined(__F16C__)
  return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT);
#else
  uint32_t bits = bits_of_f32(x), sign = bits >> 16 & 0x8000, a = bits & 0x7fffffff;
  if (a > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x3ff));
  if (a >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* from 65520 on: infinity */
  if (a < 0x38800000) {                                  /* subnormal: the unit of 0.5 is 2^-24, so the sum rounds there */
    return (uint16_t)(sign | (bits_of_f32(f32_of_bits(a) + 0.5f) - 0x3f000000));
  }
  return (uint16_t)(sign | (a - 0x38000000 + 0xfff + (a >> 13 & 1)) >> 13);
#endif
}

/* `n` elements (whole blocks) of a GGUF block format. */
void ISA(dequantise)(int32_t dtype, const void *blocks, int64_t n, float *out);

/* The other way, to Q8_0 or Q4_0, rounding as llama.cpp does without an importance matrix: `n` elements, whole blocks. */
void ISA(quantise)(int32_t dtype, const float *x, int64_t n, void *blocks);

/* Elements [begin, begin + n) of a row of any dtype but F64 and I32; begin and n are whole blocks. */
void ISA(read_f32)(int32_t dtype, const char *row, int64_t begin, int64_t n, float *out);

#endif
