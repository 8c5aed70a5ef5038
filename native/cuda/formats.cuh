// Reading eight consecutive elements of any stored format as float32. The block formats are those of GGUF.
#pragma once

#include "common.cuh"

__device__ inline float half_at(const uint8_t *p) {
  return __half2float(*reinterpret_cast<const f16 *>(p));
}

// Formats with one element per position; ALIGNED promises that pieces of 8 start on 16 bytes (or their size).
template <class T> struct Plain {
  static constexpr bool quantised = false;
  template <bool ALIGNED> static __device__ inline void load8(const uint8_t *row, int64_t col, int count, float (&v)[8]) {
    const T *p = reinterpret_cast<const T *>(row) + col;
    if (ALIGNED && count == 8) {
      load<8>(p, v);
    } else {
#pragma unroll
      for (int i = 0; i < 8; i++) v[i] = i < count ? to_float(p[i]) : 0;
    }
  }
};

// For block formats LENGTH divides every row, so a piece of 8 is whole and lies inside one block. `at` is its place there.
template <class Block> struct Quantised {
  static constexpr bool quantised = true;
  template <bool ALIGNED> static __device__ inline void load8(const uint8_t *row, int64_t col, int, float (&v)[8]) {
    Block::decode(row + col / Block::length * Block::bytes, (int)(col % Block::length), v);
  }
};

// Eight bytes as two words. Blocks start on the largest power of two that divides their size, so ALIGN is known.
template <int ALIGN> __device__ inline uint2 bytes_at(const uint8_t *p) {
  if (ALIGN >= 8) return *reinterpret_cast<const uint2 *>(p);
  if (ALIGN == 4) return {*reinterpret_cast<const uint32_t *>(p), *reinterpret_cast<const uint32_t *>(p + 4)};
  const uint16_t *h = reinterpret_cast<const uint16_t *>(p);
  return {h[0] | (uint32_t)h[1] << 16, h[2] | (uint32_t)h[3] << 16};
}
__device__ inline uint32_t byte_of(uint2 bytes, int i) {
  return (i < 4 ? bytes.x : bytes.y) >> i % 4 * 8;
}

// An integer below 2^23, less `offset`, as float: placed in the mantissa of 2^23, because conversions are slow.
__device__ inline float number(uint32_t n, float offset = 0) {
  return __uint_as_float(0x4B000000 | n) - (8388608.0f + offset);
}

// 32 elements: d, then 16 bytes of two 4-bit values (elements i and i + 16).
//   Q4_0: d (q - 8)            Q4_1: d q + m, m after d
//   Q5_0: d (q - 16)           Q5_1: d q + m; fifth bits of all elements in one word before the 4-bit values
template <bool MINIMUM, bool FIVE> struct Nibbles {
  static constexpr int values_at = (MINIMUM ? 4 : 2) + (FIVE ? 4 : 0);
  static constexpr int length = 32, bytes = values_at + 16, align = bytes & -bytes, scales_at = 0, scales = MINIMUM ? 2 : 1;
  static __device__ inline void decode(const uint8_t *block, int at, float (&v)[8]) {
    const float d = half_at(block), m = MINIMUM ? half_at(block + 2) : 0;
    const uint2 q = bytes_at<align>(block + values_at + at % 16);
    const uint16_t *fifth = reinterpret_cast<const uint16_t *>(block + values_at - 4);
    const uint32_t high = FIVE ? (fifth[0] | (uint32_t)fifth[1] << 16) >> at : 0;
    const int shift = at / 16 * 4;
#pragma unroll
    for (int i = 0; i < 8; i++) {
      const float n = number((byte_of(q, i) >> shift & 15) | (high >> i & 1) << 4, MINIMUM ? 0 : FIVE ? 16 : 8);
      v[i] = MINIMUM ? d * n + m : d * n;
    }
  }
};
using Q4_0 = Nibbles<false, false>;
using Q4_1 = Nibbles<true, false>;
using Q5_0 = Nibbles<false, true>;
using Q5_1 = Nibbles<true, true>;

// 32 signed bytes.
struct Q8_0 {
  static constexpr int length = 32, bytes = 34, align = 2, scales_at = 0, scales = 1;
  static __device__ inline void decode(const uint8_t *block, int at, float (&v)[8]) {
    const float d = half_at(block);
    uint2 q = bytes_at<align>(block + 2 + at);
    q.x ^= 0x80808080; // adds 128
    q.y ^= 0x80808080;
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = d * number(byte_of(q, i) & 255, 128);
  }
};

