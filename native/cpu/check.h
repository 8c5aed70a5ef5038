/* Argument checks shared by all operations. A failed check stores a sentence that names the argument. */
#ifndef MG_CHECK_H
#define MG_CHECK_H

#include "context.h"

/* Sets of dtypes. */
enum {
  MG_IS_F32 = 1u << MG_F32,
  MG_IS_F64 = 1u << MG_F64,
  MG_IS_I32 = 1u << MG_I32,
  MG_IS_REAL = MG_IS_F32 | MG_IS_F64,
  MG_IS_PLAIN = MG_IS_REAL | 1u << MG_BF16 | 1u << MG_F16,
  MG_IS_QUANTISED = 0xffu << MG_Q4_0,
  MG_IS_VALUE = MG_IS_PLAIN | MG_IS_QUANTISED,
  MG_IS_WEIGHT = MG_IS_VALUE & ~MG_IS_F64
};

/* A well-formed tensor of one of the dtypes: sizes not negative, stride >= cols, whole blocks, data aligned and not NULL. */
int32_t mg_check(mg_context *ctx, const char *name, const mg_tensor *x, unsigned dtypes);

/* The same, and exactly rows x cols. */
int32_t mg_check_shape(mg_context *ctx, const char *name, const mg_tensor *x, unsigned dtypes, int64_t rows, int64_t cols);

/* The same, or NULL. */
int32_t mg_check_optional(mg_context *ctx, const char *name, const mg_tensor *x, unsigned dtypes, int64_t rows, int64_t cols);

/* The same memory for both, or no overlap. */
int32_t mg_check_in_place(mg_context *ctx, const char *name, const mg_tensor *x, const mg_tensor *y);

/* I32 [1, count] with every value in [0, limit). */
int32_t mg_check_indices(mg_context *ctx, const char *name, const mg_tensor *index, int64_t count, int64_t limit);

static inline bool mg_empty(const mg_tensor *x) { return x->rows == 0 || x->cols == 0; }

#endif
