/*
 * The kernels and what they are told. Each file of this folder is compiled once per instruction set; a kernel is a loop body
 * over rows or tasks (pool.h), gets arguments that ops/ has checked, and computes the same whatever the chunk bounds are.
 */
#ifndef MG_KERNELS_H
#define MG_KERNELS_H

#include "caps.h"
#include "modegpt.h"
#include "pool.h"

#include <stdbool.h>
#include <stddef.h>

/* Elements and bytes of the smallest unit of a dtype. */
typedef struct {
  int length, bytes;
} mg_block;

static inline mg_block mg_block_of(int32_t dtype) {
  switch (dtype) {
  case MG_F64:
    return (mg_block){1, 8};
  case MG_BF16:
  case MG_F16:
    return (mg_block){1, 2};
  case MG_Q4_0:
    return (mg_block){32, 18};
  case MG_Q4_1:
    return (mg_block){32, 20};
  case MG_Q5_0:
    return (mg_block){32, 22};
  case MG_Q5_1:
    return (mg_block){32, 24};
  case MG_Q8_0:
    return (mg_block){32, 34};
  case MG_Q4_K:
    return (mg_block){256, 144};
  case MG_Q5_K:
    return (mg_block){256, 176};
  case MG_Q6_K:
    return (mg_block){256, 210};
  default:
    return (mg_block){1, 4}; /* F32, I32 */
  }
}

/* Rows of a matrix of any dtype, `bytes` apart. */
typedef struct {
  const char *data;
  int64_t bytes;
  int32_t dtype;
} mg_rows;

static inline mg_rows mg_rows_of(const mg_tensor *x) {
  mg_block block = mg_block_of(x->dtype);
  return (mg_rows){x->data, x->stride / block.length * block.bytes, x->dtype};
}

/* Element-wise: row i of y from row i (or, with ids, row ids[i]; or always row 0) of x. Loop: rows. */
typedef struct {
  mg_rows x;
  const int32_t *ids;
  char *y;
  int64_t y_bytes, cols;
  int32_t y_dtype;
} mg_cast_args;

typedef struct {
  const char *x;
  char *y;
  int64_t x_stride, y_stride, rows, cols;
  bool wide; /* 8-byte elements, else 4 */
} mg_transpose_args;

/* counts[begin / grain] = non-finite elements of the chunk's rows. */
typedef struct {
  mg_rows x;
  int64_t cols, grain;
  int64_t *counts;
} mg_nonfinite_args;

typedef struct {
  const float *x, *w, *b; /* w, b may be NULL */
  float *y;
  int64_t x_stride, y_stride, cols;
  float eps;
} mg_norm_args;

typedef struct {
  const float *x, *w, *dy; /* w may be NULL */
  float *dx;
  int64_t x_stride, dy_stride, dx_stride, cols;
  float eps;
} mg_norm_backward_args;

/* scratch: 2 * rows_of_freqs * pairs floats. */
typedef struct {
  float *x;
  const int32_t *positions;
  const float *freqs;
  int64_t x_stride, freq_stride, freq_rows, pairs, heads, dim;
} mg_rope_args;

/* y = act(x) * up; up NULL: y = act(x). */
typedef struct {
  const float *x, *up;
  float *y;
  int64_t x_stride, up_stride, y_stride, cols;
  int32_t act;
} mg_act_args;

/* dgate = act'(gate) * up * dy, dup = act(gate) * dy; up and dup NULL: dgate = act'(gate) * dy. */
typedef struct {
  const float *gate, *up, *dy;
  float *dgate, *dup;
  int64_t gate_stride, up_stride, dy_stride, dgate_stride, dup_stride, cols;
  int32_t act;
} mg_act_backward_args;

typedef struct {
  const void *x;
  void *y;
  int64_t x_stride, y_stride, cols; /* x_stride 0: one row for all */
  float alpha, softcap;
  bool wide;
} mg_axpy_args;

typedef struct {
  const void *x;
  void *y;
  const int32_t *index;
  int64_t x_stride, y_stride, cols;
  bool wide;
} mg_gather_args;

typedef struct {
  const float *x, *y;
  const int32_t *targets;
  double *out;
  int32_t *argmax; /* may be NULL */
  int64_t x_stride, y_stride, cols;
} mg_loss_args;

typedef struct {
  float *x;
  const float *uniforms;
  int32_t *ids;
  int64_t stride, cols;
  float softcap;
} mg_sample_args;

/*
 * Products of tall matrices, c[head] (+)= x[head]ᵀ y[head]. Columns are cut into blocks of `nr`, packed as panels of
 * MG_PANEL rows by nr columns. gram_pack loops over blocks * panels; gram_tiles over `tasks`.
 */
enum { MG_PANEL = 256 };

typedef struct {
  int32_t head, block, first, last; /* columns of block `block` of y; rows: blocks first <= i < last of x */
} mg_gram_task;

typedef struct {
  const float *source; /* gram_pack */
  float *packed;
  int64_t stride, width, heads; /* columns per head */
  int64_t rows;
} mg_pack_args;

