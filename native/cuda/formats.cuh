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

// 32 elements: d, 16 bytes of two 4-bit values (elements i and i + 16), minus 8.
struct Q4_0 {
  static constexpr int length = 32, bytes = 18, scales_at = 0, scales = 1;
  static __device__ inline void decode(const uint8_t *block, int at, float (&v)[8]) {
    const float d = half_at(block);
    const uint8_t *q = block + 2 + at % 16;
    const int shift = at / 16 * 4;
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = d * (float)((q[i] >> shift & 15) - 8);
  }
};

// The same with a minimum m instead of the fixed offset.
struct Q4_1 {
  static constexpr int length = 32, bytes = 20, scales_at = 0, scales = 2;
  static __device__ inline void decode(const uint8_t *block, int at, float (&v)[8]) {
    const float d = half_at(block), m = half_at(block + 2);
    const uint8_t *q = block + 4 + at % 16;
    const int shift = at / 16 * 4;
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = d * (float)(q[i] >> shift & 15) + m;
  }
};

__device__ inline uint32_t word_at(const uint8_t *p) {
  const uint16_t *h = reinterpret_cast<const uint16_t *>(p);
  return h[0] | (uint32_t)h[1] << 16;
}

// Fifth bits of all 32 elements in one word.
struct Q5_0 {
  static constexpr int length = 32, bytes = 22, scales_at = 0, scales = 1;
  static __device__ inline void decode(const uint8_t *block, int at, float (&v)[8]) {
    const float d = half_at(block);
    const uint32_t high = word_at(block + 2) >> at;
    const uint8_t *q = block + 6 + at % 16;
    const int shift = at / 16 * 4;
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = d * (float)((int)((q[i] >> shift & 15) | (high >> i & 1) << 4) - 16);
  }
};

struct Q5_1 {
  static constexpr int length = 32, bytes = 24, scales_at = 0, scales = 2;
  static __device__ inline void decode(const uint8_t *block, int at, float (&v)[8]) {
    const float d = half_at(block), m = half_at(block + 2);
    const uint32_t high = word_at(block + 4) >> at;
    const uint8_t *q = block + 8 + at % 16;
    const int shift = at / 16 * 4;
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = d * (float)((q[i] >> shift & 15) | (high >> i & 1) << 4) + m;
  }
};

struct Q8_0 {
  static constexpr int length = 32, bytes = 34, scales_at = 0, scales = 1;
  static __device__ inline void decode(const uint8_t *block, int at, float (&v)[8]) {
    const float d = half_at(block);
    const uint16_t *q = reinterpret_cast<const uint16_t *>(block + 2 + at);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      v[2 * i] = d * (float)(int8_t)(q[i] & 255);
      v[2 * i + 1] = d * (float)(int8_t)(q[i] >> 8);
    }
  }
};

// Scale and minimum, 6 bits each, of sub-block j of 8: 12 bytes hold the low parts and, for j >= 4, split high bits.
__device__ inline void scale_and_min(const uint8_t *s, int j, int &scale, int &minimum) {
  if (j < 4) {
    scale = s[j] & 63;
    minimum = s[j + 4] & 63;
  } else {
    scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
    minimum = s[j + 4] >> 4 | s[j] >> 6 << 4;
  }
}

// 256 elements: d, dmin, 12 bytes of scales, 4 x 32 bytes of two 4-bit values (sub-blocks 2i and 2i + 1).
struct Q4_K {
  static constexpr int length = 256, bytes = 144, scales_at = 0, scales = 2;
  static __device__ inline void decode(const uint8_t *block, int at, float (&v)[8]) {
    int scale, minimum;
    scale_and_min(block + 4, at / 32, scale, minimum);
    const float d = half_at(block) * scale, m = half_at(block + 2) * minimum;
    const uint8_t *q = block + 16 + at / 64 * 32 + at % 32;
    const int shift = at / 32 % 2 * 4;
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = d * (float)(q[i] >> shift & 15) - m;
  }
};

// The same with fifth bits: byte l of 32 holds those of element l of every sub-block.
struct Q5_K {
  static constexpr int length = 256, bytes = 176, scales_at = 0, scales = 2;
  static __device__ inline void decode(const uint8_t *block, int at, float (&v)[8]) {
    int scale, minimum;
    scale_and_min(block + 4, at / 32, scale, minimum);
    const float d = half_at(block) * scale, m = half_at(block + 2) * minimum;
    const uint8_t *high = block + 16 + at % 32, *q = block + 48 + at / 64 * 32 + at % 32;
    const int shift = at / 32 % 2 * 4;
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = d * (float)((q[i] >> shift & 15) | (high[i] >> at / 32 & 1) << 4) - m;
  }
};

// Two halves of 128: 64 bytes of low nibbles, 32 of high bit pairs, 8 signed scales of 16 elements; d comes last.
struct Q6_K {
  static constexpr int length = 256, bytes = 210, scales_at = 208, scales = 1;
  static __device__ inline void decode(const uint8_t *block, int at, float (&v)[8]) {
    const int half = at / 128, quarter = at % 128 / 32, l = at % 32;
    const uint8_t *low = block + half * 64 + quarter % 2 * 32 + l, *high = block + 128 + half * 32 + l;
    const float d = half_at(block + 208) * (float)(int8_t)block[192 + at / 16];
    const int shift = quarter / 2 * 4;
#pragma unroll
    for (int i = 0; i < 8; i++) {
      v[i] = d * (float)((int)((low[i] >> shift & 15) | (high[i] >> 2 * quarter & 3) << 4) - 32);
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
