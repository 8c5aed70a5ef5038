/*
 * Harness of the operation tests: every case runs on one context per instruction set and thread count, compares with a double
 * reference and notes its error; the worst per operation is printed and held against a bound at the end.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include "modegpt.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  mg_context *ctx;
  char name[64];
} test_context;

/* One per instruction set the CPU has and per thread count in {1, 3}. */
extern test_context contexts[8];
extern int context_count;

/* Remembers the worst error of an operation; one above the bound, or NaN, fails the run. */
void note(const test_context *t, const char *op, double error, double bound);

/* Fails the run unless `ok`. */
void expect(const test_context *t, bool ok, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Fails the run unless `status` is MG_OK. */
void expect_ok(const test_context *t, int32_t status);

/* Matrices end at their last element, so that a sanitizer sees any access beyond; gaps between rows hold a pattern that
 * expect_gaps checks. All are freed by free_all. */
mg_tensor matrix(int32_t dtype, int64_t rows, int64_t cols, int64_t gap);
mg_tensor random_matrix(int64_t rows, int64_t cols, int64_t gap, double scale);
mg_tensor integers(int64_t count, int64_t limit);
mg_tensor copy_of(const mg_tensor *x);
void expect_gaps(const test_context *t, const char *op, const mg_tensor *x);
bool same_bytes(const mg_tensor *x, const mg_tensor *y);
void free_all(void);

double random_uniform(void); /* -1 to 1 */
uint64_t random_bits(void);

static inline float *f32(const mg_tensor *x, int64_t i, int64_t j) { return (float *)x->data + i * x->stride + j; }
static inline double *f64(const mg_tensor *x, int64_t i, int64_t j) { return (double *)x->data + i * x->stride + j; }
static inline int32_t *i32(const mg_tensor *x, int64_t j) { return (int32_t *)x->data + j; }
int64_t element_bytes(int32_t dtype);

/* Sizes around the vector widths and the tiles. */
#define SIZES                                                                                                                    \
  { 1, 3, 4, 7, 8, 15, 16, 17, 31, 33, 48, 64, 100, 257 }
#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

void test_casts(const test_context *t);
void test_rows(const test_context *t);
void test_products(const test_context *t);
void test_attention(const test_context *t);
void test_losses(const test_context *t);
void test_arguments(const test_context *t);
void test_threads(void); /* equal bits whatever the number of threads */
void test_contexts(void);

#endif
