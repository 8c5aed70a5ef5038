// Attention on tensor cores: a block takes 128 queries of one head and walks over tiles of keys with an online softmax.
// Keys and values are first packed to bfloat16, padded to the kernel's head size, so that any head size and alignment runs and
// the walk moves half the bytes. With SPLIT every operand is a sum of two bfloat16 (high and low part) and a product is three.
#include "attention.cuh"
#include "mma.cuh"

#include <cfloat>

namespace {

constexpr float LOG2E = 1.4426950408889634f;
constexpr int64_t PACKED_BYTES = 512 << 20; // sequences are taken together up to this workspace

struct PackArgs {
  const void *src;
  int64_t stride, keys, padded_keys, key_capacity, sequences;
  int heads, dim;
  bf16 *high, *low; // [sequences, heads, padded_keys, D]; low null without SPLIT
};

template <class T, int D, bool ALIGNED> __global__ void __launch_bounds__(256) pack_kernel(PackArgs p) {
  constexpr int PIECES = D / 8;
  const int64_t index = (int64_t)blockIdx.x * 256 + threadIdx.x;
  const int piece = (int)(index % PIECES), head = (int)(index / PIECES % p.heads);
  const int64_t key = index / PIECES / p.heads % p.padded_keys, sequence = index / PIECES / p.heads / p.padded_keys;
  if (sequence >= p.sequences) return;
  float v[8] = {}, rest[8];
  if (key < p.keys) {
    const T *row = static_cast<const T *>(p.src) + (sequence * p.key_capacity + key) * p.stride + (int64_t)head * p.dim;
    if (ALIGNED && piece * 8 + 8 <= p.dim) {
      load<8>(row + piece * 8, v);
    } else {
#pragma unroll
      for (int i = 0; i < 8; i++) v[i] = piece * 8 + i < p.dim ? to_float(row[piece * 8 + i]) : 0;
    }
  }
  const int64_t at = ((sequence * p.heads + head) * p.padded_keys + key) * D + piece * 8;
  store<8>(p.high + at, v);
  if (!p.low) return;
#pragma unroll
  for (int i = 0; i < 8; i++) rest[i] = v[i] - __bfloat162float(__float2bfloat16_rn(v[i]));
  store<8>(p.low + at, rest);
}

struct TileArgs {
  Attention a;
  const bf16 *k[2], *v[2]; // high and low
  int64_t padded_keys, first_sequence;
  bool wide_q, wide; // q may be read four at a time; out written two at a time
};

__device__ inline unsigned shared_address(const void *p) {
  return (unsigned)__cvta_generic_to_shared(p);
}

__device__ inline void copy16(void *shared, const void *global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(shared)), "l"(global));
}
__device__ inline void copies_issued() {
  asm volatile("cp.async.commit_group;");
}
__device__ inline void copies_done() {
  asm volatile("cp.async.wait_group 0;");
}

__device__ inline void matrices(unsigned (&r)[4], const bf16 *p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(p)));
}
__device__ inline void matrices_transposed(unsigned (&r)[4], const bf16 *p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(p)));
}

// 2^x; -infinity gives 0. Two units in the last place, which is all that the product with the values can use.
__device__ inline float power_of_2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ inline float rest(float x) {
  return x - __bfloat162float(__float2bfloat16_rn(x));
}

// cap tanh(x / cap) log2(e), by tanh y = 1 - 2 / (1 + exp(2y)): the error is absolute, and so is what a softmax sees of it.
__device__ inline float soft_capped(float x, float inverse_cap, float cap) {
  return cap * (1 - __fdividef(2, 1 + power_of_2(x * inverse_cap)));
}

// D: padded head size. Each of WARPS warps owns MT tiles of 16 queries. KEYS: keys per step.
template <int D, int WARPS, int MT, int KEYS, bool SPLIT> struct Shape {
  static constexpr int PARTS = SPLIT ? 2 : 1;
  static constexpr int QUERIES = WARPS * MT * 16;
  static constexpr int PITCH = D + 8; // 16 bytes more: the 8 rows of a matrix lie in different banks
  static constexpr int BYTES = PARTS * (QUERIES + 2 * KEYS) * PITCH * (int)sizeof(bf16);
};

