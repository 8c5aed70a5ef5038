/*
 * Vectors of W floats for the instruction set this file is compiled for, and the functions the kernels need on them. The
 * operators + - * / work on all of them. v_min and v_max return the second operand when either is NaN, as x86 does.
 */
#ifndef MG_SIMD_H
#define MG_SIMD_H

#include "kernels.h"

#include <math.h>
#include <string.h>

#define MG_PASTE_(a, b) a##_##b
#define MG_PASTE(a, b) MG_PASTE_(a, b)
#define ISA(name) MG_PASTE(mg_##name, MG_ISA)
#define INLINE static inline __attribute__((always_inline, unused))

/* Floats anywhere in memory: weights in a mapped file need not be aligned. */
typedef float loose_f32 __attribute__((aligned(1), may_alias));
typedef double loose_f64 __attribute__((aligned(1), may_alias));
typedef uint16_t loose_u16 __attribute__((aligned(1), may_alias));
typedef uint32_t loose_u32 __attribute__((aligned(1), may_alias));

INLINE float f32_of_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

INLINE uint32_t bits_of_f32(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

#if defined(__AVX512F__)
#include <immintrin.h>
enum { W = 16 };
typedef float vf __attribute__((vector_size(64)));
typedef __mmask16 vmask;
INLINE vf v_load(const float *p) { return _mm512_loadu_ps(p); }
INLINE void v_store(float *p, vf x) { _mm512_storeu_ps(p, x); }
INLINE vmask v_first(int64_t n) { return (vmask)((1u << n) - 1); }
INLINE vf v_load_n(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(v_first(n), p); }
INLINE void v_store_n(float *p, vf x, int64_t n) { _mm512_mask_storeu_ps(p, v_first(n), x); }
INLINE vf v_set(float x) { return _mm512_set1_ps(x); }
INLINE vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
INLINE vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
INLINE vf v_round(vf x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vf v_ldexp(vf x, vf n) { return _mm512_scalef_ps(x, n); }
INLINE vf v_abs(vf x) { return _mm512_abs_ps(x); }
INLINE vf v_sign_of(vf x, vf sign) { return _mm512_or_ps(_mm512_abs_ps(x), _mm512_and_ps(sign, _mm512_set1_ps(-0.0f))); }
INLINE vmask v_less(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
INLINE vmask v_equal(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
INLINE vf v_select(vmask m, vf yes, vf no) { return _mm512_mask_blend_ps(m, no, yes); }
INLINE bool v_any(vmask m) { return m != 0; }
INLINE float v_sum(vf x) { return _mm512_reduce_add_ps(x); }
INLINE float v_largest(vf x) { return _mm512_reduce_max_ps(x); }
INLINE vf v_load_bf16(const void *p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16));
}
INLINE vf v_load_f16(const void *p) { return _mm512_cvtph_ps(_mm256_loadu_si256(p)); }
typedef int32_t vi __attribute__((vector_size(64)));
INLINE vi v_load_u8(const void *p) { return (vi)_mm512_cvtepu8_epi32(_mm_loadu_si128(p)); }
INLINE vi v_load_s8(const void *p) { return (vi)_mm512_cvtepi8_epi32(_mm_loadu_si128(p)); }
INLINE vf v_float(vi x) { return _mm512_cvtepi32_ps((__m512i)x); }
INLINE vi v_lanes(void) { return (vi){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }

#elif defined(__AVX2__)
#include <immintrin.h>
enum { W = 8 };
typedef float vf __attribute__((vector_size(32)));
typedef float vmask __attribute__((vector_size(32)));
INLINE vf v_load(const float *p) { return _mm256_loadu_ps(p); }
INLINE void v_store(float *p, vf x) { _mm256_storeu_ps(p, x); }
INLINE __m256i v_first(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
INLINE vf v_load_n(const float *p, int64_t n) { return _mm256_maskload_ps(p, v_first(n)); }
INLINE void v_store_n(float *p, vf x, int64_t n) { _mm256_maskstore_ps(p, v_first(n), x); }
INLINE vf v_set(float x) { return _mm256_set1_ps(x); }
INLINE vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
INLINE vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
INLINE vf v_round(vf x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vf v_power_of_two(vf n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
INLINE vf v_ldexp(vf x, vf n) { /* -250 <= n <= 250; in two steps, to pass through the subnormal range */
  vf half = v_round(n * v_set(0.5f));
  return x * v_power_of_two(half) * v_power_of_two(n - half);
}
INLINE vf v_abs(vf x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
INLINE vf v_sign_of(vf x, vf sign) { return _mm256_or_ps(v_abs(x), _mm256_and_ps(sign, _mm256_set1_ps(-0.0f))); }
INLINE vmask v_less(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
INLINE vmask v_equal(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
INLINE vf v_select(vmask m, vf yes, vf no) { return _mm256_blendv_ps(no, yes, m); }
INLINE bool v_any(vmask m) { return _mm256_movemask_ps(m) != 0; }
INLINE float v_sum(vf x) {
  __m128 h = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  h = _mm_add_ps(h, _mm_movehl_ps(h, h));
  return _mm_cvtss_f32(_mm_add_ss(h, _mm_movehdup_ps(h)));
}
INLINE float v_largest(vf x) {
  __m128 h = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  h = _mm_max_ps(h, _mm_movehl_ps(h, h));
  return _mm_cvtss_f32(_mm_max_ss(h, _mm_movehdup_ps(h)));
}
INLINE vf v_load_bf16(const void *p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
}
INLINE vf v_load_f16(const void *p) { return _mm256_cvtph_ps(_mm_loadu_si128(p)); }
typedef int32_t vi __attribute__((vector_size(32)));
INLINE vi v_load_u8(const void *p) { return (vi)_mm256_cvtepu8_epi32(_mm_loadl_epi64(p)); }
INLINE vi v_load_s8(const void *p) { return (vi)_mm256_cvtepi8_epi32(_mm_loadl_epi64(p)); }
INLINE vf v_float(vi x) { return _mm256_cvtepi32_ps((__m256i)x); }
INLINE vi v_lanes(void) { return (vi){0, 1, 2, 3, 4, 5, 6, 7}; }

#else
enum { W = 4 };
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vmask __attribute__((vector_size(16)));
INLINE vf v_load(const float *p) {
  vf x;
  memcpy(&x, p, sizeof x);
  return x;
}
INLINE void v_store(float *p, vf x) { memcpy(p, &x, sizeof x); }
INLINE vf v_load_n(const float *p, int64_t n) {
  vf x = {0};
  for (int64_t i = 0; i < n; i++) x[i] = p[i];
  return x;
}
INLINE void v_store_n(float *p, vf x, int64_t n) {
  for (int64_t i = 0; i < n; i++) p[i] = x[i];
}
INLINE vf v_set(float x) { return (vf){x, x, x, x}; }
INLINE vf v_fma(vf a, vf b, vf c) { return a * b + c; }
INLINE vf v_select(vmask m, vf yes, vf no) { return (vf)((m & (vmask)yes) | (~m & (vmask)no)); }
INLINE vmask v_less(vf a, vf b) { return a < b; }
INLINE vmask v_equal(vf a, vf b) { return a == b; }
INLINE bool v_any(vmask m) { return (m[0] | m[1] | m[2] | m[3]) != 0; }
INLINE vf v_min(vf a, vf b) { return v_select(a < b, a, b); }
INLINE vf v_max(vf a, vf b) { return v_select(a > b, a, b); }
INLINE vf v_abs(vf x) { return (vf)((vmask)x & 0x7fffffff); }
INLINE vf v_sign_of(vf x, vf sign) { return (vf)(((vmask)x & 0x7fffffff) | ((vmask)sign & INT32_MIN)); }
INLINE vf v_round(vf x) { /* |x| < 2^22: adding 1.5 * 2^23 leaves no fraction bits */
  vf magic = v_set(12582912.0f);
  return (x + magic) - magic;
}
INLINE vf v_power_of_two(vf n) { /* the low bits of n + 1.5 * 2^23 are the integer n */
  vmask bits = (vmask)(n + v_set(12582912.0f));
  return (vf)((bits + (127 - 0x4b400000)) << 23);
}
INLINE vf v_ldexp(vf x, vf n) { /* -250 <= n <= 250; in two steps, to pass through the subnormal range */
  vf half = v_round(n * v_set(0.5f));
  return x * v_power_of_two(half) * v_power_of_two(n - half);
}
INLINE float v_sum(vf x) { return (x[0] + x[2]) + (x[1] + x[3]); }
INLINE float v_largest(vf x) {
  float a = x[0] > x[2] ? x[0] : x[2], b = x[1] > x[3] ? x[1] : x[3];
  return a > b ? a : b;
}
INLINE float f32_of_f16(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff;
  if (rest >= 0x7c00) return f32_of_bits(sign | 0x7f800000 | (rest & 0x3ff) << 13); /* infinity, NaN */
  /* Placed 13 bits up, the exponent is 112 too small; the product also normalises subnormals. */
  return f32_of_bits(sign | bits_of_f32(f32_of_bits(rest << 13) * 0x1p112f));
}
INLINE vf v_load_bf16(const void *p) {
  const loose_u16 *h = p;
  return (vf)(vmask){(int32_t)((uint32_t)h[0] << 16), (int32_t)((uint32_t)h[1] << 16), (int32_t)((uint32_t)h[2] << 16),
                     (int32_t)((uint32_t)h[3] << 16)};
}
INLINE vf v_load_f16(const void *p) {
  const loose_u16 *h = p;
  return (vf){f32_of_f16(h[0]), f32_of_f16(h[1]), f32_of_f16(h[2]), f32_of_f16(h[3])};
}
typedef int32_t vi __attribute__((vector_size(16)));
INLINE vi v_load_u8(const void *p) {
  const uint8_t *b = p;
  return (vi){b[0], b[1], b[2], b[3]};
}
INLINE vi v_load_s8(const void *p) {
  const int8_t *b = p;
  return (vi){b[0], b[1], b[2], b[3]};
}
INLINE vf v_float(vi x) { return (vf){(float)x[0], (float)x[1], (float)x[2], (float)x[3]}; }
INLINE vi v_lanes(void) { return (vi){0, 1, 2, 3}; }
#endif

#if defined(__F16C__)
INLINE float f32_of_f16(uint16_t h) { return _cvtsh_ss(h); }
#endif

/* y[j * y_stride + i] = x[i * x_stride + j] for i < rows, j < cols, in 4 x 4 squares of registers. */
typedef float v4 __attribute__((vector_size(16)));
typedef int32_t v4i __attribute__((vector_size(16)));
INLINE void transpose_4x4(const float *x, int64_t x_stride, float *y, int64_t y_stride) {
  v4 r[4], s[4];
  for (int i = 0; i < 4; i++) memcpy(&r[i], x + i * x_stride, sizeof r[i]);
  for (int i = 0; i < 2; i++) { /* interleave rows 2i and 2i + 1 */
    s[2 * i] = __builtin_shuffle(r[2 * i], r[2 * i + 1], (v4i){0, 4, 1, 5});
    s[2 * i + 1] = __builtin_shuffle(r[2 * i], r[2 * i + 1], (v4i){2, 6, 3, 7});
  }
  for (int i = 0; i < 2; i++) {
    r[2 * i] = __builtin_shuffle(s[i], s[i + 2], (v4i){0, 1, 4, 5});
    r[2 * i + 1] = __builtin_shuffle(s[i], s[i + 2], (v4i){2, 3, 6, 7});
  }
  for (int i = 0; i < 4; i++) memcpy(y + i * y_stride, &r[i], sizeof r[i]);
}

INLINE void transpose_f32(const float *x, int64_t x_stride, int64_t rows, int64_t cols, float *y, int64_t y_stride) {
  int64_t i = 0;
  for (; i + 4 <= rows; i += 4) {
    int64_t j = 0;
    for (; j + 4 <= cols; j += 4) transpose_4x4(x + i * x_stride + j, x_stride, y + j * y_stride + i, y_stride);
    for (; j < cols; j++) {
      for (int64_t k = i; k < i + 4; k++) y[j * y_stride + k] = x[k * x_stride + j];
    }
  }
  for (; i < rows; i++) {
    for (int64_t j = 0; j < cols; j++) y[j * y_stride + i] = x[i * x_stride + j];
  }
}

INLINE vf v_zero(void) { return v_set(0.0f); }
INLINE float f32_of_bf16(uint16_t h) { return f32_of_bits((uint32_t)h << 16); }

#endif
