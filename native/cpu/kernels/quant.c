/*
 * GGUF block formats: a block of 32 or 256 weights shares float16 scales; the K formats add 6-bit scales per 16 or 32 weights.
 * Products and sums round separately (no fused multiply-add), so every instruction set gives the same bits.
 */
#include "quant.h"

static float half(const uint8_t *p) {
  return f32_of_f16((uint16_t)(p[0] | p[1] << 8));
}

/* 16 bytes: low nibbles are weights 0-15, high nibbles 16-31. */
static void q4_0(const uint8_t *b, float *y) {
  float d = half(b);
  for (int j = 0; j < 16; j++) {
    y[j] = (float)((b[2 + j] & 15) - 8) * d;
    y[j + 16] = (float)((b[2 + j] >> 4) - 8) * d;
  }
}

static void q4_1(const uint8_t *b, float *y) {
  float d = half(b), m = half(b + 2);
  for (int j = 0; j < 16; j++) {
    y[j] = (float)(b[4 + j] & 15) * d + m;
    y[j + 16] = (float)(b[4 + j] >> 4) * d + m;
  }
}

/* The fifth bits of the 32 weights lie in one little-endian word. */
static uint32_t fifth_bits(const uint8_t *p) {
  return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static void q5_0(const uint8_t *b, float *y) {
  float d = half(b);
  uint32_t high = fifth_bits(b + 2);
  for (int j = 0; j < 16; j++) {
    y[j] = (float)((int)((b[6 + j] & 15) | (high >> j & 1) << 4) - 16) * d;
    y[j + 16] = (float)((int)((b[6 + j] >> 4) | (high >> (j + 16) & 1) << 4) - 16) * d;
  }
}

static void q5_1(const uint8_t *b, float *y) {
  float d = half(b), m = half(b + 2);
  uint32_t high = fifth_bits(b + 4);
  for (int j = 0; j < 16; j++) {
    y[j] = (float)(int)((b[8 + j] & 15) | (high >> j & 1) << 4) * d + m;
    y[j + 16] = (float)(int)((b[8 + j] >> 4) | (high >> (j + 16) & 1) << 4) * d + m;
  }
}

static void q8_0(const uint8_t *b, float *y) {
  float d = half(b);
  const int8_t *q = (const int8_t *)b + 2;
  for (int j = 0; j < 32; j++) y[j] = (float)q[j] * d;
}

/* 12 bytes hold eight 6-bit scales and eight 6-bit minima: 0-3 in the low bits of bytes 0-7, 4-7 in bytes 8-11 and top bits. */
static void scale_and_minimum(const uint8_t *s, int i, int *scale, int *minimum) {
  if (i < 4) {
    *scale = s[i] & 63;
    *minimum = s[i + 4] & 63;
  } else {
    *scale = (s[i + 4] & 15) | (s[i - 4] >> 6) << 4;
    *minimum = (s[i + 4] >> 4) | (s[i] >> 6) << 4;
  }
}

static void q4_k(const uint8_t *b, float *y) {
  float d = half(b), dmin = half(b + 2);
  const uint8_t *q = b + 16;
  for (int i = 0; i < 8; i += 2, q += 32, y += 64) {
    int s0, m0, s1, m1;
    scale_and_minimum(b + 4, i, &s0, &m0);
    scale_and_minimum(b + 4, i + 1, &s1, &m1);
    float d0 = d * (float)s0, min0 = dmin * (float)m0, d1 = d * (float)s1, min1 = dmin * (float)m1;
    for (int j = 0; j < 32; j++) {
      y[j] = d0 * (float)(q[j] & 15) - min0;
      y[j + 32] = d1 * (float)(q[j] >> 4) - min1;
    }
  }
}

/* As Q4_K with a fifth bit: bit i of high[j] belongs to weight j of the i-th group of 32. */
static void q5_k(const uint8_t *b, float *y) {
  float d = half(b), dmin = half(b + 2);
  const uint8_t *high = b + 16, *q = b + 48;
  for (int i = 0; i < 8; i += 2, q += 32, y += 64) {
    int s0, m0, s1, m1;
    scale_and_minimum(b + 4, i, &s0, &m0);
    scale_and_minimum(b + 4, i + 1, &s1, &m1);
    float d0 = d * (float)s0, min0 = dmin * (float)m0, d1 = d * (float)s1, min1 = dmin * (float)m1;
    for (int j = 0; j < 32; j++) {
      y[j] = d0 * (float)((q[j] & 15) + (high[j] >> i & 1) * 16) - min0;
      y[j + 32] = d1 * (float)((q[j] >> 4) + (high[j] >> (i + 1) & 1) * 16) - min1;
    }
  }
}

/* Two halves of 128 weights: 64 bytes of low nibbles, 32 bytes of two high bits, 8 signed scales of 16 weights each. */
static void q6_k(const uint8_t *b, float *y) {
  float d = half(b + 208);
  for (int h = 0; h < 2; h++, y += 128) {
    const uint8_t *low = b + h * 64, *high = b + 128 + h * 32;
    const int8_t *scale = (const int8_t *)b + 192 + h * 8;
    for (int part = 0; part < 2; part++) {
      float d0 = d * (float)scale[part], d1 = d * (float)scale[part + 2];
      float d2 = d * (float)scale[part + 4], d3 = d * (float)scale[part + 6];
      for (int j = part * 16; j < part * 16 + 16; j++) {
        y[j] = d0 * (float)(((low[j] & 15) | (high[j] & 3) << 4) - 32);
        y[j + 32] = d1 * (float)(((low[j + 32] & 15) | (high[j] >> 2 & 3) << 4) - 32);
        y[j + 64] = d2 * (float)(((low[j] >> 4) | (high[j] >> 4 & 3) << 4) - 32);
        y[j + 96] = d3 * (float)(((low[j + 32] >> 4) | (high[j] >> 6) << 4) - 32);
      }
    }
  }
}

void ISA(dequantise)(int32_t dtype, const void *blocks, int64_t n, float *out) {
  const uint8_t *b = blocks;
  const float *end = out + n;
#define EACH_BLOCK(format, bytes, length)                                                                                        \
  for (; out < end; out += length, b += bytes) format(b, out);                                                                   \
  break
  switch (dtype) {
  case MG_Q4_0:
    EACH_BLOCK(q4_0, 18, 32);
  case MG_Q4_1:
    EACH_BLOCK(q4_1, 20, 32);
  case MG_Q5_0:
    EACH_BLOCK(q5_0, 22, 32);
  case MG_Q5_1:
    EACH_BLOCK(q5_1, 24, 32);
  case MG_Q8_0:
    EACH_BLOCK(q8_0, 34, 32);
  case MG_Q4_K:
    EACH_BLOCK(q4_k, 144, 256);
  case MG_Q5_K:
    EACH_BLOCK(q5_k, 176, 256);
  case MG_Q6_K:
    EACH_BLOCK(q6_k, 210, 256);
  default:
    break; /* checked by the operation */
  }
#undef EACH_BLOCK
}

void ISA(read_f32)(int32_t dtype, const char *row, int64_t begin, int64_t n, float *out) {
  int64_t i = 0;
  switch (dtype) {
  case MG_F32:
    memcpy(out, row + begin * 4, (size_t)n * 4);
    return;
  case MG_BF16:
    row += begin * 2;
    for (; i + W <= n; i += W) v_store(out + i, v_load_bf16(row + i * 2));
    for (; i < n; i++) out[i] = f32_of_bf16(((const loose_u16 *)row)[i]);
    return;
  case MG_F16:
    row += begin * 2;
    for (; i + W <= n; i += W) v_store(out + i, v_load_f16(row + i * 2));
    for (; i < n; i++) out[i] = f32_of_f16(((const loose_u16 *)row)[i]);
    return;
  default: {
    mg_block block = mg_block_of(dtype);
    ISA(dequantise)(dtype, row + begin / block.length * block.bytes, n, out);
  }
  }
}
