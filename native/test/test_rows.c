/* Row-wise and element-wise operations. */
#include "harness.h"

static void norms(const test_context *t, int64_t rows, int64_t cols, bool in_place) {
  mg_tensor x = random_matrix(rows, cols, 2, 3.0), w = random_matrix(1, cols, 0, 2.0), b = random_matrix(1, cols, 0, 2.0);
  for (int kind = 0; kind < 4; kind++) {
    bool layer = kind & 1, weighted = kind & 2;
    const double eps = 1e-5;
    mg_tensor source = copy_of(&x), y = in_place ? source : matrix(MG_F32, rows, cols, 2);
    const mg_tensor *weight = weighted ? &w : NULL, *bias = weighted ? &b : NULL;
    expect_ok(t, layer ? mg_layer_norm(t->ctx, &source, weight, bias, (float)eps, &y)
                       : mg_rms_norm(t->ctx, &source, weight, (float)eps, &y));
    expect_gaps(t, "norm", &y);
    for (int64_t i = 0; i < rows; i++) {
      double mean = 0, square = 0, magnitude = 0;
      for (int64_t j = 0; j < cols && layer; j++) mean += (double)*f32(&x, i, j) / (double)cols;
      for (int64_t j = 0; j < cols; j++) magnitude += fabs((double)*f32(&x, i, j)) / (double)cols;
      for (int64_t j = 0; j < cols; j++) square += pow((double)*f32(&x, i, j) - mean, 2) / (double)cols;
      for (int64_t j = 0; j < cols; j++) {
        double scale = (weighted ? (double)*f32(&w, 0, j) : 1.0) / sqrt(square + (double)(float)eps);
        double shift = layer && weighted ? (double)*f32(&b, 0, j) : 0.0;
        double want = ((double)*f32(&x, i, j) - mean) * scale + shift;
        double size = (fabs((double)*f32(&x, i, j)) + (layer ? magnitude : 0)) * fabs(scale) + fabs(shift) + 1e-30;
        note(t, layer ? "layer_norm" : "rms_norm", fabs((double)*f32(&y, i, j) - want) / size, layer ? 1e-6 : 6e-7);
      }
    }
  }
}

static void rope(const test_context *t, int64_t rows, int64_t heads, int64_t dim, int64_t pairs, int64_t freq_rows) {
  mg_tensor x = random_matrix(rows, heads * dim, 1, 2.0), y = copy_of(&x), positions = integers(rows, 100000);
  mg_tensor freqs = matrix(MG_F32, freq_rows, pairs, 1);
  for (int64_t f = 0; f < freq_rows; f++) {
    for (int64_t p = 0; p < pairs; p++) *f32(&freqs, f, p) = (float)pow(1e4, -(double)(p + f) / (double)(pairs + freq_rows));
  }
  if (rows > 2) *i32(&positions, 1) = 2000000000, *i32(&positions, 2) = -5;
  expect_ok(t, mg_rope(t->ctx, &y, &positions, &freqs, (int32_t)heads));
  expect_gaps(t, "rope", &y);
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < heads * dim; j++) {
      int64_t column = j % dim, pair = column < pairs ? column : column - pairs, head = j / dim;
      double want = (double)*f32(&x, i, j), size = 1e-30 + fabs(want);
      if (column < 2 * pairs) {
        double angle = (double)*i32(&positions, i) * (double)*f32(&freqs, head / (heads / freq_rows), pair);
        double a = (double)*f32(&x, i, head * dim + pair), b = (double)*f32(&x, i, head * dim + pair + pairs);
        want = column < pairs ? a * cos(angle) - b * sin(angle) : b * cos(angle) + a * sin(angle);
        size = fabs(a) + fabs(b);
      }
      note(t, "rope", fabs((double)*f32(&y, i, j) - want) / size, 2e-7);
    }
  }
}

