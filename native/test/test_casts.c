/* Conversions between dtypes, block formats, embedding rows. */
#include "harness.h"

static const int32_t PLAIN[] = {MG_F32, MG_F64, MG_BF16, MG_F16};

/* Value of an element of any plain dtype, from the definition of the format. */
static double value(const mg_tensor *x, int64_t i, int64_t j) {
  int64_t at = i * x->stride + j;
  switch (x->dtype) {
  case MG_F64:
    return ((double *)x->data)[at];
  case MG_F32:
    return (double)((float *)x->data)[at];
  default: {
    uint16_t h = ((uint16_t *)x->data)[at];
    int fraction_bits = x->dtype == MG_BF16 ? 7 : 10, bias = x->dtype == MG_BF16 ? 127 : 15;
    int exponent = (h & 0x7fff) >> fraction_bits, fraction = h & ((1 << fraction_bits) - 1);
    double sign = h >> 15 ? -1.0 : 1.0;
    if (exponent == 2 * bias + 1) return fraction ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * ldexp(fraction, 1 - bias - fraction_bits);
    return sign * ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
  }
  }
}

/* Nearest value of the dtype, ties to even: x in units of its last place, rounded. */
static double rounded(double x, int32_t dtype) {
  if (dtype == MG_F64 || x == 0 || !isfinite(x)) return x;
  int digits = dtype == MG_F32 ? 24 : dtype == MG_BF16 ? 8 : 11, least = dtype == MG_F16 ? -24 : dtype == MG_BF16 ? -133 : -149;
  int top = dtype == MG_F16 ? 16 : 128, exponent;
  frexp(x, &exponent);
  int unit = exponent - digits > least ? exponent - digits : least;
  double y = ldexp(nearbyint(ldexp(x, -unit)), unit);
  return fabs(y) >= ldexp(1, top) ? copysign(INFINITY, x) : y;
}

static void fill_special(mg_tensor *x) {
  static const double special[] = {0.0,
                                   -0.0,
                                   1.0,
                                   INFINITY,
                                   -INFINITY,
                                   NAN,
                                   65504,
                                   65519.99,
                                   65520,
                                   1e-8,
                                   -3e-8,
                                   5.96e-8,
                                   6.1e-5,
                                   6.097e-5,
                                   1e-40,
                                   -1e-41,
                                   1e-45,
                                   3.4e38,
                                   3.39e38,
                                   -3.4e38,
                                   0x1.01p0,
                                   0x1.03p0,
                                   0x1.002p0,
                                   0x1.006p0,
                                   2.98e-8,
                                   2.99e-8,
                                   1e300,
                                   -1e300,
                                   1e-300,
                                   0x1.0100000000001p0,
                                   0x1.00fffffffffffp0,
                                   0x1.0020000000001p0};
  int64_t n = 0;
  for (int64_t i = 0; i < x->rows; i++) {
    for (int64_t j = 0; j < x->cols; j++, n++) {
      double v = n < COUNT(special) ? special[n] : ldexp(random_uniform(), (int)(random_bits() % 60) - 40);
      switch (x->dtype) {
      case MG_F64:
        *f64(x, i, j) = v;
        break;
      case MG_F32:
        *f32(x, i, j) = (float)v;
        break;
      default:
        ((uint16_t *)x->data)[i * x->stride + j] = (uint16_t)random_bits();
      }
    }
  }
}

static void plain(const test_context *t, int32_t from, int32_t to, int64_t rows, int64_t cols) {
  mg_tensor x = matrix(from, rows, cols, 3), y = matrix(to, rows, cols, 2);
  fill_special(&x);
  expect_ok(t, mg_cast(t->ctx, &x, &y));
  expect_gaps(t, "cast", &y);
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < cols; j++) {
      double source = value(&x, i, j), want = rounded(source, to), got = value(&y, i, j);
      bool same = want != want ? got != got : want == got && signbit(want) == signbit(got);
      expect(t, same, "cast %d to %d: %a became %a, not %a", from, to, source, got, want);
    }
  }
}

