/*
 * modegpt.h - the one C ABI of the engine's native libraries, and its specification.
 *
 * Two libraries export exactly these symbols: libmodegpt_cpu and libmodegpt_cuda. Java opens either with dlopen and binds every
 * function by name; a test compares the prototypes below with the binding, so keep one prototype per line group and only the
 * types used here (pointers, int32_t, int64_t, float).
 *
 * Context     mg_context is opaque and is one serial stream of work: calls on one context must not overlap; different contexts
 *             are independent. The CPU library owns a thread pool per context. CUDA calls are asynchronous until mg_sync,
 *             a copy to the host or mg_context_destroy; an error of an earlier launch is reported by the call that meets it.
 * Tensors     Every array is a row-major matrix. `stride` is the distance between rows in elements (>= cols), a vector is a
 *             matrix with one row. Quantised dtypes are whole blocks: cols is a multiple of the block length and
 *             stride == cols. Pointers are borrowed for the duration of the call (until mg_sync on CUDA). Outputs must not
 *             overlap inputs unless the function says "in place".
 * Residence   The CPU library takes host pointers. The CUDA library takes device pointers from mg_alloc everywhere, except
 *             mg_copy, which takes both. Memory may be used on another context of its device after an mg_wait or mg_sync.
 *             mg_copy returns before it has read memory of mg_host_alloc: leave that unchanged until mg_sync.
 * Checks      Every function checks dtypes and that shapes agree, and returns MG_EINVAL with a sentence in mg_last_error. It
 *             cannot check that a pointer is valid for the stated shape: the caller must (the Java binding does). Ids in a
 *             tensor (embed, nll, gather, scatter, spans of attention) are checked too; CUDA reports a bad one from the next call that waits.
 * bfloat16    Where a comment says "F32*", the CUDA library also takes BF16; the CPU library need not (MG_EUNSUPPORTED).
 * Zero sizes  A call with zero rows or zero columns is valid and does nothing.
 * Arithmetic  Activations are float32 and sums inside a kernel are float32 unless stated; statistics (gram, energies,
 *             influence, nll sums) accumulate in float64. Results do not depend on the number of threads.
 * Dispatch    The CPU library picks the best of: avx512bf16 > avx512 > avx2 > generic at mg_context_create; the argument
 *             `isa` (or, when NULL or empty, the environment variable MODEGPT_ISA) caps the choice. Asking for one the CPU
 *             or the operating system lacks is MG_EUNSUPPORTED.
 * Threads     `threads` = 0 takes MODEGPT_NUM_THREADS, else the number of CPUs the process may run on. The CUDA library
 *             ignores it.
 */
#ifndef MODEGPT_H
#define MODEGPT_H

#include <stdint.h>

#if defined(_WIN32)
#define MG_API __declspec(dllexport)
#else
#define MG_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define MG_ABI_VERSION 4

typedef struct mg_context mg_context;

typedef enum {
  MG_OK = 0,
  MG_EINVAL = 1,       /* bad argument: shape, dtype, id out of range */
  MG_EUNSUPPORTED = 2, /* valid, but not on this device or build */
  MG_ENOMEM = 3,       /* host or device memory exhausted */
  MG_EDEVICE = 4       /* the device or its driver failed */
} mg_status;

/* Numbers are stable. From 16 on: GGUF block formats (block length, bytes per block). */
typedef enum {
  MG_F32 = 0,
  MG_F64 = 1,
  MG_BF16 = 2,
  MG_F16 = 3,
  MG_I32 = 4,
  MG_Q4_0 = 16, /* 32, 18 */
  MG_Q4_1 = 17, /* 32, 20 */
  MG_Q5_0 = 18, /* 32, 22 */
  MG_Q5_1 = 19, /* 32, 24 */
  MG_Q8_0 = 20, /* 32, 34 */
  MG_Q4_K = 21, /* 256, 144 */
  MG_Q5_K = 22, /* 256, 176 */
  MG_Q6_K = 23  /* 256, 210 */
} mg_dtype;

/*
 * MG_PRECISE: products inside a kernel have about float32's accuracy. MG_FAST allows bfloat16 operands with float32 sums where
 * that is faster: relative errors of 1e-3 to 1e-2.
 */
typedef enum { MG_PRECISE = 0, MG_FAST = 1 } mg_precision;