template <int D, int WARPS, int MT, int KEYS, bool SPLIT> __global__ void __launch_bounds__(WARPS * 32) tile_kernel(TileArgs t) {
  using S = Shape<D, WARPS, MT, KEYS, SPLIT>;
  constexpr int P = S::PITCH, PARTS = S::PARTS, THREADS = WARPS * 32;
  extern __shared__ __align__(16) bf16 tiles[];
  bf16 *q_tile = tiles;                           // [PARTS, QUERIES, P]
  bf16 *k_tile = q_tile + PARTS * S::QUERIES * P; // [PARTS, KEYS, P]
  bf16 *v_tile = k_tile + PARTS * KEYS * P;

  const Attention &a = t.a;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  // the last queries see the most keys: they start first, so that the short blocks fill the end
  const int64_t q0 = (int64_t)(gridDim.y - 1 - blockIdx.y) * S::QUERIES;
  const int head = blockIdx.x;
  const int64_t packed = (int64_t)blockIdx.z * a.kv_heads + head / a.group, sequence = t.first_sequence + blockIdx.z;
  const int64_t offset = a.keys - a.queries; // position of query 0
  const int64_t last = offset + min(q0 + S::QUERIES, a.queries) - 1;
  const int first_tile = (int)(a.first_key(offset + q0) / KEYS), last_tile = (int)(last / KEYS);

  const auto fetch = [&](bf16 *tile, const bf16 *const(&source)[2], int index) {
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
      const bf16 *from = source[part] + (packed * t.padded_keys + (int64_t)index * KEYS) * D + threadIdx.x * 8;
#pragma unroll
      for (int i = 0; i < (KEYS * D / 8 + THREADS - 1) / THREADS; i++) {
        const int piece = threadIdx.x + i * THREADS;
        if (KEYS * D / 8 % THREADS != 0 && piece >= KEYS * D / 8) break;
        copy16(tile + (part * KEYS + piece / (D / 8)) * P + piece % (D / 8) * 8, from + i * THREADS * 8);
      }
    }
    copies_issued();
  };
  fetch(k_tile, t.k, first_tile);

  // The scale goes into q; without soft-capping so does log2(e), for powers of 2. Several loads are under way at once.
  const float q_scale = a.softcap > 0 ? a.scale : a.scale * LOG2E;
  constexpr int ROUND = 4, PIECES = S::QUERIES * D / 4;
  for (int first = threadIdx.x; first < PIECES; first += ROUND * THREADS) {
    float v[ROUND][4];
#pragma unroll
    for (int i = 0; i < ROUND; i++) {
      const int piece = first + i * THREADS, r = piece / (D / 4), c = piece % (D / 4) * 4;
      const bool there = piece < PIECES && q0 + r < a.queries;
      const float *row = a.q + (sequence * a.queries + q0 + r) * a.q_stride + (int64_t)head * a.dk + c;
      if (t.wide_q) {
        const float4 four = there && c < a.dk ? *reinterpret_cast<const float4 *>(row) : float4{0, 0, 0, 0};
        v[i][0] = four.x, v[i][1] = four.y, v[i][2] = four.z, v[i][3] = four.w;
      } else {
#pragma unroll
        for (int j = 0; j < 4; j++) v[i][j] = there && c + j < a.dk ? row[j] : 0;
      }
    }
#pragma unroll
    for (int i = 0; i < ROUND; i++) {
      const int piece = first + i * THREADS, r = piece / (D / 4), c = piece % (D / 4) * 4;
      if (PIECES % (ROUND * THREADS) != 0 && piece >= PIECES) break;
#pragma unroll
      for (int j = 0; j < 4; j++) v[i][j] *= q_scale;
      *reinterpret_cast<uint2 *>(q_tile + r * P + c) = {bf16_pair(v[i][0], v[i][1]), bf16_pair(v[i][2], v[i][3])};
      if (SPLIT) {
        *reinterpret_cast<uint2 *>(q_tile + (S::QUERIES + r) * P + c) = {bf16_pair(rest(v[i][0]), rest(v[i][1])),
                                                                         bf16_pair(rest(v[i][2]), rest(v[i][3]))};
      }
    }
  }

  float out[MT][D / 8][4] = {};
  float base[MT][2], total[MT][2] = {}; // lowest instead of -infinity: a difference of two must not be a NaN