/* One block of each format with arbitrary bits, decoded by the Python package gguf: the sum of (i + 1) y[i] and one element. */
static const struct {
  int32_t dtype;
  const char *bytes;
  double sum, third_from_end;
} VECTORS[] = {
    {MG_Q4_0, "c0a7e5f1a94106a0956a26afbccdafe562f9", -0x1.0e48p+4, -0x1.74p-3},
    {MG_Q4_1, "5da15f2d4551370e99b2d74c3427fa48d732a1df", 0x1.fdb78p+1, 0x1.ae1p-5},
    {MG_Q5_0, "7da8a621f9bd0ccc21397c1ec795ca7748dc03d17a88", -0x1.c93e6p+4, -0x1.d2c8p-2},
    {MG_Q5_1, "a8ab602e1f223f4192c58efd5185f0711ef7677a1f132a81", -0x1.74356p+8, 0x1.46p-5},
    {MG_Q8_0, "2bacc3ce3be4ebcab72f45b35223479f6e794d57037e2cfde9e15a7789781e3721a5", -0x1.e2ab9ap+9, -0x1.ca7ap+1},
    {MG_Q4_K,
     "b6ad272b1bdc5d1d8fc83f0b0bb4db71be572209851d3d24f4c0cf83fe4363f82f4759778955f6ced681cbea7179ced2c8f814a13472ff70ce369d8385"
     "452a44f318337f08cd1e614f235d3f83bc45fee9ee0403a79be118544441317c9311f85e0429b19f7ec0e156f65a3322e791b880ee995e3f0d307d2fba"
     "f400693a179e0d027ed4e58be7a9ebc28a271d43a788",
     -0x1.1452f45cp+19, -0x1.7f04p-1},
    {MG_Q5_K,
     "0aa8eb29869793f0aad6ded8116e3ab51681c4a374fec70a68b3e4bdc92b387987416c17ec90963ec766888ab4b80eba7c5cfd81121bea9cee1810dfd5"
     "169faf26cd7b5c30c8aba44d972299e8c7b41b9a1d2b0f180600a974d63b6332202c998e82b2522c49c4394c7d73265b6aaf61b288fbd0aecfa7666162"
     "23611e764c93aa388ffabd0a6a6412b209971e2d827076f7e49ab8fa197271be53a3442b128cdad72bad0f8aeef42a0b9a26d74fc78f",
     -0x1.67e09135p+19, -0x1.216910p+5},
    {MG_Q6_K,
     "2562b87049307fd37899c118819af6674394c3f7aa5f93f32c810a37ca7bf1013ccdf8ab8ab4a6039954e84cbe3b3f7f1183c3df8375c517b4e786a9aa"
     "df7488f892b12191387ad86aca56d8531c927b931fe8f16e795b9b331767e712dbe8f5331dd9917f01e64710dd3c25f4d21690a049453135550ec0193a"
     "8bed1783d53ec944658d1d28960c44b0382e93438e60788d51e279a131f8130b3ea4bd2f5d95e57bd791436d840f4e6654608135bbfb885d346959a49b"
     "36402a4f3dcc489fb6511fbe09e5d72bf834e04fe028ca4991972b",
     0x1.1726a5fp+16, 0x1.a53c8p+5},
};

/* `copies` rows of `per_row` copies of the known block, at an odd address. */
static mg_tensor known_blocks(int which, int64_t rows, int64_t per_row, int64_t *length) {
  const char *hex = VECTORS[which].bytes;
  int64_t bytes = (int64_t)strlen(hex) / 2;
  *length = VECTORS[which].dtype >= MG_Q4_K ? 256 : 32;
  mg_tensor space = matrix(MG_BF16, 1, (rows * per_row * bytes + 2) / 2, 0);
  uint8_t *data = (uint8_t *)space.data + 1;
  for (int64_t i = 0; i < rows * per_row * bytes; i++) {
    char digits[3] = {hex[i % bytes * 2], hex[i % bytes * 2 + 1], 0};
    data[i] = (uint8_t)strtol(digits, NULL, 16);
  }
  return (mg_tensor){data, rows, per_row * *length, per_row * *length, VECTORS[which].dtype, 0};
}

static void quantised(const test_context *t, int which) {
  int64_t length, bad = -1;
  mg_tensor x = known_blocks(which, 3, 5, &length), y = matrix(MG_F32, 3, x.cols, 1), half = matrix(MG_BF16, 3, x.cols, 0);
  expect_ok(t, mg_cast(t->ctx, &x, &y));
  expect_gaps(t, "cast", &y);
  for (int64_t b = 0; b < 15; b++) {
    double sum = 0;
    for (int64_t j = 0; j < length; j++) sum += (double)*f32(&y, b / 5, b % 5 * length + j) * (double)(j + 1);
    expect(t, sum == VECTORS[which].sum, "block format %d: sum %a, not %a", x.dtype, sum, VECTORS[which].sum);
    expect(t, (double)*f32(&y, b / 5, b % 5 * length + length - 3) == VECTORS[which].third_from_end, "block format %d", x.dtype);
  }
  expect_ok(t, mg_cast(t->ctx, &x, &half));
  for (int64_t j = 0; j < x.cols; j++) {
    expect(t, value(&half, 2, j) == rounded((double)*f32(&y, 2, j), MG_BF16), "block format %d to bf16", x.dtype);
  }
  expect_ok(t, mg_count_nonfinite(t->ctx, &x, &bad));
  expect(t, bad == 0, "%lld scales of good blocks counted as not finite", (long long)bad);
  uint8_t *scale = (uint8_t *)x.data + (x.dtype == MG_Q6_K ? 208 : 0);
  scale[0] = 0;
  scale[1] = 0x7c; /* infinity */
  expect_ok(t, mg_count_nonfinite(t->ctx, &x, &bad));
  expect(t, bad == 1, "%lld scales counted as not finite, not 1", (long long)bad);
}