typedef enum { MG_SILU = 0, MG_GELU = 1, MG_GELU_TANH = 2, MG_RELU = 3, MG_IDENTITY = 4 } mg_act;

/* 40 bytes. `reserved` is zero. */
typedef struct {
  void *data;
  int64_t rows;
  int64_t cols;
  int64_t stride;
  int32_t dtype;
  int32_t reserved;
} mg_tensor;

/*
 * Attention over `batch` sequences. Rows of q and out: batch * queries. Rows of k and v: batch * key_capacity, of which the
 * first `keys` of each sequence are valid. Query i of a sequence stands at key position keys - queries + i and sees the keys
 * up to its own position; with window > 0 only the last `window` of them. q has heads * dk columns, k kv_heads * dk,
 * v kv_heads * dv, out heads * dv; query head j reads key/value head j / (heads / kv_heads). softcap > 0: logits become
 * softcap * tanh(logit / softcap) after scaling. 56 bytes.
 */
typedef struct {
  int64_t batch;
  int64_t queries;
  int64_t keys;
  int64_t key_capacity;
  int32_t heads;
  int32_t kv_heads;
  int32_t window;
  int32_t reserved;
  float scale;
  float softcap;
} mg_attention_params;

/* ---- library and context ------------------------------------------------------------------------------------------- */

MG_API int32_t mg_abi_version(void);

/* Number of devices this library can use: 1 on the CPU; on CUDA 0 when there is no driver or card. */
MG_API int32_t mg_device_count(void);

/* On failure *out is NULL and mg_last_error(NULL) holds the reason (per thread). */
MG_API int32_t mg_context_create(int32_t device, int32_t threads, const char *isa, mg_context **out);
MG_API void mg_context_destroy(mg_context *ctx);

/* Reason of the last failed call on ctx; never NULL; valid until the next call on ctx. */
MG_API const char *mg_last_error(mg_context *ctx);

/* One line for people, e.g. "avx512bf16, 4 threads" or "NVIDIA H100, sm_90, 78.2 GiB"; NUL-terminated within `size`. */
MG_API int32_t mg_describe(mg_context *ctx, char *text, int64_t size);

/* 64-byte aligned; device memory on CUDA. Contents are undefined. mg_free(ctx, NULL) does nothing. */
MG_API int32_t mg_alloc(mg_context *ctx, int64_t bytes, void **out);
MG_API int32_t mg_free(mg_context *ctx, void *data);

/* kind: 0 host to device, 1 device to host, 2 device to device. On the CPU all three are memcpy. Device to host waits. */
MG_API int32_t mg_copy(mg_context *ctx, void *dst, const void *src, int64_t bytes, int32_t kind);
MG_API int32_t mg_fill_zero(mg_context *ctx, mg_tensor *x);
MG_API int32_t mg_sync(mg_context *ctx);

/* Host memory that copies to the device can read while the host goes on (pinned on CUDA); 64-byte aligned. */
MG_API int32_t mg_host_alloc(mg_context *ctx, int64_t bytes, void **out);
MG_API int32_t mg_host_free(mg_context *ctx, void *data);

/* Bytes that mg_alloc can still give, and that the device (or machine) has. */
MG_API int32_t mg_memory(mg_context *ctx, int64_t *free_bytes, int64_t *total_bytes);

/* The CUstream on which ctx works, for libraries that must work in the same order; NULL on the CPU. */
MG_API int32_t mg_stream(mg_context *ctx, void **out);

/*
 * What ctx does from now on starts after all that was asked of `other` so far; neither call nor host waits. For two contexts of
 * one device: upload on one while the other computes. On the CPU everything asked is done, so this does nothing.
 */
MG_API int32_t mg_wait(mg_context *ctx, mg_context *other);

/* An mg_precision, from the next call on; MG_PRECISE at first. It concerns mg_attention on CUDA. */
MG_API int32_t mg_set_precision(mg_context *ctx, int32_t precision);

/* ---- element-wise and row-wise ------------------------------------------------------------------------------------- */

/*
 * dst = src converted; same rows and cols. From any dtype but I32 to F32, F64, BF16 or F16, rounding to nearest even; a NaN stays a
 * NaN. The CPU library also to Q8_0 and Q4_0, with llama.cpp's rounding (no importance matrix); a block with an element that is not
 * finite becomes NaN.
 */