static double act(int32_t kind, double x) {
  switch (kind) {
  case MG_SILU:
    return x / (1 + exp(-x));
  case MG_GELU:
    return 0.5 * x * erfc(-x / sqrt(2));
  case MG_GELU_TANH:
    return x / (1 + exp(-2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  case MG_RELU:
    return x > 0 ? x : 0;
  default:
    return x;
  }
}

static void activations(const test_context *t, int64_t rows, int64_t cols) {
  static const char *const names[] = {"silu", "gelu", "gelu_tanh", "relu", "identity"};
  for (int32_t kind = MG_SILU; kind <= MG_IDENTITY; kind++) {
    mg_tensor x = random_matrix(rows, cols, 1, 12.0), up = random_matrix(rows, cols, 3, 2.0), y = matrix(MG_F32, rows, cols, 0);
    mg_tensor gate = copy_of(&x), alone = copy_of(&x);
    if (rows * cols > 0) *f32(&alone, rows - 1, cols - 1) = NAN;
    expect_ok(t, mg_gated_activation(t->ctx, &gate, &up, kind, &y));
    expect_ok(t, mg_gated_activation(t->ctx, &gate, &up, kind, &gate));
    expect_ok(t, mg_activation(t->ctx, &alone, kind));
    expect_gaps(t, "activation", &gate);
    for (int64_t i = 0; i < rows; i++) {
      for (int64_t j = 0; j < cols; j++) {
        double v = (double)*f32(&x, i, j), want = act(kind, v), u = (double)*f32(&up, i, j), size = fabs(v * u) + 1e-30;
        note(t, names[kind], fabs((double)*f32(&y, i, j) - want * u) / size, 3e-7);
        expect(t, *f32(&gate, i, j) == *f32(&y, i, j), "%s in place", names[kind]);
        if (i < rows - 1 || j < cols - 1) {
          note(t, names[kind], fabs((double)*f32(&alone, i, j) - want) / (fabs(v) + 1e-30), 3e-7);
        } else {
          expect(t, *f32(&alone, i, j) != *f32(&alone, i, j), "%s lost a NaN", names[kind]);
        }
      }
    }
  }
}

/* The elementary functions under the activations: relative error over their whole range. */
static void exponentials(const test_context *t) {
  mg_tensor x = matrix(MG_F32, 1, 4001, 0), y;
  for (int64_t j = 0; j < 4001; j++) *f32(&x, 0, j) = (float)(-80 + 0.04 * (double)j);
  for (int32_t kind = MG_SILU; kind <= MG_GELU_TANH; kind++) {
    y = copy_of(&x);
    expect_ok(t, mg_activation(t->ctx, &y, kind));
    for (int64_t j = 0; j < 4001; j++) {
      double v = (double)*f32(&x, 0, j), want = act(kind, v);
      if (fabs(want) < 1e-30 || v == 0 || (kind != MG_SILU && v < -8)) continue;
      note(t, kind == MG_SILU ? "silu, relative" : "gelu, relative", fabs((double)*f32(&y, 0, j) / want - 1),
           kind == MG_SILU ? 4e-7 : 1e-5);
    }
  }
  y = copy_of(&x);
  expect_ok(t, mg_scale(t->ctx, 0.25f, 3.0f, &y));
  for (int64_t j = 0; j < 4001; j++) {
    double v = (double)*f32(&x, 0, j) * 0.25, want = 3 * tanh(v / 3);
    if (v != 0) note(t, "scale, softcap", fabs((double)*f32(&y, 0, j) / want - 1), 4e-7);
  }
}

/* Sums, bias, scaling, gathering, scattering and transposition, in F32 or F64. */
static void elements(const test_context *t, int32_t dtype, int64_t rows, int64_t cols) {
  mg_tensor a = random_matrix(rows, cols, 0, 1), x = matrix(dtype, rows, cols, 2), y = matrix(dtype, rows, cols, 1);
  mg_tensor one = {x.data, 1, cols, cols, dtype, 0}, index = integers(cols + 3, cols), picked = matrix(dtype, rows, cols + 3, 1);
  mg_tensor turned = matrix(dtype, cols, rows, 2);
#define AT(m, i, j) (dtype == MG_F64 ? *f64(&m, i, j) : (double)*f32(&m, i, j))
  const double tolerance = dtype == MG_F64 ? 1e-15 : 1.3e-7;
  expect_ok(t, mg_cast(t->ctx, &a, &x));
  expect_ok(t, mg_cast(t->ctx, &a, &y));
  expect_ok(t, mg_add(t->ctx, -0.5f, &x, &y));
  expect_ok(t, mg_add(t->ctx, 2.0f, &one, &y));
  expect_ok(t, mg_scale(t->ctx, 4.0f, 0.0f, &y));
  expect_ok(t, mg_gather_columns(t->ctx, &x, &index, &picked));
  mg_tensor places = matrix(MG_I32, 1, rows, 0), spread = matrix(dtype, 2 * rows, cols, 1), back = matrix(dtype, rows, cols, 2);
  for (int64_t i = 0; i < rows; i++) *i32(&places, i) = (int32_t)(2 * (rows - 1 - i));
  expect_ok(t, mg_fill_zero(t->ctx, &spread));
  expect_ok(t, mg_scatter_rows(t->ctx, &x, &places, &spread));
  expect_ok(t, mg_gather_rows(t->ctx, &spread, &places, &back));
  expect_gaps(t, "scatter_rows", &spread);
  expect_gaps(t, "gather_rows", &back);
  expect_ok(t, mg_transpose(t->ctx, &x, &turned));
  expect_gaps(t, "add", &y);
  expect_gaps(t, "gather_columns", &picked);
  expect_gaps(t, "transpose", &turned);
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < cols; j++) {
      double want = 2 * AT(x, i, j) + 8 * AT(x, 0, j), size = 2 * fabs(AT(x, i, j)) + 8 * fabs(AT(x, 0, j)) + 1e-30;
      note(t, dtype == MG_F64 ? "add and scale, f64" : "add and scale", fabs(AT(y, i, j) - want) / size, tolerance);
      expect(t, AT(turned, j, i) == AT(x, i, j), "transpose [%lld, %lld]", (long long)rows, (long long)cols);
    }
    for (int64_t j = 0; j < cols; j++) {
      expect(t, AT(spread, 2 * (rows - 1 - i), j) == AT(x, i, j) && AT(spread, 2 * i + 1, j) == 0, "scatter_rows");
      expect(t, AT(back, i, j) == AT(x, i, j), "gather_rows");
    }
    for (int64_t j = 0; j < cols + 3; j++) expect(t, AT(picked, i, j) == AT(x, i, *i32(&index, j)), "gather_columns");
  }
  expect_ok(t, mg_fill_zero(t->ctx, &y));
  expect_gaps(t, "fill_zero", &y);
  for (int64_t i = 0; i < rows; i++) expect(t, AT(y, i, cols - 1) == 0, "fill_zero");
}

void test_rows(const test_context *t) {
  const int64_t sizes[] = SIZES;
  for (int i = 0; i < COUNT(sizes); i++) {
    norms(t, 5, sizes[i], false);
    norms(t, 5, sizes[i], true);
    activations(t, 3, sizes[i]);
    elements(t, MG_F32, 35, sizes[i]);
    elements(t, MG_F64, 35, sizes[i]);
    free_all();
  }
  norms(t, 100, 1536, false);
  norms(t, 3, 8192, false);
  norms(t, 0, 5, false);
  norms(t, 5, 0, false);
  activations(t, 60, 1536);
  activations(t, 0, 7);
  exponentials(t);
  elements(t, MG_F32, 200, 513);
  const int64_t pairs[] = {0, 1, 2, 7, 8, 16, 21, 29, 32, 64};
  for (int i = 0; i < COUNT(pairs); i++) {
    rope(t, 5, 6, 2 * pairs[i] + 3, pairs[i], 1);
    rope(t, 5, 6, 2 * pairs[i] + 2, pairs[i], 3);
    rope(t, 5, 6, 2 * pairs[i] + 1, pairs[i], 6);
  }
  rope(t, 300, 9, 64, 32, 1);
  rope(t, 0, 2, 4, 2, 1);
}
