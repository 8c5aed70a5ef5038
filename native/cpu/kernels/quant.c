/*
 * GGUF block formats: a block of 32 or 256 weights shares float16 scales; the K formats add 6-bit scales per 16 or 32 weights.
 * Products and sums round separately (no fused multiply-add), so every instruction set gives the same bits.
 */
#include "quant.h"

#include <float.h>

static float half(const uint8_t *p) { return f32_of_f16((uint16_t)(p[0] | p[1] << 8)); }

/* y = (q - offset) * d, or q * d + m. */
INLINE void put_centred(float *y, vi q, int offset, float d) { v_store(y, v_float(q - offset) * v_set(d)); }
INLINE void put_affine(float *y, vi q, float d, float m) { v_store(y, v_float(q) * v_set(d) + v_set(m)); }

/* 16 bytes: low nibbles are weights 0-15, high nibbles 16-31. */
static void q4_0(const uint8_t *b, float *y) {
  float d = half(b);
  for (int j = 0; j < 16; j += W) {
    vi q = v_load_u8(b + 2 + j);
    put_centred(y + j, q & 15, 8, d);
    put_centred(y + j + 16, q >> 4, 8, d);
  }
}

static void q4_1(const uint8_t *b, float *y) {
  float d = half(b), m = half(b + 2);
  for (int j = 0; j < 16; j += W) {
    vi q = v_load_u8(b + 4 + j);
    put_affine(y + j, q & 15, d, m);
    put_affine(y + j + 16, q >> 4, d, m);
  }
}

/* The fifth bits of the 32 weights lie in one little-endian word: those of weights first .. first + W - 1, as 0 or 16. */
INLINE vi fifth_bits(const uint8_t *p, int first) {
  uint32_t word = p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
  vi bits = v_lanes() * 0 + (int32_t)(word >> first);
  return (bits >> v_lanes() & 1) << 4;
}

static void q5_0(const uint8_t *b, float *y) {
  float d = half(b);
  for (int j = 0; j < 16; j += W) {
    vi q = v_load_u8(b + 6 + j);
    put_centred(y + j, (q & 15) | fifth_bits(b + 2, j), 16, d);
    put_centred(y + j + 16, q >> 4 | fifth_bits(b + 2, j + 16), 16, d);
  }
}

static void q5_1(const uint8_t *b, float *y) {
  float d = half(b), m = half(b + 2);
  for (int j = 0; j < 16; j += W) {
    vi q = v_load_u8(b + 8 + j);
    put_affine(y + j, (q & 15) | fifth_bits(b + 4, j), d, m);
    put_affine(y + j + 16, q >> 4 | fifth_bits(b + 4, j + 16), d, m);
  }
}

static void q8_0(const uint8_t *b, float *y) {
  float d = half(b);
  for (int j = 0; j < 32; j += W) put_centred(y + j, v_load_s8(b + 2 + j), 0, d);
}

/*
 * The K formats with minima: 12 bytes hold eight 6-bit scales and eight 6-bit minima, numbers 0-3 in the low bits of bytes 0-7,
 * numbers 4-7 in the nibbles of bytes 8-11 and the top bits of bytes 0-7. Times the block's two float16 scales.
 */
typedef struct {
  float scale, minimum;
} group_scales;

static group_scales scales_of(const uint8_t *b, int i) {
  const uint8_t *s = b + 4;
  int scale = i < 4 ? s[i] & 63 : (s[i + 4] & 15) | (s[i - 4] >> 6) << 4;
  int minimum = i < 4 ? s[i + 4] & 63 : (s[i + 4] >> 4) | (s[i] >> 6) << 4;
  return (group_scales){half(b) * (float)scale, half(b + 2) * (float)minimum};
}

static void q4_k(const uint8_t *b, float *y) {
  const uint8_t *q = b + 16;
  for (int i = 0; i < 8; i += 2, q += 32, y += 64) {
    group_scales low = scales_of(b, i), high = scales_of(b, i + 1);
    for (int j = 0; j < 32; j += W) {
      vi bytes = v_load_u8(q + j);
      put_affine(y + j, bytes & 15, low.scale, -low.minimum);
      put_affine(y + j + 32, bytes >> 4, high.scale, -high.minimum);
    }
  }
}