MG_API int32_t mg_cast(mg_context *ctx, const mg_tensor *src, mg_tensor *dst);

/* dst[j, i] = src[i, j]; F32 or F64, same dtype. */
MG_API int32_t mg_transpose(mg_context *ctx, const mg_tensor *src, mg_tensor *dst);

/* *bad = number of NaN or infinite elements of x (F32, F64, BF16, F16, or quantised scales). Waits. */
MG_API int32_t mg_count_nonfinite(mg_context *ctx, const mg_tensor *x, int64_t *bad);

/* out[i] = table[ids[i]] as F32; ids is I32 [1, N]; table any dtype but I32. An id outside the table is MG_EINVAL. */
MG_API int32_t mg_embed(mg_context *ctx, const mg_tensor *table, const mg_tensor *ids, mg_tensor *out);

/* y = x / sqrt(mean(x^2) + eps) * w per row; x F32, y F32*, w F32 [1, d] or NULL. In place allowed. */
MG_API int32_t mg_rms_norm(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, float eps, mg_tensor *y);

/* y = (x - mean) / sqrt(var + eps) * w + b per row; x F32, y F32*, w, b F32 [1, d] or NULL. In place allowed. */
MG_API int32_t mg_layer_norm(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, const mg_tensor *b, float eps, mg_tensor *y);

/*
 * Rotary embedding in place on x [N, heads * dim], rotate-half layout. freqs F32 [F, P] holds angles per position, F a divisor of
 * heads: head j uses row j / (heads / F); columns t and t + P of the head (t < P, 2P <= dim) turn by
 * positions[i] * freqs[row, t]; columns from 2P on pass. positions I32 [1, N]. The angle is reduced in float64.
 */
MG_API int32_t mg_rope(mg_context *ctx, mg_tensor *x, const mg_tensor *positions, const mg_tensor *freqs, int32_t heads);

/*
 * Tiled, online softmax; never materialises queries x keys. q F32, k and v F32* (the same), out F32*. With spans, I32 [2, batch]
 * or NULL, every sequence has a number of keys of its own, as in a cache of sequences of different lengths: sequence b has the
 * spans[1, b] rows of k and v from row spans[0, b] on. Then queries <= spans[1, b] <= keys, k and v have any number of rows, and
 * key_capacity is not used.
 */
MG_API int32_t mg_attention(mg_context *ctx, const mg_tensor *q, const mg_tensor *k, const mg_tensor *v, const mg_attention_params *params, const mg_tensor *spans, mg_tensor *out);

/* y = act(gate) * up, element-wise; gate and up F32* (the same), y F32*. In place (y == gate or y == up) allowed. */
MG_API int32_t mg_gated_activation(mg_context *ctx, const mg_tensor *gate, const mg_tensor *up, int32_t act, mg_tensor *y);

/* x = act(x) in place. */
MG_API int32_t mg_activation(mg_context *ctx, mg_tensor *x, int32_t act);

/* y += alpha * x; F32 or F64; x either has y's shape or one row, which is then added to every row (a bias). */
MG_API int32_t mg_add(mg_context *ctx, float alpha, const mg_tensor *x, mg_tensor *y);

/* x[i, j] = x[i, j] * alpha, then, with softcap > 0, softcap * tanh(x / softcap). */
MG_API int32_t mg_scale(mg_context *ctx, float alpha, float softcap, mg_tensor *x);

/* y[:, j] = x[:, index[j]]; index I32 [1, cols of y]; F32 or F64. */
MG_API int32_t mg_gather_columns(mg_context *ctx, const mg_tensor *x, const mg_tensor *index, mg_tensor *y);

/* y[i] = x[index[i]], whole rows; index I32 [1, rows of y]; any dtype, the same. */
MG_API int32_t mg_gather_rows(mg_context *ctx, const mg_tensor *x, const mg_tensor *index, mg_tensor *y);

/* y[index[i]] = x[i], whole rows; the other rows of y stay. index I32 [1, rows of x], no row twice; any dtype, the same. */
MG_API int32_t mg_scatter_rows(mg_context *ctx, const mg_tensor *x, const mg_tensor *index, mg_tensor *y);

/* Square x, F32 or F64, in place: above the diagonal it becomes zero or, with mirror != 0, what stands below it. */
MG_API int32_t mg_triangle(mg_context *ctx, mg_tensor *x, int32_t mirror);