// Scale and minimum, 6 bits each, of sub-block j of 8: 12 bytes hold the low parts and, for j >= 4, split high bits.
__device__ inline uint2 scale_and_min(const uint8_t *s, int j) {
  if (j < 4) return {s[j] & 63u, s[j + 4] & 63u};
  return {(s[j + 4] & 15u) | (s[j - 4] >> 6) << 4, (uint32_t)(s[j + 4] >> 4) | (s[j] >> 6) << 4};
}

// 256 elements: d, dmin, 12 bytes of scales, for Q5_K 32 bytes of fifth bits (byte l holds those of element l of every
// sub-block), 4 x 32 bytes of two 4-bit values (sub-blocks 2i and 2i + 1). Element: d scale q - dmin minimum.
template <bool FIVE> struct SuperBlock {
  static constexpr int values_at = FIVE ? 48 : 16;
  static constexpr int length = 256, bytes = values_at + 128, align = 16, scales_at = 0, scales = 2;
  static __device__ inline void decode(const uint8_t *block, int at, float (&v)[8]) {
    const int sub = at / 32;
    const uint2 of_sub = scale_and_min(block + 4, sub);
    const float d = half_at(block) * number(of_sub.x), m = half_at(block + 2) * number(of_sub.y);
    const uint2 q = bytes_at<8>(block + values_at + at / 64 * 32 + at % 32);
    const uint2 high = FIVE ? bytes_at<8>(block + 16 + at % 32) : uint2{0, 0};
    const int shift = sub % 2 * 4;
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = d * number((byte_of(q, i) >> shift & 15) | (byte_of(high, i) >> sub & 1) << 4) - m;
  }
};
using Q4_K = SuperBlock<false>;
using Q5_K = SuperBlock<true>;

// Two halves of 128: 64 bytes of low nibbles, 32 of high bit pairs, 8 signed scales of 16 elements; d comes last.
struct Q6_K {
  static constexpr int length = 256, bytes = 210, align = 2, scales_at = 208, scales = 1;
  static __device__ inline void decode(const uint8_t *block, int at, float (&v)[8]) {
    const int half = at / 128, quarter = at % 128 / 32, l = at % 32;
    const uint2 low = bytes_at<align>(block + half * 64 + quarter % 2 * 32 + l),
                high = bytes_at<align>(block + 128 + half * 32 + l);
    const float d = half_at(block + 208) * number(block[192 + at / 16] ^ 0x80u, 128);
    const int shift = quarter / 2 * 4;
#pragma unroll
    for (int i = 0; i < 8; i++) {
      v[i] = d * number((byte_of(low, i) >> shift & 15) | (byte_of(high, i) >> 2 * quarter & 3) << 4, 32);
    }
  }
};

// Calls f with the format of dtype: f(Format()).
template <class F> void with_format(int32_t dtype, F &&f) {
  switch (dtype) {
  case MG_F32:
    return f(Plain<float>());
  case MG_F64:
    return f(Plain<double>());
  case MG_BF16:
    return f(Plain<bf16>());
  case MG_F16:
    return f(Plain<f16>());
  case MG_Q4_0:
    return f(Quantised<Q4_0>());
  case MG_Q4_1:
    return f(Quantised<Q4_1>());
  case MG_Q5_0:
    return f(Quantised<Q5_0>());
  case MG_Q5_1:
    return f(Quantised<Q5_1>());
  case MG_Q8_0:
    return f(Quantised<Q8_0>());
  case MG_Q4_K:
    return f(Quantised<Q4_K>());
  case MG_Q5_K:
    return f(Quantised<Q5_K>());
  case MG_Q6_K:
    return f(Quantised<Q6_K>());
  default:
    fail(MG_EINVAL, "dtype %d is not stored numbers", dtype);
  }
}

// Bytes from row to row.
inline int64_t pitch(const mg_tensor *x) {
  const BlockShape shape = block_shape(x->dtype);
  return (is_quantised(x->dtype) ? x->cols : x->stride) / shape.length * shape.bytes;
}

#define MG_STORED MG_F32, MG_F64, MG_BF16, MG_F16, MG_Q4_0, MG_Q4_1, MG_Q5_0, MG_Q5_1, MG_Q8_0, MG_Q4_K, MG_Q5_K, MG_Q6_K