#pragma unroll
  for (int m = 0; m < MT; m++) base[m][0] = base[m][1] = -FLT_MAX;

  for (int tile = first_tile; tile <= last_tile; tile++) {
    copies_done();
    __syncthreads(); // the keys are there, and nobody reads the values of the last step any more
    fetch(v_tile, t.v, tile);

    float s[MT][KEYS / 8][4] = {};
#pragma unroll
    for (int c = 0; c < D; c += 16) {
      unsigned q[PARTS][MT][4];
#pragma unroll
      for (int part = 0; part < PARTS; part++) {
#pragma unroll
        for (int m = 0; m < MT; m++) {
          matrices(q[part][m], q_tile + (part * S::QUERIES + (warp * MT + m) * 16 + lane % 16) * P + c + lane / 16 * 8);
        }
      }
#pragma unroll
      for (int n = 0; n < KEYS; n += 16) {
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
          unsigned k[4];
          matrices(k, k_tile + (part * KEYS + n + lane % 8 + lane / 16 * 8) * P + c + lane / 8 % 2 * 8);
#pragma unroll
          for (int m = 0; m < MT; m++) {
#pragma unroll
            for (int q_part = 0; q_part < PARTS - part; q_part++) { // low times low is below the rounding
              multiply_bf16(s[m][n / 8], q[q_part][m], k[0], k[1]);
              multiply_bf16(s[m][n / 8 + 1], q[q_part][m], k[2], k[3]);
            }
          }
        }
      }
    }

    const int key0 = tile * KEYS;
    const bool masked = key0 + KEYS - 1 > offset + q0 || (a.window > 0 && key0 < a.first_key(last));
    if (a.softcap > 0) {
      const float inverse_cap = 2 * LOG2E / a.softcap, cap = a.softcap * LOG2E;
#pragma unroll
      for (int m = 0; m < MT; m++) {
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
          for (int i = 0; i < 4; i++) s[m][n][i] = soft_capped(s[m][n][i], inverse_cap, cap);
        }
      }
    }
    float most[MT][2];
#pragma unroll
    for (int m = 0; m < MT; m++) {
      if (masked) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const int position = (int)(offset + q0) + (warp * MT + m) * 16 + lane / 4 + half * 8;
          const int lowest = a.window > 0 ? position - a.window + 1 : 0, key = key0 + lane % 4 * 2;
#pragma unroll
          for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
              if (key + n * 8 + i > position || key + n * 8 + i < lowest) s[m][n][2 * half + i] = -INFINITY;
            }
          }
        }
      }
#pragma unroll
      for (int half = 0; half < 2; half++) { // rows lane / 4 and lane / 4 + 8 of the tile
        float x = fmaxf(s[m][0][2 * half], s[m][0][2 * half + 1]);
#pragma unroll
        for (int n = 1; n < KEYS / 8; n++) x = fmaxf(x, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
        x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
        most[m][half] = fmaxf(x, __shfl_xor_sync(~0u, x, 2));
      }
    }
    // The base of the powers need not be the maximum, only near it: move it, and with it all sums, when it is 2^8 behind.
    bool behind = false;
#pragma unroll
    for (int m = 0; m < MT; m++) behind |= most[m][0] > base[m][0] + 8 || most[m][1] > base[m][1] + 8;
    if (__any_sync(~0u, behind)) {
#pragma unroll
      for (int m = 0; m < MT; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const float raised = fmaxf(base[m][half], most[m][half]), factor = power_of_2(base[m][half] - raised);
          base[m][half] = raised;
          total[m][half] *= factor;
#pragma unroll
          for (int n = 0; n < D / 8; n++) {
            out[m][n][2 * half] *= factor;
            out[m][n][2 * half + 1] *= factor;
          }
        }
      }
    }
