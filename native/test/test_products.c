/* Gram matrices, other statistics, products with weights. Errors are relative to the sum of the absolute products. */
#include "harness.h"

static mg_tensor zero_f64(const test_context *t, int64_t rows, int64_t cols, int64_t gap) {
  mg_tensor c = matrix(MG_F64, rows, cols, gap);
  expect_ok(t, mg_fill_zero(t->ctx, &c));
  return c;
}

/* Error of c[i, j] against the sum over rows of x[:, a] y[:, b], which was accumulated `times` times. */
static void compare(const test_context *t, const char *op, double got, const mg_tensor *x, int64_t a, const mg_tensor *y,
                    int64_t b, double times) {
  double want = 0, size = 1e-300;
  for (int64_t r = 0; r < x->rows; r++) {
    double product = (double)*f32(x, r, a) * (double)*f32(y, r, b);
    want += product;
    size += fabs(product);
  }
  note(t, op, fabs(got - times * want) / (times * size), 1e-6);
}

static void gram(const test_context *t, int64_t rows, int64_t n) {
  mg_tensor x = random_matrix(rows, n, 1, 2.0), c = zero_f64(t, n, n, 2);
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = i + 1; j < n; j++) *f64(&c, i, j) = 42;
  }
  expect_ok(t, mg_gram(t->ctx, &x, &c));
  expect_ok(t, mg_gram(t->ctx, &x, &c));
  expect_gaps(t, "gram", &c);
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = 0; j < n; j += i == j ? 1 : 1 + n / 40) {
      if (j > i) expect(t, *f64(&c, i, j) == 42, "gram touched [%lld, %lld] of %lld", (long long)i, (long long)j, (long long)n);
      if (j <= i) compare(t, "gram", *f64(&c, i, j), &x, i, &x, j, 2);
    }
  }
}

static void cross_gram(const test_context *t, int64_t rows, int64_t n, int64_t m) {
  mg_tensor x = random_matrix(rows, n, 0, 2.0), y = random_matrix(rows, m, 1, 2.0), c = zero_f64(t, n, m, 1);
  expect_ok(t, mg_cross_gram(t->ctx, &x, &y, &c));
  expect_gaps(t, "cross_gram", &c);
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = i % 3; j < m; j += 1 + m / 20) compare(t, "cross_gram", *f64(&c, i, j), &x, i, &y, j, 1);
  }
}

static void head_gram(const test_context *t, int64_t rows, int64_t heads, int64_t h) {
  mg_tensor x = random_matrix(rows, heads * h, 0, 2.0), c = zero_f64(t, heads * h, h, 1);
  expect_ok(t, mg_head_gram(t->ctx, &x, (int32_t)heads, &c));
  expect_gaps(t, "head_gram", &c);
  for (int64_t i = 0; i < heads * h; i++) {
    for (int64_t j = 0; j < h; j++) {
      compare(t, "head_gram", *f64(&c, i, j), &x, i, &x, i / h * h + j, 1);
      expect(t, *f64(&c, i, j) == *f64(&c, i / h * h + j, i % h), "head_gram is not symmetric");
    }
  }
}

static void statistics(const test_context *t, int64_t rows, int64_t n) {
  mg_tensor x = random_matrix(rows, n, 2, 2.0), y = random_matrix(rows, n, 1, 2.0), e = zero_f64(t, 1, n, 0),
            acc = zero_f64(t, 1, 3, 0);
  double cosine = 0, ratio = 0;
  expect_ok(t, mg_column_energy(t->ctx, &x, &e));
  expect_ok(t, mg_column_energy(t->ctx, &x, &e));
  expect_ok(t, mg_block_influence(t->ctx, &x, &y, &acc));
  for (int64_t j = 0; j < n; j++) {
    double want = 0;
    for (int64_t i = 0; i < rows; i++) want += 2 * pow((double)*f32(&x, i, j), 2);
    if (want > 0) note(t, "column_energy", fabs(*f64(&e, 0, j) / want - 1), 1e-14);
  }
  for (int64_t i = 0; i < rows && n > 0; i++) {
    double xx = 0, xy = 0, yy = 0, dd = 0;
    for (int64_t j = 0; j < n; j++) {
      double u = (double)*f32(&x, i, j), v = (double)*f32(&y, i, j);
      xx += u * u, xy += u * v, yy += v * v, dd += (v - u) * (v - u);
    }
    cosine += xy / sqrt(xx * yy), ratio += dd / xx;
  }
  note(t, "block_influence", fabs(*f64(&acc, 0, 0) - cosine) / (double)(rows + 1), 1e-14);
  note(t, "block_influence", fabs(*f64(&acc, 0, 1) - ratio) / (ratio + 1), 1e-14);
  expect(t, *f64(&acc, 0, 2) == (double)(n > 0 ? rows : 0), "block_influence counted %g rows", *f64(&acc, 0, 2));
}