/*
 * Quantising gives the bytes that the Python package gguf gives for x[i] = sin(0.1 i + 0.01 i^2) * 1.5, float32, i = 0 .. 63, the
 * second block scaled by 2^-20, the third all zero; and every instruction set the same, whatever the number of rows.
 */
static void to_blocks(const test_context *t, int32_t dtype, const char *hex) {
  mg_tensor x = matrix(MG_F32, 3, 96, 3), y = matrix(MG_BF16, 1, 204, 0);
  y.dtype = dtype, y.rows = 3, y.cols = y.stride = 96;
  for (int64_t i = 0; i < 96; i++) {
    float v = i < 64 ? (float)(sin(0.1 * (double)i + 0.01 * (double)(i * i)) * 1.5) * (i < 32 ? 1.0f : 0x1p-20f) : 0.0f;
    for (int64_t r = 0; r < 3; r++) *f32(&x, r, i) = v;
  }
  expect_ok(t, mg_cast(t->ctx, &x, &y));
  int64_t bytes = (int64_t)strlen(hex) / 2;
  for (int64_t i = 0; i < 3 * bytes; i++) {
    char digits[3] = {hex[i % bytes * 2], hex[i % bytes * 2 + 1], 0};
    int got = ((const uint8_t *)y.data)[i], want = (int)strtol(digits, NULL, 16);
    expect(t, got == want, "cast to %d: byte %lld is %d, not %d", dtype, (long long)i, got, want);
  }
  *f32(&x, 1, 40) = INFINITY;
  mg_tensor back = matrix(MG_F32, 3, 96, 1);
  expect_ok(t, mg_cast(t->ctx, &x, &y));
  expect_ok(t, mg_cast(t->ctx, &y, &back));
  expect(t, *f32(&back, 1, 35) != *f32(&back, 1, 35), "a block with an infinity reads as %f", (double)*f32(&back, 1, 35));
  expect(t, fabsf(*f32(&back, 1, 5) - *f32(&x, 1, 5)) < 0.2f, "its neighbour reads as %f", (double)*f32(&back, 1, 5));
}

static void embedding(const test_context *t, const mg_tensor *table) {
  mg_tensor ids = integers(37, table->rows), out = matrix(MG_F32, 37, table->cols, 1);
  mg_tensor all = matrix(MG_F32, table->rows, table->cols, 0);
  expect_ok(t, mg_cast(t->ctx, table, &all));
  expect_ok(t, mg_embed(t->ctx, table, &ids, &out));
  expect_gaps(t, "embed", &out);
  for (int64_t i = 0; i < 37; i++) {
    expect(t, memcmp(f32(&out, i, 0), f32(&all, *i32(&ids, i), 0), (size_t)table->cols * 4) == 0, "embed, row %lld",
           (long long)i);
  }
}

static void nonfinite(const test_context *t) {
  for (int d = 0; d < COUNT(PLAIN); d++) {
    mg_tensor x = matrix(MG_F64, 40, 2000, 0), y = matrix(PLAIN[d], 40, 2000, 1);
    for (int64_t i = 0; i < 40 * 2000; i++) ((double *)x.data)[i] = random_uniform();
    *f64(&x, 0, 0) = NAN;
    *f64(&x, 17, 1999) = INFINITY;
    *f64(&x, 39, 1999) = -INFINITY;
    int64_t bad = -1;
    expect_ok(t, mg_cast(t->ctx, &x, &y));
    expect_ok(t, mg_count_nonfinite(t->ctx, &y, &bad));
    expect(t, bad == 3, "dtype %d: %lld elements counted as not finite, not 3", PLAIN[d], (long long)bad);
  }
}

void test_casts(const test_context *t) {
  for (int i = 0; i < COUNT(PLAIN); i++) {
    for (int j = 0; j < COUNT(PLAIN); j++) {
      plain(t, PLAIN[i], PLAIN[j], 3, 1100);
      plain(t, PLAIN[i], PLAIN[j], 40, 37);
      plain(t, PLAIN[i], PLAIN[j], 0, 5);
      plain(t, PLAIN[i], PLAIN[j], 5, 0);
    }
    mg_tensor table = matrix(PLAIN[i], 11, 67, 2), source = random_matrix(11, 67, 0, 1.0);
    expect_ok(t, mg_cast(t->ctx, &source, &table));
    embedding(t, &table);
  }
  for (int i = 0; i < COUNT(VECTORS); i++) {
    int64_t length;
    quantised(t, i);
    mg_tensor table = known_blocks(i, 9, 2, &length);
    embedding(t, &table);
  }
  to_blocks(t, MG_Q8_0, "0122000e1e31445769777f7f745f3e13e4b7938187a7dc1d587c7a5008bb8886bb120000627f56fba082b721747013a583d14b7f36b482da5d75008a"
                     "aa3c7d118bb14e7300000000000000000000000000000000000000000000000000000000000000000000");
  to_blocks(t, MG_Q4_0, "f53118090a2b6cadefffffdf9f4e0c094693038052d0f3a82e1f8df6d141077effdb3310008088888888888888888888888888888888");
  nonfinite(t);
}