/* As Q4_K with a fifth bit: bit i of fifth[j] belongs to weight j of the i-th group of 32. */
static void q5_k(const uint8_t *b, float *y) {
  const uint8_t *fifth = b + 16, *q = b + 48;
  for (int i = 0; i < 8; i += 2, q += 32, y += 64) {
    group_scales low = scales_of(b, i), high = scales_of(b, i + 1);
    for (int j = 0; j < 32; j += W) {
      vi bytes = v_load_u8(q + j), bits = v_load_u8(fifth + j) >> i;
      put_affine(y + j, (bytes & 15) | (bits & 1) << 4, low.scale, -low.minimum);
      put_affine(y + j + 32, bytes >> 4 | (bits & 2) << 3, high.scale, -high.minimum);
    }
  }
}

/* Two halves of 128 weights: 64 bytes of low nibbles, 32 bytes of two high bits, 8 signed scales of 16 weights each. */
static void q6_k(const uint8_t *b, float *y) {
  float d = half(b + 208);
  for (int h = 0; h < 2; h++, y += 128) {
    const uint8_t *low = b + h * 64, *high = b + 128 + h * 32;
    const int8_t *scale = (const int8_t *)b + 192 + h * 8;
    for (int j = 0; j < 32; j += W) {
      vi first = v_load_u8(low + j), second = v_load_u8(low + j + 32), bits = v_load_u8(high + j);
      const int8_t *s = scale + j / 16;
      put_centred(y + j, (first & 15) | (bits & 3) << 4, 32, d * (float)s[0]);
      put_centred(y + j + 32, (second & 15) | (bits & 12) << 2, 32, d * (float)s[2]);
      put_centred(y + j + 64, first >> 4 | (bits & 48), 32, d * (float)s[4]);
      put_centred(y + j + 96, second >> 4 | (bits & 192) >> 2, 32, d * (float)s[6]);
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

/* The scale of a block's largest magnitude; NaN where an element is not finite, so that nobody takes the block for good. */
static float scale_of(float largest, float divisor, bool finite) { return finite ? largest / divisor : NAN; }

static void put_half(uint8_t *b, float d) {
  uint16_t bits = f16_of_f32(d);
  b[0] = (uint8_t)bits;
  b[1] = (uint8_t)(bits >> 8);
}

/* An integer in [low, high]; 0 for what is no number. */
static int bounded(float x, float low, float high) { return x >= low ? (int)(x <= high ? x : high) : x < low ? (int)low : 0; }

/* q = x / d to the nearest, halves away from zero; d = max |x| / 127. */
static void to_q8_0(const float *x, uint8_t *b) {
  float largest = 0;
  bool finite = true;
  for (int j = 0; j < 32; j++) {
    float a = fabsf(x[j]);
    finite &= a <= FLT_MAX;
    largest = a > largest ? a : largest;
  }
  float d = scale_of(largest, 127, finite), inverse = d != 0 ? 1 / d : 0;
  put_half(b, d);
  for (int j = 0; j < 32; j++) b[2 + j] = (uint8_t)(int8_t)bounded(roundf(x[j] * inverse), -127, 127);
}

/* The element of the largest magnitude becomes q = -8: d = x / -8, which has its sign. */
static void to_q4_0(const float *x, uint8_t *b) {
  float largest = 0, extreme = 0;
  bool finite = true;
  for (int j = 0; j < 32; j++) {
    float a = fabsf(x[j]);
    finite &= a <= FLT_MAX;
    if (a > largest) largest = a, extreme = x[j];
  }
  float d = scale_of(extreme, -8, finite), inverse = d != 0 ? 1 / d : 0;
  put_half(b, d);
  for (int j = 0; j < 16; j++) {
    int low = bounded(x[j] * inverse + 8.5f, 0, 15), high = bounded(x[j + 16] * inverse + 8.5f, 0, 15);
    b[2 + j] = (uint8_t)(low | high << 4);
  }
}

void ISA(quantise)(int32_t dtype, const float *x, int64_t n, void *blocks) {
  uint8_t *b = blocks;
  for (const float *end = x + n; x < end; x += 32) {
    if (dtype == MG_Q8_0) {
      to_q8_0(x, b);
      b += 34;
    } else {
      to_q4_0(x, b);
      b += 18;
    }
  }
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