/* ---- products the BLAS is not made for ----------------------------------------------------------------------------- */

/*
 * y[i] = x w[i]ᵀ (+ bias[i]) for i < count <= MG_LINEAR_MOST, matrices that read the same x: x F32* [N, in], w[i] [out, in] of any
 * dtype but F64 and I32 read once from memory, bias[i] F32 [1, out], without data where there is none, bias NULL where there is
 * none at all, y[i] F32 [N, out]. Meant for few rows (decoding), where the time is the reading of w; correct for any N.
 */
#define MG_LINEAR_MOST 3
MG_API int32_t mg_linear(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, const mg_tensor *bias, mg_tensor *y, int32_t count);

/* ---- losses -------------------------------------------------------------------------------------------------------- */

/*
 * Fused log-softmax and negative log-likelihood: nll[i] = logsumexp(logits[i]) - logits[i, targets[i]]; targets I32 [1, N], a
 * negative target gives 0; nll F64 [1, N]. argmax I32 [1, N] or NULL receives the index of the largest logit (lowest on ties).
 */
MG_API int32_t mg_nll(mg_context *ctx, const mg_tensor *logits, const mg_tensor *targets, mg_tensor *nll, mg_tensor *argmax);

/* kl[i] = KL(softmax(p[i]) || softmax(q[i])); p, q F32 [N, V]; kl F64 [1, N]. */
MG_API int32_t mg_kl_divergence(mg_context *ctx, const mg_tensor *p, const mg_tensor *q, mg_tensor *kl);

/* ---- gradients: what a loss with the gradient dy (dout) at an operation's output has at its inputs; all F32 --------------- */

/* Of mg_rms_norm and mg_layer_norm at x; w F32 [1, d] or NULL. dx may be dy. */
MG_API int32_t mg_rms_norm_backward(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, float eps, const mg_tensor *dy, mg_tensor *dx);
MG_API int32_t mg_layer_norm_backward(mg_context *ctx, const mg_tensor *x, const mg_tensor *w, float eps, const mg_tensor *dy, mg_tensor *dx);

/* Of mg_gated_activation at gate and up, or, with up and dup NULL, of mg_activation at gate. dgate may be gate, dup may be up. */
MG_API int32_t mg_activation_backward(mg_context *ctx, const mg_tensor *gate, const mg_tensor *up, int32_t act, const mg_tensor *dy, mg_tensor *dgate, mg_tensor *dup);

/* Of mg_attention without spans over whole sequences (queries = keys = key_capacity) at q, k and v. */
MG_API int32_t mg_attention_backward(mg_context *ctx, const mg_tensor *q, const mg_tensor *k, const mg_tensor *v, const mg_attention_params *params, const mg_tensor *dout, mg_tensor *dq, mg_tensor *dk, mg_tensor *dv);

/*
 * Draws ids[i] from softmax(logits[i]) and replaces the row by the gradient of its negative log-likelihood, softmax(logits[i]) less
 * 1 at ids[i]. ids[i] is the first index whose cumulated probability exceeds uniforms[i], in [0, 1), else the last. With
 * softcap > 0 the logits are those after softcap * tanh(z / softcap), and the gradient is that at z. uniforms F32 [1, N], ids I32 [1, N].
 */
MG_API int32_t mg_sampled_gradient(mg_context *ctx, mg_tensor *logits, float softcap, const mg_tensor *uniforms, mg_tensor *ids);

/* ---- statistics: all add to their output, which is F64 --------------------------------------------------------------- */

/* c += xᵀ x, x F32 [N, n], c [n, n]: the lower triangle only; what is above the diagonal is not touched. */
MG_API int32_t mg_gram(mg_context *ctx, const mg_tensor *x, mg_tensor *c);

/*
 * c += x, x F32 [n, m], c [n, m]; with lower != 0 (n = m) the lower triangle only, nothing above it is read or written. Adds
 * what a float32 product of a chunk of tokens gave to the float64 statistics.
 */
MG_API int32_t mg_accumulate(mg_context *ctx, const mg_tensor *x, int32_t lower, mg_tensor *c);

/* c += xᵀ y, x F32 [N, n], y F32 [N, m], c [n, m]. */
MG_API int32_t mg_cross_gram(mg_context *ctx, const mg_tensor *x, const mg_tensor *y, mg_tensor *c);

