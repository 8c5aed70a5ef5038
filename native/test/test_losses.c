#include "harness.h"

static double log_sum_exp(const mg_tensor *x, int64_t i) {
  double max = -INFINITY, sum = 0;
  for (int64_t j = 0; j < x->cols; j++) max = fmax(max, (double)*f32(x, i, j));
  for (int64_t j = 0; j < x->cols; j++) sum += exp((double)*f32(x, i, j) - max);
  return max + log(sum);
}

static void losses(const test_context *t, int64_t rows, int64_t cols, double spread) {
  mg_tensor x = random_matrix(rows, cols, 1, spread), y = random_matrix(rows, cols, 2, spread), targets = integers(rows, cols);
  mg_tensor nll = matrix(MG_F64, 1, rows, 0), argmax = matrix(MG_I32, 1, rows, 0), kl = matrix(MG_F64, 1, rows, 0);
  if (rows > 2) *i32(&targets, 1) = -1;
  for (int64_t i = 0; i < rows && cols > 5; i++) { /* masked logits, and a tie for the largest */
    *f32(&x, i, cols / 2) = *f32(&x, i, cols - 1) = (float)(spread + 1);
    *f32(&x, i, 3) = *f32(&y, i, 3) = -INFINITY;
    if (*i32(&targets, i) == 3) *i32(&targets, i) = 4;
  }
  expect_ok(t, mg_nll(t->ctx, &x, &targets, &nll, &argmax));
  expect_ok(t, mg_kl_divergence(t->ctx, &x, &y, &kl));
  for (int64_t i = 0; i < rows; i++) {
    double lx = log_sum_exp(&x, i), ly = log_sum_exp(&y, i), want = 0, size = 1;
    int64_t best = 0;
    for (int64_t j = 0; j < cols; j++) {
      double p = exp((double)*f32(&x, i, j) - lx);
      if (*f32(&x, i, j) > *f32(&x, i, best)) best = j;
      if (p > 0) want += p * ((double)*f32(&x, i, j) - lx - (double)*f32(&y, i, j) + ly);
      if (p > 0) size += p * fabs((double)*f32(&x, i, j) - (double)*f32(&y, i, j));
    }
    int32_t target = *i32(&targets, i);
    double loss = target < 0 ? 0 : lx - (double)*f32(&x, i, target);
    note(t, "nll", fabs(*f64(&nll, 0, i) - loss), 3e-7);
    note(t, "kl_divergence", fabs(*f64(&kl, 0, i) - want) / size, 3e-7);
    expect(t, *i32(&argmax, i) == best, "argmax %d, not %lld", *i32(&argmax, i), (long long)best);
  }
}

void test_losses(const test_context *t) {
  const int64_t sizes[] = SIZES;
  for (int i = 0; i < COUNT(sizes); i++) losses(t, 5, sizes[i], 4.0);
  losses(t, 7, 49152, 20.0);
  losses(t, 3, 1500, 200.0);
  losses(t, 0, 5, 1.0);
  /* a row of one NaN stays visible, its neighbours do not see it */
  mg_tensor x = random_matrix(3, 3000, 0, 1.0), targets = integers(3, 3000), nll = matrix(MG_F64, 1, 3, 0);
  *f32(&x, 1, 2000) = NAN;
  expect_ok(t, mg_nll(t->ctx, &x, &targets, &nll, NULL));
  expect(t, isfinite(*f64(&nll, 0, 0)) && isnan(*f64(&nll, 0, 1)) && isfinite(*f64(&nll, 0, 2)), "NaN in one row of logits");
}