typedef struct {
  const float *packed_x, *packed_y;
  const mg_gram_task *tasks;
  int64_t rows, x_width, y_width; /* columns per head */
  double *c;
  int64_t c_stride;
  bool lower; /* only j <= i */
} mg_gram_args;

/* out[slab, :] = column sums of squares of the slab's rows; loop: slabs * blocks of MG_ENERGY_COLS columns. */
enum { MG_ENERGY_COLS = 128, MG_ENERGY_ROWS = 512 };

typedef struct {
  const void *x;
  int64_t stride, rows, cols;
  double *out;
  bool wide; /* F64, else F32 */
} mg_energy_args;

/* out[2 * i] = cos(x_i, y_i), out[2 * i + 1] = |y_i - x_i|² / |x_i|². */
typedef struct {
  const float *x, *y;
  int64_t x_stride, y_stride, cols;
  double *out;
} mg_influence_args;

/* partial[task] = sum of one head's feature covariances over a share of the queries; tasks: heads * MG_LOGIT_SHARES. */
enum { MG_LOGIT_SHARES = 8 };

typedef struct {
  const float *q, *k;
  const int32_t *queries;
  double *partial; /* [heads, MG_LOGIT_SHARES, h, h] */
  int64_t q_stride, k_stride, count, h, tokens;
  int32_t group;
  float scale;
} mg_logit_args;

/* Few rows: linear_rows loops over the rows of w. Many: linear_pack, then linear_tiles over row groups of w. */
enum { MG_LINEAR_ROWS = 8, MG_LINEAR_GROUP = 32, MG_LINEAR_DEPTH = 512, MG_LINEAR_PAD = 16 };

typedef struct {
  const float *x, *bias;
  mg_rows w;
  float *y;
  float *packed; /* blocks of nr rows of x, each [cols, nr] */
  int64_t x_stride, y_stride, rows, cols, outputs;
} mg_linear_args;

/* Columns of the attention tile are (query, head of the group) pairs. */
enum { MG_ATTENTION_KEYS = 64, MG_DECODE_COLUMNS = 8, MG_DECODE_KEYS = 512 };

typedef struct {
  const float *q, *k, *v;
  float *out, *partial; /* partial: [tasks, columns * (dv + 2)] of the split decode */
  int64_t q_stride, k_stride, v_stride, out_stride;
  int64_t dk, dv, group, tiles, splits;
  const mg_attention_params *params;
  const int32_t *first_rows, *counts; /* of each sequence's keys; NULL where they follow from the parameters */
} mg_attention_args;

static inline int64_t mg_first_row(const mg_attention_args *a, int64_t batch) {
  return a->first_rows ? a->first_rows[batch] : batch * a->params->key_capacity;
}
static inline int64_t mg_keys_of(const mg_attention_args *a, int64_t batch) {
  return a->counts ? a->counts[batch] : a->params->keys;
}

/* dk and dv are the columns of a head. */
typedef struct {
  const float *q, *k, *v, *dout;
  float *dq, *dk_out, *dv_out;
  int64_t q_stride, k_stride, v_stride, dout_stride, dq_stride, dk_stride, dv_stride;
  int64_t dk, dv, group;
  const mg_attention_params *params;
} mg_attention_backward_args;

/* Every kernel there is. */
#define MG_KERNEL_LIST(X)                                                                                                        \
  X(cast)                                                                                                                        \
  X(transpose)                                                                                                                   \
  X(nonfinite)                                                                                                                   \
  X(rms_norm)                                                                                                                    \
  X(layer_norm)                                                                                                                  \
  X(rms_norm_backward)                                                                                                           \
  X(layer_norm_backward)                                                                                                         \
  X(rope)                                                                                                                        \
  X(activation)                                                                                                                  \
  X(activation_backward)                                                                                                         \
  X(add)                                                                                                                         \
  X(scale)                                                                                                                       \
  X(gather)                                                                                                                      \
  X(nll)                                                                                                                         \
  X(kl)                                                                                                                          \
  X(sampled_gradient)                                                                                                            \
  X(gram_pack)                                                                                                                   \
  X(gram_tiles)                                                                                                                  \
  X(energy)                                                                                                                      \
  X(influence)                                                                                                                   \
  X(logit_covariance)                                                                                                            \
  X(linear_rows)                                                                                                                 \
  X(linear_pack)                                                                                                                 \
  X(linear_tiles)                                                                                                                \
  X(attention_tiles)                                                                                                             \
  X(attention_rows)                                                                                                              \
  X(attention_merge)                                                                                                             \
  X(attention_backward)

typedef struct {
#define MG_FIELD(name) mg_body *name;
  MG_KERNEL_LIST(MG_FIELD)
#undef MG_FIELD
  int64_t nr; /* columns of a packed block */
  int64_t (*attention_scratch)(const mg_attention_args *args);
  int64_t (*attention_backward_scratch)(const mg_attention_backward_args *args);
} mg_kernels;

const mg_kernels *mg_kernels_for(mg_isa isa);

#endif