#pragma unroll
    for (int m = 0; m < MT; m++) {
#pragma unroll
      for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
          s[m][n][i] = power_of_2(s[m][n][i] - base[m][i / 2]);
          total[m][i / 2] += s[m][n][i];
        }
      }
    }

    copies_done();
    __syncthreads(); // the values are there, and nobody reads the keys any more
    if (tile < last_tile) fetch(k_tile, t.k, tile + 1);

#pragma unroll
    for (int k = 0; k < KEYS; k += 16) {
      unsigned p[PARTS][MT][4];
#pragma unroll
      for (int m = 0; m < MT; m++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const float x = s[m][k / 8 + i / 2][i % 2 * 2], y = s[m][k / 8 + i / 2][i % 2 * 2 + 1];
          p[0][m][i] = bf16_pair(x, y);
          if (SPLIT) p[PARTS - 1][m][i] = bf16_pair(rest(x), rest(y));
        }
      }
#pragma unroll
      for (int n = 0; n < D; n += 16) {
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
          unsigned v[4];
          matrices_transposed(v, v_tile + (part * KEYS + k + lane % 16) * P + n + lane / 16 * 8);
#pragma unroll
          for (int m = 0; m < MT; m++) {
#pragma unroll
            for (int p_part = 0; p_part < PARTS - part; p_part++) {
              multiply_bf16(out[m][n / 8], p[p_part][m], v[0], v[1]);
              multiply_bf16(out[m][n / 8 + 1], p[p_part][m], v[2], v[3]);
            }
          }
        }
      }
    }
  }

#pragma unroll
  for (int m = 0; m < MT; m++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float sum = total[m][half];
      sum += __shfl_xor_sync(~0u, sum, 1);
      sum += __shfl_xor_sync(~0u, sum, 2);
      const int64_t query = q0 + (warp * MT + m) * 16 + lane / 4 + half * 8;
      if (query >= a.queries) continue;
      const float inverse = 1 / sum;
      const int64_t at = (sequence * a.queries + query) * a.out_stride + (int64_t)head * a.dv;
#pragma unroll
      for (int n = 0; n < D / 8; n++) {
        const int c = n * 8 + lane % 4 * 2;
        const float x = out[m][n][2 * half] * inverse, y = out[m][n][2 * half + 1] * inverse;
        if (a.out_bf16) {
          bf16 *target = static_cast<bf16 *>(a.out) + at + c;
          if (t.wide && c + 1 < a.dv) {
            *reinterpret_cast<unsigned *>(target) = bf16_pair(x, y);
          } else {
            if (c < a.dv) target[0] = __float2bfloat16_rn(x);
            if (c + 1 < a.dv) target[1] = __float2bfloat16_rn(y);
          }
        } else {
          float *target = static_cast<float *>(a.out) + at + c;
          if (t.wide && c + 1 < a.dv) {
            *reinterpret_cast<float2 *>(target) = {x, y};
          } else {
            if (c < a.dv) target[0] = x;
            if (c + 1 < a.dv) target[1] = y;
          }
        }
      }
    }
  }
}

template <int D> void pack(mg_context *ctx, const PackArgs &p, bool from_bf16) {
  const int64_t pieces = p.sequences * p.padded_keys * p.heads * (D / 8);
  const unsigned grid = (unsigned)ceil_div(pieces, 256);
  const int element = from_bf16 ? 2 : 4;
  const bool vector =
      reinterpret_cast<uintptr_t>(p.src) % 16 == 0 && p.stride * element % 16 == 0 && (int64_t)p.dim * element % 16 == 0;
  if (from_bf16) {
    vector ? pack_kernel<bf16, D, true><<<grid, 256, 0, ctx->stream>>>(p)
           : pack_kernel<bf16, D, false><<<grid, 256, 0, ctx->stream>>>(p);
  } else {
    vector ? pack_kernel<float, D, true><<<grid, 256, 0, ctx->stream>>>(p)
           : pack_kernel<float, D, false><<<grid, 256, 0, ctx->stream>>>(p);
  }
  launched();
}