/* Per head: c[j*h : (j+1)*h, :] += x_jᵀ x_j, x F32 [N, heads * h], c [heads * h, h], both triangles. */
MG_API int32_t mg_head_gram(mg_context *ctx, const mg_tensor *x, int32_t heads, mg_tensor *c);

/* e += column sums of x²; x F32 or F64 [N, n], e [1, n]. */
MG_API int32_t mg_column_energy(mg_context *ctx, const mg_tensor *x, mg_tensor *e);

/*
 * How the rotary pairs of one sequence share in its attention logits: q F32 [T, heads * h], k F32 [T, kv_heads * h] after the
 * rotary embedding (rotate-half, pair p is columns p and p + h/2), queries I32 [1, M] positions below T. For query m of head j,
 * with the causal softmax weights a_n of its logits scale * q_m k_n, key n has the features
 * re_p = scale (q_p k_p + q_p' k_p') and im_p = scale (q_p k_p' - q_p' k_p), p' = p + h/2, together f_n = (re, im); then
 * c[j*h : (j+1)*h, :] += sum over m and n of a_n (f_n - mean)(f_n - mean)ᵀ, mean the a-weighted mean of f. c [heads * h, h].
 * Keys with a_n < 1e-7 may be left out.
 */
MG_API int32_t mg_logit_covariance(mg_context *ctx, const mg_tensor *q, const mg_tensor *k, const mg_tensor *queries, int32_t heads, int32_t kv_heads, float scale, mg_tensor *c);

/* acc[0] += sum over rows of cos(x_i, y_i), acc[1] += sum of |y_i - x_i|² / |x_i|², acc[2] += rows; acc [1, 3]. */
MG_API int32_t mg_block_influence(mg_context *ctx, const mg_tensor *x, const mg_tensor *y, mg_tensor *acc);

/* ---- elimination --------------------------------------------------------------------------------------------------- */

/*
 * Steps of the optimal brain surgeon on n units. p and k, F64 [n, n], both triangles, are P (the inverse of the regularised Gram
 * matrix) and K = W Wᵀ as they stood before the first step; they are not changed. Each step takes the unit i of least
 * max(0, K_ii) / P_ii among those with gone[i] == 0 (the lowest on ties), sets gone[i] = 1, and stores i in pivots[s] and the
 * quotient in costs[s]; with P e_i and K e_i as they stand then, u = P e_i, a = u / P_ii, kappa = K e_i, c = kappa - a K_ii, and
 * from then on P is P - a uᵀ and K is K - a kappaᵀ - c aᵀ. panel, F64 [4 S, n] for S steps, receives the rows c of all steps,
 * then a, then kappa, then u: afterwards P -= aᵀ u and K -= [c; a]ᵀ [a; kappa]. gone I32 [1, n], pivots I32 [1, S],
 * costs F64 [1, S]. MG_EINVAL on the CPU when fewer than S units are left; on CUDA pivots are then -1.
 */
MG_API int32_t mg_brain_surgeon(mg_context *ctx, const mg_tensor *p, const mg_tensor *k, mg_tensor *gone, mg_tensor *panel, mg_tensor *pivots, mg_tensor *costs);

/* ---- decompositions ------------------------------------------------------------------------------------------------ */

/*
 * Thin singular value decompositions of b square matrices below each other, a [b * n, n] = u diag(s) vt each: u and vt [b * n, n],
 * s [b, n] descending; F64. A row of vt whose singular value is 0 is 0. n at most 256. CUDA only; the CPU has LAPACK.
 */
MG_API int32_t mg_svd_batch(mg_context *ctx, const mg_tensor *a, mg_tensor *u, mg_tensor *s, mg_tensor *vt);

/*
 * Cholesky factors of b symmetric matrices below each other and the inverses of the factors: of a [b * n, n] the lower triangles are
 * read and become L, the upper ones 0; inverse [b * n, n] lower too; F64. failed I32 [1, b] is 0, or the order of the first leading
 * minor that is not positive and finite: what the other outputs hold of that matrix is undefined. n at most 256. CUDA only.
 */
MG_API int32_t mg_cholesky_batch(mg_context *ctx, mg_tensor *a, mg_tensor *inverse, mg_tensor *failed);

#ifdef __cplusplus
}
#endif

#endif /* MODEGPT_H */
