// The two ways to compute attention, chosen in attention.cu.
#pragma once

#include "common.cuh"

struct Attention {
  const float *q;
  const void *k, *v;
  void *out;
  int64_t q_stride, k_stride, v_stride, out_stride;
  int64_t batch, queries, keys, key_capacity;
  int heads, kv_heads, group; // group: query heads per key/value head
  int dk, dv;
  int window;
  float scale, softcap;
  bool kv_bf16, out_bf16;
  const int32_t *first_rows, *counts; // of each sequence's keys, on the device; null where they follow from the above
  int64_t key_rows;

  // The keys [first, last) that the query at position p sees.
  __host__ __device__ int64_t first_key(int64_t p) const { return window > 0 && p - window + 1 > 0 ? p - window + 1 : 0; }
};

// Float32 arithmetic, any shape; reads the keys once for up to 8 rows of q. For decoding. The one that knows spans.
void attend_few(mg_context *ctx, const Attention &a);

// Tensor cores, tiles of 128 queries. False if no kernel fits the head size or the device; nothing is done then.
// bfloat16 operands; in MG_PRECISE each is split in a high and a low part, which gives 16 bits.
bool attend_tiled(mg_context *ctx, const Attention &a, bool precise);