template <int D, int WARPS, int MT, int KEYS, bool SPLIT> bool attend(mg_context *ctx, const Attention &a) {
  using S = Shape<D, WARPS, MT, KEYS, SPLIT>;
  if (S::BYTES > ctx->shared_limit) return false;
  auto kernel = tile_kernel<D, WARPS, MT, KEYS, SPLIT>;
  ask_for_shared(kernel, S::BYTES);

  const int64_t padded_keys = ceil_div(a.keys, KEYS) * KEYS;
  const int64_t part = padded_keys * a.kv_heads * D; // elements per sequence
  const int64_t per_sequence = 2 * S::PARTS * part * (int64_t)sizeof(bf16);
  int64_t together = PACKED_BYTES / per_sequence;
  together = together < 1 ? 1 : together < a.batch ? together : a.batch;
  bf16 *workspace = static_cast<bf16 *>(scratch(ctx, together * per_sequence));

  const int element = a.out_bf16 ? 2 : 4;
  const bool wide_q = a.dk % 4 == 0 && a.q_stride % 4 == 0 && reinterpret_cast<uintptr_t>(a.q) % 16 == 0;
  const bool wide = a.dv % 2 == 0 && a.out_stride % 2 == 0 && reinterpret_cast<uintptr_t>(a.out) % (2 * element) == 0;
  for (int64_t first = 0; first < a.batch; first += together) {
    const int64_t sequences = a.batch - first < together ? a.batch - first : together;
    const int64_t block = sequences * part;
    bf16 *low_k = SPLIT ? workspace + 2 * block : nullptr, *low_v = SPLIT ? workspace + 3 * block : nullptr;
    const auto source = [&](const void *data, int64_t stride) -> const void * {
      return static_cast<const char *>(data) + first * a.key_capacity * stride * (a.kv_bf16 ? 2 : 4);
    };
    pack<D>(
        ctx,
        {source(a.k, a.k_stride), a.k_stride, a.keys, padded_keys, a.key_capacity, sequences, a.kv_heads, a.dk, workspace, low_k},
        a.kv_bf16);
    pack<D>(ctx,
            {source(a.v, a.v_stride), a.v_stride, a.keys, padded_keys, a.key_capacity, sequences, a.kv_heads, a.dv,
             workspace + block, low_v},
            a.kv_bf16);
    const TileArgs t{a, {workspace, low_k}, {workspace + block, low_v}, padded_keys, first, wide_q, wide};
    const dim3 grid((unsigned)a.heads, (unsigned)ceil_div(a.queries, S::QUERIES), (unsigned)sequences);
    kernel<<<grid, WARPS * 32, S::BYTES, ctx->stream>>>(t);
    launched();
  }
  return true;
}

} // namespace

// 4 warps of 32 queries were the fastest on an H100; wider heads leave registers for 16.
bool attend_tiled(mg_context *ctx, const Attention &a, bool precise) {
  const int dim = a.dk > a.dv ? a.dk : a.dv;
  if (precise) {
    if (dim <= 64) return attend<64, 4, 2, 32, true>(ctx, a);
    if (dim <= 96) return attend<96, 4, 2, 32, true>(ctx, a);
    if (dim <= 128) return attend<128, 4, 2, 32, true>(ctx, a);
    return dim <= 256 && attend<256, 4, 1, 16, true>(ctx, a);
  }
  if (dim <= 64) return attend<64, 4, 2, 64, false>(ctx, a);
  if (dim <= 96) return attend<96, 4, 2, 64, false>(ctx, a);
  if (dim <= 128) return attend<128, 4, 2, 64, false>(ctx, a);
  return dim <= 256 && attend<256, 4, 1, 32, false>(ctx, a);
}
