#include "quant.h"

enum { CHUNK = 1024 }; /* elements converted at a time; a multiple of every block length */

static uint16_t bf16_of_f32(float x) {
  uint32_t bits = bits_of_f32(x);
  uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40;
  return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

static void to_bf16(const float *x, int64_t n, uint16_t *y) {
  int64_t i = 0;
#if defined(__AVX512BF16__)
  /* The instruction takes subnormals for zero, so vectors with one go the long way. */
  for (; i + W <= n; i += W) {
    vf v = v_load(x + i);
    if (_mm512_fpclass_ps_mask(v, 0x20)) {
      for (int j = 0; j < W; j++) y[i + j] = bf16_of_f32(x[i + j]);
    } else {
      _mm256_storeu_si256((__m256i *)(y + i), (__m256i)_mm512_cvtneps_pbh(v));
    }
  }
#endif
  for (; i < n; i++) y[i] = bf16_of_f32(x[i]);
}

static void to_f16(const float *x, int64_t n, uint16_t *y) {
  int64_t i = 0;
#if defined(__AVX512F__)
  for (; i + W <= n; i += W) _mm256_storeu_si256((__m256i *)(y + i), _mm512_cvtps_ph(v_load(x + i), _MM_FROUND_TO_NEAREST_INT));
#elif defined(__AVX2__)
  for (; i + W <= n; i += W) _mm_storeu_si128((__m128i *)(y + i), _mm256_cvtps_ph(v_load(x + i), _MM_FROUND_TO_NEAREST_INT));
#endif
  for (; i < n; i++) y[i] = f16_of_f32(x[i]);
}

/* Truncated towards zero with the last bit set when inexact: a second rounding to fewer bits is then correct. */
static float round_to_odd(double x) {
  float f = (float)x;
  if ((double)f == x || x != x) return f;
  uint32_t bits = bits_of_f32(f);
  if (fabs((double)f) > fabs(x)) bits--;
  return f32_of_bits(bits | 1);
}

static void write(const float *x, int64_t n, int32_t dtype, char *row, int64_t begin) {
  switch (dtype) {
  case MG_F64: {
    double *y = (double *)row + begin;
    for (int64_t i = 0; i < n; i++) y[i] = (double)x[i];
    return;
  }
  case MG_BF16:
    to_bf16(x, n, (uint16_t *)row + begin);
    return;
  case MG_F16:
    to_f16(x, n, (uint16_t *)row + begin);
    return;
  case MG_Q4_0:
  case MG_Q8_0: {
    mg_block block = mg_block_of(dtype);
    ISA(quantise)(dtype, x, n, row + begin / block.length * block.bytes);
    return;
  }
  default:
    memcpy(row + begin * 4, x, (size_t)n * 4);
  }
}

static void cast_row(const mg_cast_args *a, const char *x, char *y, float *buffer) {
  if (a->x.dtype == a->y_dtype) {
    memcpy(y, x, (size_t)(a->cols * mg_block_of(a->y_dtype).bytes));
    return;
  }
  for (int64_t j = 0; j < a->cols; j += CHUNK) {
    int64_t n = a->cols - j < CHUNK ? a->cols - j : CHUNK;
    if (a->x.dtype != MG_F64) {
      float *target = a->y_dtype == MG_F32 ? (float *)y + j : buffer;
      ISA(read_f32)(a->x.dtype, x, j, n, target);
      if (target == buffer) write(buffer, n, a->y_dtype, y, j);
    } else {
      const loose_f64 *source = (const loose_f64 *)x + j;
      if (a->y_dtype == MG_F32) {
        for (int64_t i = 0; i < n; i++) ((float *)y)[j + i] = (float)source[i];
      } else {
        for (int64_t i = 0; i < n; i++) buffer[i] = round_to_odd(source[i]);
        write(buffer, n, a->y_dtype, y, j);
      }
    }
  }
}

void ISA(cast)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const mg_cast_args *a = args;
  float buffer[CHUNK];
  for (int64_t i = begin; i < end; i++) {
    int64_t row = a->ids ? a->ids[i] : i;
    cast_row(a, a->x.data + row * a->x.bytes, a->y + i * a->y_bytes, buffer);
  }
}

static bool half_nonfinite(const char *p) { return (*(const loose_u16 *)p & 0x7c00) == 0x7c00; }

/* Float16 scales of a block: where they are, or -1. */
static void scale_offsets(int32_t dtype, int offset[2]) {
  offset[0] = dtype == MG_Q6_K ? 208 : 0;
  bool two = dtype == MG_Q4_1 || dtype == MG_Q5_1 || dtype == MG_Q4_K || dtype == MG_Q5_K;
  offset[1] = two ? 2 : -1;
}

static int64_t row_nonfinite(int32_t dtype, const char *x, int64_t n) {
  int64_t bad = 0;
  switch (dtype) {
  case MG_F32:
    for (int64_t i = 0; i < n; i++) bad += (((const loose_u32 *)x)[i] & 0x7f800000) == 0x7f800000;
    return bad;
  case MG_F64:
    for (int64_t i = 0; i < n; i++) bad += !(fabs(((const loose_f64 *)x)[i]) <= 1.7976931348623157e308);
    return bad;
  case MG_BF16:
    for (int64_t i = 0; i < n; i++) bad += (((const loose_u16 *)x)[i] & 0x7f80) == 0x7f80;
    return bad;
  case MG_F16:
    for (int64_t i = 0; i < n; i++) bad += (((const loose_u16 *)x)[i] & 0x7c00) == 0x7c00;
    return bad;
  default: {
    mg_block block = mg_block_of(dtype);
    int offset[2];
    scale_offsets(dtype, offset);
    for (const char *b = x, *end = x + n / block.length * block.bytes; b < end; b += block.bytes) {
      bad += half_nonfinite(b + offset[0]);
      if (offset[1] >= 0) bad += half_nonfinite(b + offset[1]);
    }
    return bad;
  }
  }
}

void ISA(nonfinite)(const void *args, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const mg_nonfinite_args *a = args;
  int64_t bad = 0;
  for (int64_t i = begin; i < end; i++) bad += row_nonfinite(a->x.dtype, a->x.data + i * a->x.bytes, a->cols);
  a->counts[begin / a->grain] = bad;
}