static mg_tensor weights(const test_context *t, int32_t dtype, int64_t rows, int64_t cols) {
  if (dtype < MG_Q4_0) {
    mg_tensor source = random_matrix(rows, cols, 0, 1.0), w = matrix(dtype, rows, cols, 1);
    expect_ok(t, mg_cast(t->ctx, &source, &w));
    return w;
  }
  static const int sizes[] = {18, 20, 22, 24, 34, 144, 176, 210};
  int64_t length = dtype >= MG_Q4_K ? 256 : 32, bytes = sizes[dtype - MG_Q4_0], count = rows * cols / length;
  mg_tensor space = matrix(MG_BF16, 1, count * bytes / 2, 0);
  for (int64_t b = 0; b < count; b++) {
    uint8_t *block = (uint8_t *)space.data + b * bytes;
    for (int64_t i = 0; i < bytes; i++) block[i] = (uint8_t)random_bits();
    uint8_t *scale = block + (dtype == MG_Q6_K ? 208 : 0);
    scale[1] = (uint8_t)(scale[1] % 8 + 0x20); /* float16 of moderate size */
    if (dtype != MG_Q6_K) block[3] = dtype == MG_Q4_0 || dtype == MG_Q5_0 || dtype == MG_Q8_0 ? block[3] : block[3] % 8 + 0x20;
  }
  return (mg_tensor){space.data, rows, cols, cols, dtype, 0};
}

static void linear(const test_context *t, int32_t dtype, int64_t rows, int64_t in, int64_t out, bool biased) {
  mg_tensor x = random_matrix(rows, in, 2, 1.0), w = weights(t, dtype, out, in), b = random_matrix(1, out, 0, 1.0);
  mg_tensor y = matrix(MG_F32, rows, out, 1), plain = matrix(MG_F32, out, in, 0);
  expect_ok(t, mg_cast(t->ctx, &w, &plain));
  expect_ok(t, mg_linear(t->ctx, &x, &w, biased ? &b : NULL, &y, 1));
  expect_gaps(t, "linear", &y);
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < out; j++) {
      double want = biased ? (double)*f32(&b, 0, j) : 0, size = fabs(want) + 1e-30;
      for (int64_t k = 0; k < in; k++) {
        double product = (double)*f32(&x, i, k) * (double)*f32(&plain, j, k);
        want += product;
        size += fabs(product);
      }
      note(t, rows <= 8 ? "linear, few rows" : "linear, many rows", fabs((double)*f32(&y, i, j) - want) / size, 1e-6);
    }
  }
}

void test_products(const test_context *t) {
  const int64_t sizes[] = SIZES;
  for (int i = 0; i < COUNT(sizes); i++) {
    gram(t, 19, sizes[i]);
    gram(t, sizes[i], 53);
    cross_gram(t, 40, sizes[i], sizes[COUNT(sizes) - 1 - i]);
    if (sizes[i] <= 100) head_gram(t, 33, 3, sizes[i]);
    statistics(t, 9, sizes[i]);
    linear(t, MG_F32, 1, sizes[i], 17, true);
    linear(t, MG_BF16, 7, sizes[i], 5, false);
    linear(t, MG_F16, 3, sizes[i], 5, true);
    linear(t, MG_BF16, sizes[i], 37, 41, true);
    free_all();
  }
  gram(t, 1000, 576);
  gram(t, 2600, 1000); /* several slabs */
  gram(t, 0, 7);
  cross_gram(t, 700, 300, 130);
  head_gram(t, 600, 9, 64);
  statistics(t, 1300, 400);
  statistics(t, 0, 3);
  const int32_t quantised[] = {MG_Q4_0, MG_Q4_1, MG_Q5_0, MG_Q5_1, MG_Q8_0, MG_Q4_K, MG_Q5_K, MG_Q6_K};
  for (int i = 0; i < COUNT(quantised); i++) {
    linear(t, quantised[i], 1, 768, 33, true);
    linear(t, quantised[i], 8, 512, 9, false);
    linear(t, quantised[i], 60, 768, 70, true);
  }
  linear(t, MG_F32, 9, 1100, 40, false);
  linear(t, MG_BF16, 2, 5000, 40, false);
  linear(t, MG_F32, 0, 5, 3, false);
  linear(t, MG_F32, 5, 3, 0, false);
}
