// Every function of the CUDA library against float64 on the host: random inputs, poisoned outputs, sizes around the vector and
// tile widths, padded and misaligned rows. `ops_test time` also prints times at the sizes of a 7B model.
#include "modegpt.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace {

mg_context *ctx;
int failures = 0;
std::mt19937_64 rng(2024);
std::map<std::string, std::pair<double, double>> worst; // op: error, bound

#define OK(call)                                                                                                                 \
  do {                                                                                                                           \
    if ((call) != MG_OK) {                                                                                                       \
      printf("FAIL line %d: %s\n", __LINE__, mg_last_error(ctx));                                                                \
      exit(1);                                                                                                                   \
    }                                                                                                                            \
  } while (0)

#define EXPECT(condition)                                                                                                        \
  do {                                                                                                                           \
    if (!(condition)) {                                                                                                          \
      printf("FAIL line %d: %s (%s)\n", __LINE__, #condition, mg_last_error(ctx));                                               \
      failures++;                                                                                                                \
    }                                                                                                                            \
  } while (0)

double normal() {
  return std::normal_distribution<double>()(rng);
}
int64_t below(int64_t n) {
  return (int64_t)(rng() % (uint64_t)n);
}

// ---- number formats ------------------------------------------------------------------------------------------------

float bits_to_float(uint32_t b) {
  float f;
  memcpy(&f, &b, 4);
  return f;
}
uint32_t float_to_bits(float f) {
  uint32_t b;
  memcpy(&b, &f, 4);
  return b;
}
uint16_t to_bf16(double x) { // rounded once: what float32 cannot hold stays as an odd last bit
  uint32_t b = float_to_bits((float)x);
  const double f = bits_to_float(b);
  if (std::isfinite(f) && f != x) {
    if (fabs(f) > fabs(x)) b--;
    b |= 1;
  }
  return (uint16_t)((b + 0x7fff + (b >> 16 & 1)) >> 16);
}
double from_bf16(uint16_t h) {
  return bits_to_float((uint32_t)h << 16);
}
double from_f16(uint16_t h) {
  const int exponent = h >> 10 & 31, mantissa = h & 1023;
  const double sign = h & 0x8000 ? -1 : 1;
  if (exponent == 31) return mantissa ? NAN : sign * INFINITY;
  return sign * (exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24));
}
uint16_t to_f16(double x) { // round to nearest even
  if (std::isnan(x)) return 0x7e00;
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  x = fabs(x);
  if (x >= 65520) return sign | 0x7c00;
  int exponent;
  frexp(x, &exponent);
  exponent = exponent < -13 ? -13 : exponent;
  const int64_t units = (int64_t)nearbyint(ldexp(x, 11 - exponent)); // a carry into the exponent comes out right
  return (uint16_t)(sign + (units < 1024 ? units : ((int64_t)(exponent + 13) << 10) + units));
}

int element_bytes(int dtype) {
  return dtype == MG_F64 ? 8 : dtype == MG_BF16 || dtype == MG_F16 ? 2 : 4;
}

struct Block {
  int dtype, length, bytes;
};
const Block BLOCKS[] = {{MG_Q4_0, 32, 18}, {MG_Q4_1, 32, 20},   {MG_Q5_0, 32, 22},   {MG_Q5_1, 32, 24},
                        {MG_Q8_0, 32, 34}, {MG_Q4_K, 256, 144}, {MG_Q5_K, 256, 176}, {MG_Q6_K, 256, 210}};
const Block *block_of(int dtype) {
  for (const Block &b : BLOCKS) {
    if (b.dtype == dtype) return &b;
  }
  return nullptr;
}

// One whole block, written from the format's description and not from the kernels.
std::vector<double> decode(int dtype, const uint8_t *b) {
  const auto half = [&](int at) { return from_f16((uint16_t)(b[at] | b[at + 1] << 8)); };
  std::vector<double> y(block_of(dtype)->length);
  if (dtype == MG_Q8_0) {
    for (int i = 0; i < 32; i++) y[i] = half(0) * (int8_t)b[2 + i];
  } else if (dtype < MG_Q8_0) {
    const bool minimum = dtype == MG_Q4_1 || dtype == MG_Q5_1, five = dtype == MG_Q5_0 || dtype == MG_Q5_1;
    const int high = minimum ? 4 : 2, low = high + (five ? 4 : 0);
    for (int i = 0; i < 32; i++) {
      int q = i < 16 ? b[low + i] % 16 : b[low + i - 16] / 16;
      if (five) q += (b[high + i / 8] >> i % 8 & 1) * 16;
      y[i] = minimum ? half(0) * q + half(2) : half(0) * (q - (five ? 16 : 8));
    }
  } else if (dtype == MG_Q6_K) {
    for (int i = 0; i < 256; i++) {
      const int n = i / 128, j = i % 128, l = j % 32, which = j / 32;
      const int low = b[n * 64 + l + (which % 2) * 32], high = b[128 + n * 32 + l];
      const int q = (which < 2 ? low & 15 : low >> 4) | (high >> 2 * which & 3) << 4;
      y[i] = half(208) * (int8_t)b[192 + n * 8 + l / 16 + 2 * which] * (q - 32);
    }
  } else {
    for (int i = 0; i < 256; i++) {
      const int j = i / 32;
      const uint8_t *s = b + 4;
      const int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
      const int minimum = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4;
      const int at = j / 2 * 32 + i % 32, first = dtype == MG_Q4_K ? 16 : 48;
      int q = j % 2 ? b[first + at] >> 4 : b[first + at] & 15;
      if (dtype == MG_Q5_K) q += (b[16 + i % 32] >> j & 1) * 16;
      y[i] = half(0) * scale * q - half(2) * minimum;
    }
  }
  return y;
}

// ---- a matrix on both sides ----------------------------------------------------------------------------------------

// `gap` more elements between rows than columns, `shift` elements before the first: with odd values nothing is aligned.
struct Mat {
  int64_t rows, cols, stride, shift;
  int dtype;
  std::vector<uint8_t> host;
  void *device = nullptr;
  mg_tensor tensor;

  Mat(int64_t rows, int64_t cols, int dtype = MG_F32, int gap = 0, int shift = 0)
      : rows(rows), cols(cols), stride(cols + gap), shift(shift), dtype(dtype) {
    const Block *b = block_of(dtype);
    host.assign(b ? (size_t)(rows * cols / b->length * b->bytes) : (size_t)((rows * stride + shift) * element_bytes(dtype)),
                0xA5);
    OK(mg_alloc(ctx, (int64_t)host.size(), &device));
    tensor = {(char *)device + (b ? 0 : shift * element_bytes(dtype)), rows, cols, stride, dtype, 0};
  }
  Mat(const Mat &) = delete;
  ~Mat() { OK(mg_free(ctx, device)); }
  operator mg_tensor *() { return &tensor; }

  uint8_t *at(int64_t i, int64_t j) { return host.data() + (shift + i * stride + j) * element_bytes(dtype); }
  double get(int64_t i, int64_t j) {
    const uint8_t *p = at(i, j);
    float f;
    double d;
    uint16_t h;
    int32_t n;
    switch (dtype) {
    case MG_F32:
      memcpy(&f, p, 4);
      return f;
    case MG_F64:
      memcpy(&d, p, 8);
      return d;
    case MG_I32:
      memcpy(&n, p, 4);
      return n;
    default:
      memcpy(&h, p, 2);
      return dtype == MG_BF16 ? from_bf16(h) : from_f16(h);
    }
  }
  void set(int64_t i, int64_t j, double x) {
    uint8_t *p = at(i, j);
    const float f = (float)x;
    const int32_t n = dtype == MG_I32 ? (int32_t)x : 0;
    const uint16_t h = dtype == MG_BF16 ? to_bf16(x) : to_f16(x);
    switch (dtype) {
    case MG_F32:
      memcpy(p, &f, 4);
      break;
    case MG_F64:
      memcpy(p, &x, 8);
      break;
    case MG_I32:
      memcpy(p, &n, 4);
      break;
    default:
      memcpy(p, &h, 2);
    }
  }
  Mat &up() {
    OK(mg_copy(ctx, device, host.data(), (int64_t)host.size(), 0));
    return *this;
  }
  // Gaps between rows must come back as they were.
  Mat &down() {
    const std::vector<uint8_t> before = host;
    OK(mg_copy(ctx, host.data(), device, (int64_t)host.size(), 1));
    const int bytes = element_bytes(dtype);
    for (int64_t i = 0; i < rows && stride > cols; i++) {
      const size_t from = (size_t)((shift + i * stride + cols) * bytes), count = (size_t)((stride - cols) * bytes);
      if (memcmp(host.data() + from, before.data() + from, count) != 0) {
        printf("FAIL: wrote between rows\n");
        failures++;
      }
    }
    return *this;
  }
  Mat &random(double scale = 1) {
    for (int64_t i = 0; i < rows; i++) {
      for (int64_t j = 0; j < cols; j++) set(i, j, scale * normal());
    }
    return up();
  }
  Mat &ids(int64_t n) {
    for (int64_t j = 0; j < cols; j++) set(0, j, (double)below(n));
    return up();
  }
  Mat &poison() {
    for (int64_t i = 0; i < rows; i++) memset(at(i, 0), 0xFF, (size_t)(cols * element_bytes(dtype)));
    return up();
  }
  // Random bytes with sane float16 scales; returns the decoded numbers.
  std::vector<double> quantised() {
    const Block *b = block_of(dtype);
    std::vector<double> y;
    for (uint8_t &byte : host) byte = (uint8_t)rng();
    for (size_t at = 0; at < host.size(); at += b->bytes) {
      const int place = dtype == MG_Q6_K ? 208 : 0;
      for (int i = 0; i < 2; i++) {
        if (i == 1 && (dtype == MG_Q4_0 || dtype == MG_Q5_0 || dtype == MG_Q8_0 || dtype == MG_Q6_K)) break;
        const uint16_t h = to_f16(0.01 * (1 + below(100)));
        memcpy(&host[at + place + 2 * i], &h, 2);
      }
      const std::vector<double> part = decode(dtype, &host[at]);
      y.insert(y.end(), part.begin(), part.end());
    }
    up();
    return y;
  }
};

// Relative error in the Frobenius norm; NaN never passes.
void judge(const std::string &op, const std::string &what, Mat &out, const std::function<double(int64_t, int64_t)> &reference,
           double bound) {
  out.down();
  double difference = 0, size = 0;
  for (int64_t i = 0; i < out.rows; i++) {
    for (int64_t j = 0; j < out.cols; j++) {
      const double r = reference(i, j), d = out.get(i, j) - r;
      difference += d * d;
      size += r * r;
    }
  }
  const double error = sqrt(difference) / (size > 0 ? sqrt(size) : 1);
  std::pair<double, double> &entry = worst[op];
  if (!(error <= entry.first)) entry.first = error;
  entry.second = bound;
  if (!(error <= bound)) {
    printf("FAIL %s %s: error %.3g > %.3g\n", op.c_str(), what.c_str(), error, bound);
    failures++;
  }
}

std::string text(std::initializer_list<int64_t> numbers) {
  std::string s;
  for (int64_t n : numbers) s += (s.empty() ? "" : ", ") + std::to_string(n);
  return "[" + s + "]";
}

struct Layout {
  int gap, shift;
};
const Layout LAYOUTS[] = {{0, 0}, {4, 0}, {8, 8}, {3, 1}};
const int64_t WIDTHS[] = {1, 3, 4, 7, 8, 31, 32, 33, 64, 100, 255, 256, 1028, 4096, 9000};
const float EPS = 1e-5f;

// ---- the operations ------------------------------------------------------------------------------------------------

void test_norms() {
  for (int64_t cols : WIDTHS) {
    for (Layout l : LAYOUTS) {
      for (int out : {MG_F32, MG_BF16}) {
        Mat x(5, cols, MG_F32, l.gap, l.shift), w(1, cols), b(1, cols), y(5, cols, out, l.gap, l.shift);
        x.random(3), w.random(), b.random(), y.poison();
        for (int64_t i = 0; i < 5; i++) {
          for (int64_t j = 0; j < cols; j++) x.set(i, j, x.get(i, j) + 2);
        }
        x.up();
        std::vector<double> mean(5), variance(5), square(5);
        for (int64_t i = 0; i < 5; i++) {
          for (int64_t j = 0; j < cols; j++) {
            mean[i] += x.get(i, j) / cols;
            square[i] += x.get(i, j) * x.get(i, j) / cols;
          }
          for (int64_t j = 0; j < cols; j++) variance[i] += pow(x.get(i, j) - mean[i], 2) / cols;
        }
        const double bound = out == MG_F32 ? 2e-6 : 4e-3;
        const std::string suffix = out == MG_F32 ? "" : " to BF16";
        OK(mg_rms_norm(ctx, x, w, EPS, y));
        const auto rms = [&](int64_t i, int64_t j) { return x.get(i, j) / sqrt(square[i] + EPS) * w.get(0, j); };
        judge("rms_norm" + suffix, text({cols, l.gap, l.shift}), y, rms, bound);
        y.poison();
        OK(mg_layer_norm(ctx, x, w, b, EPS, y));
        const auto layer = [&](int64_t i, int64_t j) {
          return (x.get(i, j) - mean[i]) / sqrt(variance[i] + EPS) * w.get(0, j) + b.get(0, j);
        };
        judge("layer_norm" + suffix, text({cols, l.gap, l.shift}), y, layer, bound);
        if (out == MG_F32) {
          Mat z(5, cols, MG_F32, l.gap, l.shift);
          z.host = x.host;
          z.up();
          OK(mg_rms_norm(ctx, z, nullptr, EPS, z));
          judge(
              "rms_norm", "in place", z, [&](int64_t i, int64_t j) { return x.get(i, j) / sqrt(square[i] + EPS); }, bound);
        }
      }
    }
  }
}

void test_rope() {
  struct Case {
    int64_t rows;
    int heads, dim, freq_rows, pairs;
  };
  for (Case c : {Case{7, 4, 64, 1, 32},
                 {300, 8, 128, 1, 64},
                 {1, 32, 128, 1, 64},
                 {33, 6, 20, 3, 9},
                 {5, 9, 46, 9, 23},
                 {4, 2, 10, 1, 3},
                 {3, 4, 16, 2, 4}}) {
    for (Layout l : LAYOUTS) {
      Mat x(c.rows, c.heads * c.dim, MG_F32, l.gap, l.shift), before(c.rows, c.heads * c.dim, MG_F32, l.gap, l.shift);
      Mat positions(1, c.rows, MG_I32), freqs(c.freq_rows, c.pairs, MG_F32, l.gap, l.shift);
      x.random();
      before.host = x.host;
      positions.ids(100000);
      for (int64_t i = 0; i < c.freq_rows; i++) {
        for (int64_t t = 0; t < c.pairs; t++) freqs.set(i, t, pow(10000, -(double)(t + i) / c.pairs));
      }
      freqs.up();
      OK(mg_rope(ctx, x, positions, freqs, c.heads));
      judge(
          "rope", text({c.rows, c.heads, c.dim, c.freq_rows, c.pairs, l.gap}), x,
          [&](int64_t i, int64_t j) {
            const int64_t head = j / c.dim, t = j % c.dim;
            if (t >= 2 * c.pairs) return before.get(i, j);
            const double angle = positions.get(0, i) * freqs.get(head / (c.heads / c.freq_rows), t % c.pairs);
            return t < c.pairs ? before.get(i, j) * cos(angle) - before.get(i, j + c.pairs) * sin(angle)
                               : before.get(i, j) * cos(angle) + before.get(i, j - c.pairs) * sin(angle);
          },
          3e-7);
    }
  }
}

double act(int kind, double x) {
  switch (kind) {
  case MG_SILU:
    return x / (1 + exp(-x));
  case MG_GELU:
    return 0.5 * x * (1 + erf(x / sqrt(2.0)));
  case MG_GELU_TANH:
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  case MG_RELU:
    return x > 0 ? x : 0;
  default:
    return x;
  }
}

void test_activations() {
  for (int kind = MG_SILU; kind <= MG_IDENTITY; kind++) {
    for (int64_t cols : {1, 7, 8, 33, 1024, 1030}) {
      for (Layout l : LAYOUTS) {
        for (int in : {MG_F32, MG_BF16}) {
          for (int out : {MG_F32, MG_BF16}) {
            Mat g(6, cols, in, l.gap, l.shift), u(6, cols, in, l.gap, l.shift), y(6, cols, out, l.gap, l.shift);
            g.random(3), u.random(), y.poison();
            OK(mg_gated_activation(ctx, g, u, kind, y));
            judge(
                out == MG_F32 ? "gated_activation" : "gated_activation to BF16", text({kind, cols, l.gap, in}), y,
                [&](int64_t i, int64_t j) { return act(kind, g.get(i, j)) * u.get(i, j); }, out == MG_F32 ? 1e-6 : 4e-3);
          }
        }
        Mat x(6, cols, MG_F32, l.gap, l.shift), before(6, cols, MG_F32, l.gap, l.shift);
        x.random(3);
        before.host = x.host;
        OK(mg_activation(ctx, x, kind));
        judge(
            "activation", text({kind, cols, l.gap}), x, [&](int64_t i, int64_t j) { return act(kind, before.get(i, j)); }, 1e-6);
      }
    }
  }
}

void test_elementwise() {
  for (int64_t cols : {1, 4, 31, 32, 33, 130, 1024}) {
    for (Layout l : LAYOUTS) {
      for (int dtype : {MG_F32, MG_F64}) {
        const double bound = dtype == MG_F32 ? 2e-7 : 1e-15;
        for (int64_t x_rows : {9, 1}) {
          Mat x(x_rows, cols, dtype, l.gap, l.shift), y(9, cols, dtype, l.gap, l.shift), before(9, cols, dtype, l.gap, l.shift);
          x.random(), y.random();
          before.host = y.host;
          OK(mg_add(ctx, 0.75f, x, y));
          judge(
              "add", text({x_rows, cols, dtype, l.gap}), y,
              [&](int64_t i, int64_t j) { return before.get(i, j) + 0.75 * x.get(x_rows == 1 ? 0 : i, j); }, bound);
        }
        Mat x(37, cols, dtype, l.gap, l.shift), t(cols, 37, dtype, l.gap, l.shift), index(1, 70, MG_I32),
            y(37, 70, dtype, l.gap, l.shift);
        x.random(), t.poison(), y.poison(), index.ids(cols);
        OK(mg_transpose(ctx, x, t));
        judge(
            "transpose", text({cols, dtype, l.gap}), t, [&](int64_t i, int64_t j) { return x.get(j, i); }, 0);
        OK(mg_gather_columns(ctx, x, index, y));
        judge(
            "gather_columns", text({cols, dtype, l.gap}), y,
            [&](int64_t i, int64_t j) { return x.get(i, (int64_t)index.get(0, j)); }, 0);
        OK(mg_fill_zero(ctx, y));
        judge(
            "fill_zero", text({cols, dtype, l.gap}), y, [&](int64_t, int64_t) { return 0.0; }, 0);
      }
      for (int dtype : {MG_F32, MG_F64}) {
        Mat x(9, cols, dtype, l.gap, l.shift), before(9, cols, dtype, l.gap, l.shift);
        x.random(20);
        before.host = x.host;
        OK(mg_scale(ctx, 0.5f, 0, x));
        OK(mg_scale(ctx, 2, 30, x));
        judge(
            dtype == MG_F32 ? "scale" : "scale F64", text({cols, l.gap}), x,
            [&](int64_t i, int64_t j) { return 30 * tanh(before.get(i, j) / 30); }, dtype == MG_F32 ? 1e-6 : 1e-14);
      }
    }
  }
}

void test_formats() {
  for (int64_t cols : {1, 7, 8, 9, 64, 1031}) {
    for (Layout l : LAYOUTS) {
      for (int from : {MG_F32, MG_F64, MG_BF16, MG_F16}) {
        for (int to : {MG_F32, MG_F64, MG_BF16, MG_F16}) {
          Mat x(5, cols, from, l.gap, l.shift), y(5, cols, to, l.gap, l.shift), z(5, cols, to);
          x.random(), y.poison();
          for (int64_t i = 0; i < 5; i++) {
            for (int64_t j = 0; j < cols; j++) {
              const double v = x.get(i, j);
              z.set(i, j, v);
            }
          }
          OK(mg_cast(ctx, x, y));
          judge(
              "cast", text({cols, from, to, l.gap}), y, [&](int64_t i, int64_t j) { return z.get(i, j); }, 0);
        }
        Mat table(11, cols, from, l.gap, l.shift), ids(1, 6, MG_I32), out(6, cols, MG_F32, l.gap, l.shift);
        table.random(), ids.ids(11), out.poison();
        OK(mg_embed(ctx, table, ids, out));
        judge(
            "embed", text({cols, from, l.gap}), out,
            [&](int64_t i, int64_t j) { return (float)table.get((int64_t)ids.get(0, i), j); }, 0);
        if (from != MG_F64) {
          for (int64_t rows : {1, 2, 3, 7, 8, 9, 21, 70}) {
            Mat x(rows, cols, MG_F32, l.gap, l.shift), w(13, cols, from, l.gap, l.shift), b(1, 13),
                y(rows, 13, MG_F32, l.gap, l.shift);
            x.random(), w.random(), b.random(), y.poison();
            OK(mg_linear(ctx, x, w, rows == 3 ? nullptr : b.operator mg_tensor *(), y, 1));
            judge(
                "linear", text({rows, cols, from, l.gap}), y,
                [&](int64_t i, int64_t j) {
                  double sum = rows == 3 ? 0 : b.get(0, j);
                  for (int64_t c = 0; c < cols; c++) sum += x.get(i, c) * w.get(j, c);
                  return sum;
                },
                1e-6);
          }
        }
        Mat bad(5, cols, from, l.gap, l.shift);
        bad.random();
        bad.set(2, cols / 2, NAN);
        bad.set(4, cols - 1, INFINITY);
        bad.up();
        int64_t count = -1;
        OK(mg_count_nonfinite(ctx, bad, &count));
        EXPECT(count == 2);
      }
    }
  }
  for (const Block &b : BLOCKS) {
    const int64_t rows = 7, cols = 2 * b.length;
    Mat q(rows, cols, b.dtype);
    const std::vector<double> values = q.quantised();
    const auto value = [&](int64_t i, int64_t j) { return values[(size_t)(i * cols + j)]; };
    for (Layout l : LAYOUTS) {
      for (int to : {MG_F32, MG_F64, MG_BF16, MG_F16}) {
        Mat y(rows, cols, to, l.gap, l.shift);
        y.poison();
        OK(mg_cast(ctx, q, y));
        judge(to == MG_BF16  ? "cast of blocks to BF16"
              : to == MG_F16 ? "cast of blocks to F16"
                             : "cast of blocks",
              text({b.dtype, to, l.gap}), y, value,
              to == MG_BF16  ? 4e-3
              : to == MG_F16 ? 5e-4
                             : 2e-7);
      }
      Mat ids(1, 9, MG_I32), out(9, cols, MG_F32, l.gap, l.shift);
      ids.ids(rows), out.poison();
      OK(mg_embed(ctx, q, ids, out));
      judge(
          "embed of blocks", text({b.dtype, l.gap}), out, [&](int64_t i, int64_t j) { return value((int64_t)ids.get(0, i), j); },
          2e-7);
      for (int64_t n : {1, 3, 8, 32}) {
        Mat x(n, cols, MG_F32, l.gap, l.shift), y(n, rows, MG_F32, l.gap, l.shift);
        x.random(), y.poison();
        OK(mg_linear(ctx, x, q, nullptr, y, 1));
        judge(
            "linear of blocks", text({b.dtype, n, l.gap}), y,
            [&](int64_t i, int64_t j) {
              double sum = 0;
              for (int64_t c = 0; c < cols; c++) sum += x.get(i, c) * value(j, c);
              return sum;
            },
            n > 8 ? 2e-6 : 1e-6); // tensor cores do not round their sums to nearest
      }
    }
    int64_t count = -1;
    OK(mg_count_nonfinite(ctx, q, &count));
    EXPECT(count == 0);
    q.host[(size_t)b.bytes + (b.dtype == MG_Q6_K ? 208 : 0)] = 0;
    q.host[(size_t)b.bytes + (b.dtype == MG_Q6_K ? 208 : 0) + 1] = 0x7c; // infinity
    q.up();
    OK(mg_count_nonfinite(ctx, q, &count));
    EXPECT(count == 1);
  }
}

// Some tens of rows, on tensor cores: whole and partial tiles, one and several shares of the columns.
void test_linear() {
  for (int dtype : {MG_BF16, MG_F16, MG_F32, MG_Q8_0, MG_Q4_K}) {
    for (int64_t rows : {9, 32, 61}) {
      for (const auto &[in, out] : {std::pair<int64_t, int64_t>{256, 128}, {768, 70}, {2304, 300}, {256, 40000}}) {
        if (out == 40000 && (rows != 32 || dtype != MG_BF16)) continue;
        Mat x(rows, in), x_bf16(rows, in, MG_BF16), w(out, in, dtype), b(1, out);
        x.random(), x_bf16.random(), b.random();
        std::vector<double> values;
        if (block_of(dtype)) {
          values = w.quantised();
        } else {
          w.random();
          for (int64_t i = 0; i < out; i++) {
            for (int64_t j = 0; j < in; j++) values.push_back(w.get(i, j));
          }
        }
        const auto product = [&](Mat &left, int64_t i, int64_t j) {
          double sum = b.get(0, j);
          for (int64_t c = 0; c < in; c++) sum += left.get(i, c) * values[(size_t)(j * in + c)];
          return sum;
        };
        for (int precision : {MG_PRECISE, MG_FAST}) {
          Mat y(rows, out, MG_F32, 3, 1);
          y.poison();
          OK(mg_set_precision(ctx, precision));
          OK(mg_linear(ctx, x, w, b, y, 1));
          judge(
              precision == MG_FAST ? "linear of some rows, fast" : "linear of some rows", text({dtype, rows, in, out}), y,
              [&](int64_t i, int64_t j) { return product(x, i, j); }, precision == MG_FAST ? 5e-3 : 2e-6);
        }
        Mat y(rows, out);
        y.poison();
        OK(mg_linear(ctx, x_bf16, w, b, y, 1));
        judge(
            "linear of BF16 rows", text({dtype, rows, in, out}), y, [&](int64_t i, int64_t j) { return product(x_bf16, i, j); },
            dtype == MG_BF16 ? 1e-6 : 5e-3);
        OK(mg_set_precision(ctx, MG_PRECISE));
      }
    }
  }
}

// Matrices that read the same rows: formats that differ part the group, biases may be there for some.
void test_linear_group() {
  for (int64_t rows : {1, 2, 3, 8, 9}) {
    for (const auto &dtypes : {std::array<int, 3>{MG_BF16, MG_BF16, MG_BF16}, {MG_BF16, MG_F32, MG_F32}, {MG_F16, MG_F16, MG_F32}}) {
      for (int64_t in : {256, 37}) {
        const int64_t outs[] = {70, 13, 129}; // one number may happen to be near 0, where no error is small
        Mat x(rows, in);
        x.random();
        std::deque<Mat> w, b, y;
        std::vector<mg_tensor> ws, bs, ys;
        for (size_t i = 0; i < 3; i++) {
          w.emplace_back(outs[i], in, dtypes[i]), b.emplace_back(1, outs[i]), y.emplace_back(rows, outs[i], MG_F32, 3, 1);
          w[i].random(), b[i].random(), y[i].poison();
          ws.push_back(*w[i].operator mg_tensor *()), ys.push_back(*y[i].operator mg_tensor *());
          bs.push_back(i == 1 ? mg_tensor{} : *b[i].operator mg_tensor *());
        }
        OK(mg_linear(ctx, x, ws.data(), bs.data(), ys.data(), 3));
        for (size_t k = 0; k < 3; k++) {
          judge(
              "linear of a group", text({rows, dtypes[k], in, outs[k]}), y[k],
              [&](int64_t i, int64_t j) {
                double sum = k == 1 ? 0 : b[k].get(0, j);
                for (int64_t c = 0; c < in; c++) sum += x.get(i, c) * w[k].get(j, c);
                return sum;
              },
              2e-6);
        }
      }
    }
  }
  Mat x(1, 8), w(4, 8), y(1, 4);
  EXPECT(mg_linear(ctx, x, w, nullptr, y, 4) == MG_EINVAL && mg_linear(ctx, x, w, nullptr, y, 0) == MG_EINVAL);
}

void test_scatter() {
  for (int dtype : {MG_F32, MG_F64, MG_BF16, MG_F16, MG_I32}) {
    for (int64_t cols : {1, 4, 33, 64, 1028}) {
      for (Layout l : LAYOUTS) {
        const int64_t rows = 9;
        Mat x(rows, cols, dtype, l.gap, l.shift), y(2 * rows, cols, dtype, l.gap, l.shift), index(1, rows, MG_I32),
            back(rows, cols, dtype, l.gap, l.shift);
        x.random(100), y.random(100), back.poison();
        Mat before(2 * rows, cols, dtype, l.gap, l.shift);
        before.host = y.host;
        for (int64_t i = 0; i < rows; i++) index.set(0, i, (double)(2 * (rows - 1 - i)));
        index.up();
        OK(mg_scatter_rows(ctx, x, index, y));
        judge(
            "scatter_rows", text({cols, dtype, l.gap}), y,
            [&](int64_t i, int64_t j) { return i % 2 ? before.get(i, j) : x.get(rows - 1 - i / 2, j); }, 0);
        OK(mg_gather_rows(ctx, y, index, back));
        judge(
            "gather_rows", text({cols, dtype, l.gap}), back, [&](int64_t i, int64_t j) { return x.get(i, j); }, 0);
      }
    }
  }
  Mat x(2, 8), y(3, 8), index(1, 2, MG_I32);
  x.random(1), y.random(1); // or initcheck finds what nobody looks at
  index.set(0, 0, 1), index.set(0, 1, 3);
  index.up();
  OK(mg_scatter_rows(ctx, x, index, y));
  EXPECT(mg_sync(ctx) == MG_EINVAL && strstr(mg_last_error(ctx), "scatter_rows met row 3"));
}

void test_losses() {
  for (int64_t cols : {1, 5, 32, 1000, 2049, 32000}) {
    for (Layout l : LAYOUTS) {
      const int64_t rows = 4;
      Mat x(rows, cols, MG_F32, l.gap, l.shift), q(rows, cols, MG_F32, l.gap, l.shift), targets(1, rows, MG_I32);
      Mat nll(1, rows, MG_F64), argmax(1, rows, MG_I32), kl(1, rows, MG_F64);
      x.random(4), q.random(4), targets.ids(cols), nll.poison(), argmax.poison(), kl.poison();
      for (int64_t j = 0; j < cols; j++) q.set(1, j, x.get(1, j) * 1.001); // a small divergence
      q.up();
      targets.set(0, 2, -1);
      targets.up();
      const auto log_sum = [&](Mat &m, int64_t i) {
        double top = -INFINITY, sum = 0;
        for (int64_t j = 0; j < cols; j++) top = fmax(top, m.get(i, j));
        for (int64_t j = 0; j < cols; j++) sum += exp(m.get(i, j) - top);
        return top + log(sum);
      };
      OK(mg_nll(ctx, x, targets, nll, argmax));
      judge(
          "nll", text({cols, l.gap}), nll,
          [&](int64_t, int64_t i) { return targets.get(0, i) < 0 ? 0 : log_sum(x, i) - x.get(i, (int64_t)targets.get(0, i)); },
          1e-6);
      judge(
          "nll's argmax", text({cols, l.gap}), argmax,
          [&](int64_t, int64_t i) {
            int64_t best = 0;
            for (int64_t j = 1; j < cols; j++) best = x.get(i, j) > x.get(i, best) ? j : best;
            return (double)best;
          },
          0);
      OK(mg_kl_divergence(ctx, x, q, kl));
      judge(
          "kl_divergence", text({cols, l.gap}), kl,
          [&](int64_t, int64_t i) {
            double sum = 0;
            const double lp = log_sum(x, i), lq = log_sum(q, i);
            for (int64_t j = 0; j < cols; j++) sum += exp(x.get(i, j) - lp) * (x.get(i, j) - lp - q.get(i, j) + lq);
            return sum;
          },
          2e-6);
    }
  }
}

void test_statistics() {
  for (int64_t n : {1, 5, 63, 64, 65, 130}) {
    for (int64_t rows : {1, 15, 16, 129, 300}) {
      for (Layout l : LAYOUTS) {
        Mat x(rows, n, MG_F32, l.gap, l.shift), y(rows, 37, MG_F32, l.gap, l.shift);
        Mat c(n, n, MG_F64, l.gap, l.shift), d(n, 37, MG_F64, l.gap, l.shift), e(1, n, MG_F64);
        Mat c0(n, n, MG_F64, l.gap, l.shift), d0(n, 37, MG_F64, l.gap, l.shift), e0(1, n, MG_F64);
        x.random(), y.random(), c.random(), d.random(), e.random();
        c0.host = c.host, d0.host = d.host, e0.host = e.host;
        const auto product = [&](Mat &a, int64_t i, Mat &b, int64_t j) {
          double sum = 0;
          for (int64_t r = 0; r < rows; r++) sum += a.get(r, i) * b.get(r, j);
          return sum;
        };
        OK(mg_gram(ctx, x, c));
        judge(
            "gram", text({rows, n, l.gap}), c,
            [&](int64_t i, int64_t j) { return c0.get(i, j) + (j <= i ? product(x, i, x, j) : 0); },
            1e-6); // a single product may cancel against what was there
        OK(mg_cross_gram(ctx, x, y, d));
        judge(
            "cross_gram", text({rows, n, l.gap}), d, [&](int64_t i, int64_t j) { return d0.get(i, j) + product(x, i, y, j); },
            5e-7);
        OK(mg_column_energy(ctx, x, e));
        judge(
            "column_energy", text({rows, n, l.gap}), e, [&](int64_t, int64_t j) { return e0.get(0, j) + product(x, j, x, j); },
            5e-7);
      }
    }
  }
  for (int64_t h : {1, 6, 64, 90, 128}) {
    for (Layout l : LAYOUTS) {
      const int heads = 3;
      const int64_t rows = 77;
      Mat x(rows, heads * h, MG_F32, l.gap, l.shift), c(heads * h, h, MG_F64, l.gap, l.shift),
          c0(heads * h, h, MG_F64, l.gap, l.shift);
      x.random(), c.random();
      c0.host = c.host;
      OK(mg_head_gram(ctx, x, heads, c));
      judge(
          "head_gram", text({h, l.gap}), c,
          [&](int64_t i, int64_t j) {
            double sum = c0.get(i, j);
            for (int64_t r = 0; r < rows; r++) sum += x.get(r, i) * x.get(r, i / h * h + j);
            return sum;
          },
          5e-7);
    }
  }
  for (int64_t n : {1, 3, 4, 5, 64, 67}) {
    for (Layout l : LAYOUTS) {
      for (int lower : {0, 1}) {
        Mat x(n, n, MG_F32, l.gap, l.shift), c(n, n, MG_F64, l.gap, l.shift), c0(n, n, MG_F64, l.gap, l.shift);
        x.random(), c.random();
        c0.host = c.host;
        OK(mg_accumulate(ctx, x, lower, c));
        judge(
            "accumulate", text({n, lower, l.gap}), c,
            [&](int64_t i, int64_t j) { return c0.get(i, j) + (lower && j > i ? 0 : x.get(i, j)); }, 1e-15);
      }
    }
  }
  for (int64_t cols : {1, 33, 128, 1000}) {
    for (int64_t rows : {1, 9, 700}) {
      for (Layout l : LAYOUTS) {
        Mat x(rows, cols, MG_F32, l.gap, l.shift), y(rows, cols, MG_F32, l.gap, l.shift), acc(1, 3, MG_F64);
        x.random(), y.random(), acc.random();
        double sums[3] = {acc.get(0, 0), acc.get(0, 1), acc.get(0, 2) + (double)rows};
        for (int64_t i = 0; i < rows; i++) {
          double xx = 0, yy = 0, xy = 0, dd = 0;
          for (int64_t j = 0; j < cols; j++) {
            const double p = x.get(i, j), q = y.get(i, j);
            xx += p * p, yy += q * q, xy += p * q, dd += (q - p) * (q - p);
          }
          sums[0] += xy / sqrt(xx * yy);
          sums[1] += dd / xx;
        }
        OK(mg_block_influence(ctx, x, y, acc));
        judge(
            "block_influence", text({rows, cols, l.gap}), acc, [&](int64_t, int64_t j) { return sums[j]; }, 5e-7);
      }
    }
  }
}

struct AttentionCase {
  int64_t batch, queries, keys, capacity;
  int heads, kv_heads, dk, dv, window;
  float softcap;
  double spread; // of the logits
};

// Of a case with spans, sequence b has fewer keys the larger b is, and lies in the cache from the end on.
int64_t keys_of(const AttentionCase &c, int64_t b, bool spanned) {
  return spanned ? c.keys - b * (c.keys - c.queries) / c.batch : c.keys;
}
int64_t first_row(const AttentionCase &c, int64_t b, bool spanned) {
  return (spanned ? c.batch - 1 - b : b) * c.capacity;
}

std::vector<double> attention_row(const AttentionCase &c, Mat &q, Mat &k, Mat &v, float scale, int64_t b, int64_t i, int head,
                                  bool spanned = false) {
  const int64_t position = keys_of(c, b, spanned) - c.queries + i, kv = head / (c.heads / c.kv_heads);
  const int64_t row = first_row(c, b, spanned);
  const int64_t first = c.window > 0 && position - c.window + 1 > 0 ? position - c.window + 1 : 0;
  std::vector<double> logits((size_t)(position + 1)), out((size_t)c.dv);
  double top = -INFINITY, total = 0;
  for (int64_t j = first; j <= position; j++) {
    double dot = 0;
    for (int d = 0; d < c.dk; d++) dot += q.get(b * c.queries + i, head * c.dk + d) * k.get(row + j, kv * c.dk + d);
    dot *= scale;
    logits[(size_t)j] = c.softcap > 0 ? c.softcap * tanh(dot / c.softcap) : dot;
    top = fmax(top, logits[(size_t)j]);
  }
  for (int64_t j = first; j <= position; j++) {
    const double e = exp(logits[(size_t)j] - top);
    total += e;
    for (int d = 0; d < c.dv; d++) out[(size_t)d] += e * v.get(row + j, kv * c.dv + d);
  }
  for (double &x : out) x /= total;
  return out;
}

mg_attention_params params_of(const AttentionCase &c, float scale) {
  return {c.batch, c.queries, c.keys, c.capacity, c.heads, c.kv_heads, c.window, 0, scale, c.softcap};
}

void check_attention(const AttentionCase &c, bool spanned);

void test_attention() {
  const AttentionCase cases[] = {{1, 1, 1, 1, 1, 1, 8, 8, 0, 0, 1},
                                 {3, 1, 70, 80, 4, 2, 64, 64, 0, 0, 1},
                                 {2, 1, 1500, 1600, 8, 8, 128, 128, 0, 0, 2},
                                 {1, 1, 3000, 3000, 32, 4, 128, 128, 0, 0, 4},
                                 {2, 5, 37, 40, 6, 2, 20, 13, 0, 0, 1},
                                 {1, 15, 15, 15, 9, 3, 64, 64, 0, 0, 1},
                                 {1, 16, 16, 16, 2, 1, 64, 64, 0, 0, 1},
                                 {2, 63, 63, 64, 3, 3, 32, 48, 0, 0, 1},
                                 {1, 129, 129, 129, 2, 2, 128, 128, 0, 0, 1},
                                 {2, 300, 300, 310, 4, 2, 90, 83, 0, 0, 4},
                                 {1, 200, 450, 500, 2, 1, 96, 96, 0, 0, 1},
                                 {1, 257, 257, 257, 2, 2, 80, 80, 40, 0, 1},
                                 {1, 100, 400, 400, 2, 2, 128, 100, 33, 20, 6},
                                 {1, 140, 140, 140, 2, 1, 256, 256, 0, 50, 1},
                                 {1, 65, 65, 65, 1, 1, 300, 300, 0, 0, 1},
                                 {1, 1, 900, 900, 4, 2, 90, 86, 100, 30, 3},
                                 {1, 40, 40, 40, 2, 2, 6, 300, 0, 0, 1}};
  for (const AttentionCase &c : cases) check_attention(c, false);
  const AttentionCase spanned[] = {{5, 1, 70, 73, 6, 3, 64, 64, 0, 0, 1},
                                   {32, 1, 300, 310, 8, 8, 128, 128, 0, 0, 2},
                                   {3, 1, 3000, 3001, 4, 1, 128, 96, 0, 0, 2},
                                   {4, 1, 900, 900, 6, 2, 90, 86, 100, 30, 3},
                                   {2, 3, 90, 95, 4, 2, 20, 13, 0, 0, 1},
                                   {2, 1, 90, 95, 4, 2, 20, 12, 0, 0, 1},
                                   {2, 40, 150, 151, 2, 1, 32, 32, 60, 0, 1}};
  for (const AttentionCase &c : spanned) check_attention(c, true);
  OK(mg_set_precision(ctx, MG_PRECISE));
  Mat q(2, 8), k(6, 8), out(2, 8), spans(2, 2, MG_I32);
  q.random(), k.random();
  const mg_attention_params params = {2, 1, 4, 0, 1, 1, 0, 0, 1, 0};
  for (const auto &[first, keys] : {std::pair{3, 4}, {-1, 2}, {0, 5}, {0, 0}}) {
    spans.set(0, 0, 0), spans.set(1, 0, 1), spans.set(0, 1, first), spans.set(1, 1, keys);
    spans.up();
    OK(mg_attention(ctx, q, k, k, &params, spans, out));
    EXPECT(mg_sync(ctx) == MG_EINVAL && strstr(mg_last_error(ctx), "bad span of sequence 1"));
  }
}

// Of one layout, dtype and precision after the other.
void check_attention(const AttentionCase &c, bool spanned) {
  for (Layout l : LAYOUTS) {
    const int kv_gap = l.gap == 4 ? 8 : l.gap;
    for (int kv : {MG_F32, MG_BF16}) {
      Mat q(c.batch * c.queries, c.heads * c.dk, MG_F32, l.gap, l.shift);
      Mat k(c.batch * c.capacity, c.kv_heads * c.dk, kv, kv_gap, l.shift),
          v(c.batch * c.capacity, c.kv_heads * c.dv, kv, kv_gap, l.shift);
      q.random(c.spread), k.random(), v.random();
      Mat spans(2, c.batch, MG_I32, l.gap, l.shift);
      for (int64_t b = 0; b < c.batch; b++) { // what lies beyond the valid keys must not matter
        const int64_t keys = keys_of(c, b, spanned), first = first_row(c, b, spanned);
        spans.set(0, b, (double)first), spans.set(1, b, (double)keys);
        for (int64_t j = keys; j < c.capacity; j++) {
          for (int64_t d = 0; d < k.cols; d++) k.set(first + j, d, NAN);
          for (int64_t d = 0; d < v.cols; d++) v.set(first + j, d, NAN);
        }
      }
      k.up(), v.up(), spans.up();
      const float scale = (float)(1 / sqrt(c.dk));
      const mg_attention_params params = params_of(c, scale);
      std::map<int64_t, std::vector<double>> rows;
      const auto reference = [&](int64_t r, int64_t j) {
        std::vector<double> &row = rows[r * c.heads + j / c.dv];
        if (row.empty()) row = attention_row(c, q, k, v, scale, r / c.queries, r % c.queries, (int)(j / c.dv), spanned);
        return row[(size_t)(j % c.dv)];
      };
      const std::string what = text({c.batch, c.queries, c.keys, c.heads, c.kv_heads, c.dk, c.dv, c.window, l.gap, kv});
      for (int out_type : {MG_F32, MG_BF16}) {
        for (int precision : {MG_PRECISE, MG_FAST}) {
          Mat out(c.batch * c.queries, c.heads * c.dv, out_type, l.gap, l.shift);
          out.poison();
          OK(mg_set_precision(ctx, precision));
          OK(mg_attention(ctx, q, k, v, &params, spanned ? spans.operator mg_tensor *() : nullptr, out));
          const bool precise = precision == MG_PRECISE, to_bf16 = out_type == MG_BF16;
          judge(std::string(precise ? "attention" : "attention, fast") + (spanned ? " of spans" : "") +
                    (to_bf16 ? " to BF16" : ""),
                what, out, reference, precise ? (to_bf16 ? 4e-3 : 3e-5) : 2e-2);
        }
      }
    }
  }
}

// ---- gradients, against their formulas or, for the activations, against differences ----------------------------------

void test_gradient_norms() {
  for (int64_t cols : WIDTHS) {
    for (Layout l : LAYOUTS) {
      const int64_t rows = 4;
      Mat x(rows, cols, MG_F32, l.gap, l.shift), w(1, cols), dy(rows, cols, MG_F32, l.gap, l.shift);
      x.random(3), w.random(), dy.random();
      for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < cols; j++) x.set(i, j, x.get(i, j) + 2);
      }
      x.up();
      for (bool centred : {false, true}) {
        for (bool weighted : {false, true}) {
          const auto slope = [&](int64_t i, int64_t j) { return dy.get(i, j) * (weighted ? w.get(0, j) : 1); };
          std::vector<double> mean(rows), r(rows), slopes(rows), products(rows);
          for (int64_t i = 0; i < rows; i++) {
            for (int64_t j = 0; j < cols && centred; j++) mean[i] += x.get(i, j) / (double)cols;
            double squares = 0;
            for (int64_t j = 0; j < cols; j++) {
              const double c = x.get(i, j) - mean[i];
              squares += c * c / (double)cols;
              products[i] += slope(i, j) * c / (double)cols;
              if (centred) slopes[i] += slope(i, j) / (double)cols;
            }
            r[i] = 1 / sqrt(squares + EPS);
          }
          if (cols < (centred ? 7 : 3)) continue; // what is left of so few is rounding
          const auto reference = [&](int64_t i, int64_t j) {
            return r[i] * (slope(i, j) - slopes[i] - (x.get(i, j) - mean[i]) * r[i] * r[i] * products[i]);
          };
          const auto call = centred ? mg_layer_norm_backward : mg_rms_norm_backward;
          const char *name = centred ? "layer_norm_backward" : "rms_norm_backward";
          mg_tensor *weight = weighted ? w.operator mg_tensor *() : nullptr;
          Mat dx(rows, cols, MG_F32, l.gap, l.shift), same(rows, cols, MG_F32, l.gap, l.shift);
          dx.poison();
          same.host = dy.host;
          same.up();
          OK(call(ctx, x, weight, EPS, dy, dx));
          judge(name, text({cols, l.gap, weighted}), dx, reference, 1e-5);
          OK(call(ctx, x, weight, EPS, same, same));
          judge(name, text({cols, l.gap, weighted}) + " in place", same, reference, 1e-5);
        }
      }
    }
  }
}

void test_gradient_activations() {
  const double step = 1e-6; // seldom across the kink of a ReLU
  for (int kind = MG_SILU; kind <= MG_IDENTITY; kind++) {
    for (int64_t cols : {1, 7, 8, 33, 1024, 1030}) {
      for (Layout l : LAYOUTS) {
        Mat g(5, cols, MG_F32, l.gap, l.shift), u(5, cols, MG_F32, l.gap, l.shift), dy(5, cols, MG_F32, l.gap, l.shift);
        Mat dg(5, cols, MG_F32, l.gap, l.shift), du(5, cols, MG_F32, l.gap, l.shift);
        Mat old_g(5, cols, MG_F32, l.gap, l.shift), old_u(5, cols, MG_F32, l.gap, l.shift);
        g.random(3), u.random(), dy.random(), dg.poison(), du.poison();
        old_g.host = g.host, old_u.host = u.host;
        const auto slope = [&](int64_t i, int64_t j) {
          const double x = old_g.get(i, j);
          return (act(kind, x + step) - act(kind, x - step)) / (2 * step) * dy.get(i, j);
        };
        const auto of_gate = [&](int64_t i, int64_t j) { return slope(i, j) * old_u.get(i, j); };
        const auto of_up = [&](int64_t i, int64_t j) { return act(kind, old_g.get(i, j)) * dy.get(i, j); };
        const std::string what = text({kind, cols, l.gap});
        OK(mg_activation_backward(ctx, g, nullptr, kind, dy, dg, nullptr));
        judge("activation_backward", what + " alone", dg, slope, 3e-6);
        dg.poison();
        OK(mg_activation_backward(ctx, g, u, kind, dy, dg, du));
        judge("activation_backward", what + " at gate", dg, of_gate, 3e-6);
        judge("activation_backward", what + " at up", du, of_up, 3e-6);
        OK(mg_activation_backward(ctx, g, u, kind, dy, g, u));
        judge("activation_backward", what + " at gate, in place", g, of_gate, 3e-6);
        judge("activation_backward", what + " at up, in place", u, of_up, 3e-6);
      }
    }
  }
}

void test_gradient_samples() {
  for (int64_t cols : {1, 5, 32, 1000, 2048, 2049, 32000, 70004}) {
    for (Layout l : LAYOUTS) {
      for (float softcap : {0.f, 30.f}) {
        const int64_t rows = 6;
        Mat x(rows, cols, MG_F32, l.gap, l.shift), before(rows, cols, MG_F32, l.gap, l.shift),
            again(rows, cols, MG_F32, l.gap, l.shift);
        Mat uniforms(1, rows), ids(1, rows, MG_I32), ids_again(1, rows, MG_I32);
        x.random(4), ids.poison();
        for (int64_t j = 0; j < cols / 2; j++) x.set(5, j, -INFINITY); // what cannot be drawn
        if (softcap > 0) {
          for (int64_t j = 0; j < cols / 2; j++) x.set(5, j, -softcap);
        }
        x.up();
        before.host = again.host = x.host;
        again.up();
        for (int64_t i = 0; i < rows; i++) uniforms.set(0, i, (double)below(1 << 24) / (1 << 24));
        uniforms.set(0, 0, 0), uniforms.set(0, 1, 1 - 1.0 / (1 << 24)), uniforms.set(0, 5, 0);
        uniforms.up();
        OK(mg_sampled_gradient(ctx, x, softcap, uniforms, ids));
        OK(mg_sampled_gradient(ctx, again, softcap, uniforms, ids_again));
        ids.down(), ids_again.down(), again.down();
        std::vector<double> top(rows, -INFINITY), total(rows);
        for (int64_t i = 0; i < rows; i++) {
          for (int64_t j = 0; j < cols; j++) top[i] = fmax(top[i], before.get(i, j));
          for (int64_t j = 0; j < cols; j++) total[i] += exp(before.get(i, j) - top[i]);
          const int64_t id = (int64_t)ids.get(0, i);
          EXPECT(0 <= id && id < cols);
          double below_id = 0; // the probability of what comes before the token
          for (int64_t j = 0; j < id && j < cols; j++) below_id += exp(before.get(i, j) - top[i]) / total[i];
          const double own = exp(before.get(i, id < cols ? id : 0) - top[i]) / total[i], u = uniforms.get(0, i);
          EXPECT(own > 0 && below_id <= u + 1e-6 && u <= below_id + own + 1e-6);
        }
        judge(
            "sampled_gradient", text({cols, l.gap, (int64_t)softcap}), x,
            [&](int64_t i, int64_t j) {
              const double t = softcap > 0 ? before.get(i, j) / softcap : 0;
              const double p = exp(before.get(i, j) - top[i]) / total[i] - (j == (int64_t)ids.get(0, i) ? 1 : 0);
              return p * (1 - t * t);
            },
            3e-6);
        EXPECT(ids.host == ids_again.host && x.host == again.host);
      }
    }
  }
}

// In float64, head after head.
struct AttentionGradients {
  std::vector<double> dq, dk, dv;
  AttentionGradients(const AttentionCase &c, Mat &q, Mat &k, Mat &v, Mat &dout, double scale)
      : dq((size_t)(q.rows * q.cols)), dk((size_t)(k.rows * k.cols)), dv((size_t)(v.rows * v.cols)) {
    const auto copy = [](Mat &m) {
      std::vector<double> x;
      for (int64_t i = 0; i < m.rows; i++) {
        for (int64_t j = 0; j < m.cols; j++) x.push_back(m.get(i, j));
      }
      return x;
    };
    const std::vector<double> a = copy(q), b = copy(k), values = copy(v), slopes = copy(dout);
    std::vector<double> p((size_t)c.keys), l((size_t)c.keys), dp((size_t)c.keys);
    for (int64_t row = 0; row < q.rows; row++) {
      const int64_t i = row % c.queries, sequence = row - i;
      const int64_t first = c.window > 0 && i - c.window + 1 > 0 ? i - c.window + 1 : 0;
      for (int head = 0; head < c.heads; head++) {
        const int kv = head / (c.heads / c.kv_heads);
        const double *qi = &a[(size_t)(row * q.cols + head * c.dk)], *di = &slopes[(size_t)(row * dout.cols + head * c.dv)];
        double top = -INFINITY, total = 0, mean = 0;
        for (int64_t j = first; j <= i; j++) {
          double dot = 0, product = 0;
          for (int d = 0; d < c.dk; d++) dot += qi[d] * b[(size_t)((sequence + j) * k.cols + kv * c.dk + d)];
          for (int d = 0; d < c.dv; d++) product += di[d] * values[(size_t)((sequence + j) * v.cols + kv * c.dv + d)];
          dot *= scale;
          l[(size_t)j] = c.softcap > 0 ? c.softcap * tanh(dot / c.softcap) : dot;
          dp[(size_t)j] = product;
          top = fmax(top, l[(size_t)j]);
        }
        for (int64_t j = first; j <= i; j++) total += p[(size_t)j] = exp(l[(size_t)j] - top);
        for (int64_t j = first; j <= i; j++) mean += (p[(size_t)j] /= total) * dp[(size_t)j];
        for (int64_t j = first; j <= i; j++) {
          const double t = c.softcap > 0 ? l[(size_t)j] / c.softcap : 0;
          const double ds = scale * p[(size_t)j] * (dp[(size_t)j] - mean) * (1 - t * t);
          const size_t key = (size_t)((sequence + j) * k.cols + kv * c.dk), value = (size_t)((sequence + j) * v.cols + kv * c.dv);
          for (int d = 0; d < c.dk; d++) {
            dq[(size_t)(row * q.cols + head * c.dk + d)] += ds * b[key + (size_t)d];
            dk[key + (size_t)d] += ds * qi[d];
          }
          for (int d = 0; d < c.dv; d++) dv[value + (size_t)d] += p[(size_t)j] * di[d];
        }
      }
    }
  }
};

void test_gradient_attention() {
  const AttentionCase cases[] = {{1, 1, 1, 1, 1, 1, 8, 8, 0, 0, 1},
                                 {3, 5, 5, 5, 6, 2, 20, 13, 0, 0, 1},
                                 {2, 64, 64, 64, 2, 1, 64, 64, 0, 0, 1},
                                 {1, 65, 65, 65, 3, 3, 32, 48, 0, 0, 2},
                                 {2, 130, 130, 130, 4, 2, 90, 83, 0, 0, 2},
                                 {1, 200, 200, 200, 2, 2, 80, 80, 40, 0, 1},
                                 {1, 193, 193, 193, 4, 1, 128, 100, 65, 20, 4},
                                 {1, 70, 70, 70, 2, 1, 256, 256, 0, 50, 1},
                                 {1, 66, 66, 66, 2, 2, 6, 300, 1, 0, 1}};
  for (const AttentionCase &c : cases) {
    for (Layout l : LAYOUTS) {
      const int64_t rows = c.batch * c.queries;
      Mat q(rows, c.heads * c.dk, MG_F32, l.gap, l.shift), k(rows, c.kv_heads * c.dk, MG_F32, l.gap, l.shift),
          v(rows, c.kv_heads * c.dv, MG_F32, l.gap, l.shift), dout(rows, c.heads * c.dv, MG_F32, l.gap, l.shift);
      Mat dq(rows, q.cols, MG_F32, l.gap, l.shift), dk(rows, k.cols, MG_F32, l.gap, l.shift),
          dv(rows, v.cols, MG_F32, l.gap, l.shift), again(rows, k.cols, MG_F32, l.gap, l.shift);
      q.random(c.spread), k.random(), v.random(), dout.random(), dq.poison(), dk.poison(), dv.poison(), again.poison();
      const float scale = (float)(1 / sqrt(c.dk));
      const mg_attention_params params = params_of(c, scale);
      const AttentionGradients expected(c, q, k, v, dout, scale);
      OK(mg_attention_backward(ctx, q, k, v, &params, dout, dq, again, dv));
      OK(mg_attention_backward(ctx, q, k, v, &params, dout, dq, dk, dv));
      const std::string what = text({c.batch, c.queries, c.heads, c.kv_heads, c.dk, c.dv, c.window, l.gap});
      const auto of = [](const std::vector<double> &x, int64_t cols) {
        return [&x, cols](int64_t i, int64_t j) { return x[(size_t)(i * cols + j)]; };
      };
      judge("attention_backward at q", what, dq, of(expected.dq, q.cols), 1e-5);
      judge("attention_backward at k", what, dk, of(expected.dk, k.cols), 1e-5);
      judge("attention_backward at v", what, dv, of(expected.dv, v.cols), 1e-5);
      again.down();
      EXPECT(again.host == dk.host);
    }
  }
  Mat x(4, 8), short_out(3, 8);
  x.random();
  mg_attention_params params = {2, 2, 2, 2, 1, 1, 0, 0, 1, 0};
  EXPECT(mg_attention_backward(ctx, x, x, x, &params, x, x, x, short_out) == MG_EINVAL &&
         strstr(mg_last_error(ctx), "attention_backward: dv is [3, 8], expected [4, 8]"));
  params.key_capacity = 3;
  EXPECT(mg_attention_backward(ctx, x, x, x, &params, x, x, x, x) == MG_EINVAL && strstr(mg_last_error(ctx), "queries = keys"));
  EXPECT(mg_activation_backward(ctx, x, x, MG_SILU, x, x, nullptr) == MG_EINVAL && strstr(mg_last_error(ctx), "both be NULL"));
}

void test_gradients() {
  test_gradient_norms();
  test_gradient_activations();
  test_gradient_samples();
  test_gradient_attention();
}

void test_contract() {
  EXPECT(mg_abi_version() == MG_ABI_VERSION);
  Mat x(3, 8), y(3, 9), w(1, 8), ids(1, 2, MG_I32), table(5, 8), out(2, 8), empty_x(0, 8), empty_y(0, 8), half(3, 8, MG_F16);
  x.random(), table.random();
  EXPECT(mg_rms_norm(ctx, x, w, EPS, y) == MG_EINVAL && strstr(mg_last_error(ctx), "rms_norm: y is [3, 9], expected [3, 8]"));
  EXPECT(mg_rms_norm(ctx, half, w, EPS, x) == MG_EINVAL && strstr(mg_last_error(ctx), "x must not be F16"));
  EXPECT(mg_rms_norm(ctx, nullptr, w, EPS, x) == MG_EINVAL);
  EXPECT(mg_rms_norm(ctx, empty_x, w, EPS, empty_y) == MG_OK);
  mg_tensor bad = *x.operator mg_tensor *();
  bad.stride = 7;
  EXPECT(mg_activation(ctx, &bad, MG_SILU) == MG_EINVAL);
  EXPECT(mg_activation(ctx, x, 17) == MG_EINVAL);

  ids.set(0, 0, 4), ids.set(0, 1, 5);
  ids.up();
  OK(mg_embed(ctx, table, ids, out));
  EXPECT(mg_sync(ctx) == MG_EINVAL && strstr(mg_last_error(ctx), "embed met id 5"));
  EXPECT(mg_sync(ctx) == MG_OK);

  int64_t available = 0, total = 0;
  OK(mg_memory(ctx, &available, &total));
  EXPECT(0 < available && available <= total);
  void *data = nullptr;
  EXPECT(mg_alloc(ctx, total * 4, &data) == MG_ENOMEM && data == nullptr && strstr(mg_last_error(ctx), "GiB asked"));
  printf("     %s\n", mg_last_error(ctx));
  EXPECT(mg_sync(ctx) == MG_OK);
  EXPECT(mg_free(ctx, nullptr) == MG_OK);

  // Ordinary memory, in chunks by several threads; one upload right after another, and the sources changed at once.
  for (const int64_t bytes : {(int64_t)1, (int64_t)(16 << 20) - 1, (int64_t)(16 << 20), (int64_t)(40 << 20) + 3}) {
    std::vector<uint8_t> source((size_t)bytes), back((size_t)bytes);
    void *first = nullptr, *second = nullptr;
    OK(mg_alloc(ctx, bytes, &first));
    OK(mg_alloc(ctx, bytes, &second));
    for (int64_t i = 0; i < bytes; i++) source[(size_t)i] = (uint8_t)(i * 7 + i / 4096);
    const std::vector<uint8_t> before = source;
    OK(mg_copy(ctx, first, source.data(), bytes, 0));
    for (uint8_t &value : source) value ^= 0x5a;
    OK(mg_copy(ctx, second, source.data(), bytes, 0));
    const std::vector<uint8_t> after = source;
    std::fill(source.begin(), source.end(), (uint8_t)0);
    OK(mg_copy(ctx, back.data(), first, bytes, 1));
    EXPECT(back == before);
    OK(mg_copy(ctx, back.data(), second, bytes, 1));
    EXPECT(back == after);
    OK(mg_free(ctx, first));
    OK(mg_free(ctx, second));
  }

  // Two contexts: one uploads from pinned memory, the other waits for it on the device.
  mg_context *upload = nullptr;
  OK(mg_context_create(0, 0, nullptr, &upload));
  const int64_t n = 1 << 22;
  float *pinned = nullptr;
  OK(mg_host_alloc(upload, n * 4, (void **)&pinned));
  for (int64_t i = 0; i < n; i++) pinned[i] = (float)(i % 1000);
  Mat target(1, n), sum(1, n);
  OK(mg_fill_zero(ctx, sum));
  OK(mg_wait(upload, ctx));
  OK(mg_copy(upload, target.device, pinned, n * 4, 0));
  OK(mg_wait(ctx, upload));
  OK(mg_add(ctx, 2, target, sum));
  judge(
      "wait", "", sum, [&](int64_t, int64_t j) { return 2.0 * (double)(j % 1000); }, 0);
  OK(mg_host_free(upload, pinned));
  mg_context_destroy(upload);
  void *stream = nullptr;
  OK(mg_stream(ctx, &stream));
  EXPECT(stream != nullptr);
  mg_context *none = nullptr;
  EXPECT(mg_context_create(99, 0, nullptr, &none) == MG_EINVAL && none == nullptr &&
         strstr(mg_last_error(nullptr), "no CUDA device 99"));
}

// ---- times ---------------------------------------------------------------------------------------------------------

double seconds(const std::function<void()> &body) {
  const auto now = [] { return std::chrono::steady_clock::now(); };
  body();
  OK(mg_sync(ctx));
  std::vector<double> times;
  for (int repeat = 0; repeat < 5; repeat++) {
    const auto start = now();
    int count = 0;
    do {
      for (int i = 0; i < 5; i++) body();
      OK(mg_sync(ctx));
      count += 5;
    } while (std::chrono::duration<double>(now() - start).count() < 0.02);
    times.push_back(std::chrono::duration<double>(now() - start).count() / count);
  }
  std::sort(times.begin(), times.end());
  return times[2];
}

void report(const char *name, double bytes, double flops, const std::function<void()> &body) {
  const double t = seconds(body);
  printf("%-44s %9.1f us", name, t * 1e6);
  if (bytes > 0) printf(" %7.0f GB/s", bytes / t / 1e9);
  if (flops > 0) printf(" %7.1f TFLOP/s", flops / t / 1e12);
  printf("\n");
}

// Random data without making all of it on the host: some rows, repeated.
void spread(Mat &m) {
  Mat seed(std::min<int64_t>(61, m.rows), m.cols, m.dtype);
  block_of(m.dtype) ? (void)seed.quantised() : (void)seed.random();
  const int64_t bytes = (int64_t)seed.host.size() / seed.rows;
  OK(mg_copy(ctx, m.device, seed.device, seed.rows * bytes, 2));
  for (int64_t done = seed.rows; done < m.rows;) {
    const int64_t rows = std::min(done, m.rows - done);
    OK(mg_copy(ctx, (char *)m.device + done * bytes, m.device, rows * bytes, 2));
    done += rows;
  }
}

void time_kernels() {
  const int64_t N = 8192, d = 4096, f = 11008, V = 32000;
  const double GB = 4.0 * N * d;
  Mat x(N, d), y(N, d), half(N, d, MG_BF16), w(1, d), positions(1, N, MG_I32), freqs(1, 64);
  spread(x), spread(y), w.random(), positions.ids(2048), freqs.random();
  report("copy 128 MiB on the device", 2 * GB, 0, [&] { OK(mg_copy(ctx, y.device, x.device, (int64_t)GB, 2)); });
  report("rms_norm 8192x4096", 2 * GB, 0, [&] { OK(mg_rms_norm(ctx, x, w, EPS, y)); });
  report("rms_norm to BF16", 1.5 * GB, 0, [&] { OK(mg_rms_norm(ctx, x, w, EPS, half)); });
  report("layer_norm", 2 * GB, 0, [&] { OK(mg_layer_norm(ctx, x, w, w, EPS, y)); });
  report("rope 32 x 128", 2 * GB, 0, [&] { OK(mg_rope(ctx, y, positions, freqs, 32)); });
  report("add", 3 * GB, 0, [&] { OK(mg_add(ctx, 1e-6f, x, y)); });
  report("cast F32 to BF16", 1.5 * GB, 0, [&] { OK(mg_cast(ctx, x, half)); });
  report("transpose", 2 * GB, 0, [&] {
    mg_tensor t = {y.device, d, N, N, MG_F32, 0};
    OK(mg_transpose(ctx, x, &t));
  });
  {
    Mat acc(1, 3, MG_F64), energy(1, d, MG_F64);
    acc.random(), energy.random();
    report("block_influence", 2 * GB, 0, [&] { OK(mg_block_influence(ctx, x, y, acc)); });
    report("column_energy", GB, 0, [&] { OK(mg_column_energy(ctx, x, energy)); });
    Mat c(d, d, MG_F64), partial(d, d), heads(32 * 128, 128, MG_F64);
    spread(c), spread(partial), spread(heads);
    report("gram 8192x4096 (own kernel)", 0, (double)N * d * d, [&] { OK(mg_gram(ctx, x, c)); });
    report("head_gram 32 x 128 (own kernel)", 0, 2.0 * N * d * 128, [&] { OK(mg_head_gram(ctx, x, 32, heads)); });
    report("accumulate 4096x4096, lower", 0.5 * d * d * 20, 0, [&] { OK(mg_accumulate(ctx, partial, 1, c)); });
    report("accumulate 4096x4096", 1.0 * d * d * 20, 0, [&] { OK(mg_accumulate(ctx, partial, 0, c)); });
  }
  {
    Mat g(N, f), u(N, f), h(N, f, MG_BF16), gh(N, f, MG_BF16), uh(N, f, MG_BF16);
    spread(g), spread(u), spread(gh), spread(uh);
    report("gated SiLU 8192x11008", 12.0 * N * f, 0, [&] { OK(mg_gated_activation(ctx, g, u, MG_SILU, u)); });
    report("gated SiLU to BF16", 10.0 * N * f, 0, [&] { OK(mg_gated_activation(ctx, g, u, MG_SILU, h)); });
    report("gated SiLU, all BF16", 6.0 * N * f, 0, [&] { OK(mg_gated_activation(ctx, gh, uh, MG_SILU, h)); });
  }
  {
    const int64_t rows = 2048;
    Mat logits(rows, V), other(rows, V), targets(1, rows, MG_I32), nll(1, rows, MG_F64), best(1, rows, MG_I32),
        table(V, d, MG_BF16);
    spread(logits), spread(other), targets.ids(V), spread(table);
    report("nll and argmax 2048x32000", 4.0 * rows * V, 0, [&] { OK(mg_nll(ctx, logits, targets, nll, best)); });
    report("kl_divergence 2048x32000", 8.0 * rows * V, 0, [&] { OK(mg_kl_divergence(ctx, logits, other, nll)); });
    mg_tensor out = {x.device, rows, d, d, MG_F32, 0};
    report("embed 2048x4096 from BF16", 6.0 * rows * d, 0, [&] { OK(mg_embed(ctx, table, targets, &out)); });
  }
}

void time_linear() {
  const int64_t d = 4096;
  Mat x(32, d), y(32, 11264);
  spread(x);
  for (int dtype : {MG_BF16, MG_F32, MG_Q8_0, MG_Q4_0, MG_Q4_K, MG_Q6_K}) {
    const Block *b = block_of(dtype);
    for (int64_t out : {b ? 11264 : 11008, 4096}) {
      const double bytes = b ? (double)out * d / b->length * b->bytes : (double)out * d * element_bytes(dtype);
      const int copies = dtype == MG_F32 ? 2 : out == 4096 ? 8 : 4; // rotate, so that the cache does not hold the weights
      Mat weights(copies * out, d, dtype);
      spread(weights);
      for (int64_t rows : {1, 4, 8, 16, 32}) {
        for (int precision : {MG_PRECISE, MG_FAST}) {
          if (precision == MG_FAST && rows <= 8) continue;
          OK(mg_set_precision(ctx, precision));
          char name[80];
          snprintf(name, sizeof name, "linear %s dtype %d, %d rows, 4096 to %d", precision == MG_FAST ? "fast" : "prec", dtype,
                   (int)rows, (int)out);
          mg_tensor in = {x.device, rows, d, d, MG_F32, 0}, result = {y.device, rows, out, out, MG_F32, 0};
          int turn = 0;
          report(name, bytes, 0, [&] {
            mg_tensor part = {(char *)weights.device + (int64_t)bytes * (turn++ % copies), out, d, d, dtype, 0};
            OK(mg_linear(ctx, &in, &part, nullptr, &result, 1));
          });
        }
      }
    }
  }
  OK(mg_set_precision(ctx, MG_PRECISE));
}

void time_attention(const std::vector<AttentionCase> &cases, bool spanned = false) {
  for (const AttentionCase &c : cases) {
    for (int kv : {MG_F32, MG_BF16}) {
      if (kv == MG_BF16 && c.queries > 1) continue;
      Mat q(c.batch * c.queries, c.heads * c.dk), out(c.batch * c.queries, c.heads * c.dv);
      Mat k(c.batch * c.capacity, c.kv_heads * c.dk, kv), v(c.batch * c.capacity, c.kv_heads * c.dv, kv);
      Mat spans(2, c.batch, MG_I32);
      spread(q), spread(k), spread(v);
      OK(mg_scale(ctx, (float)c.spread, 0, q));
      double keys = 0;
      for (int64_t b = 0; b < c.batch; b++) {
        spans.set(0, b, (double)first_row(c, b, spanned)), spans.set(1, b, (double)keys_of(c, b, spanned));
        keys += (double)keys_of(c, b, spanned);
      }
      q.down(), k.down(), v.down(), spans.up();
      const float scale = (float)(1 / sqrt(c.dk));
      const mg_attention_params params = params_of(c, scale);
      for (int precision : {MG_PRECISE, MG_FAST}) {
        if (precision == MG_FAST && c.queries == 1) continue;
        OK(mg_set_precision(ctx, precision));
        char name[80];
        snprintf(name, sizeof name, "attention %s %d x %d/%s%d, %d/%d heads x %d,%d%s", precision == MG_FAST ? "fast" : "prec",
                 (int)c.batch, (int)c.queries, spanned ? "1.." : "", (int)c.keys, c.heads, c.kv_heads, c.dk, c.dv, kv == MG_BF16 ? " bf16" : "");
        const double seen = c.queries == 1 ? (double)c.keys : 0.5 * (double)c.keys * (double)c.queries;
        const double flops = 2.0 * (double)c.batch * c.heads * seen * (c.dk + c.dv);
        const double bytes = keys * c.kv_heads * (c.dk + c.dv) * element_bytes(kv);
        report(name, c.queries == 1 ? bytes : 0, flops, [&] { OK(mg_attention(ctx, q, k, v, &params, spanned ? spans.operator mg_tensor *() : nullptr, out)); });
        out.down();
        double difference = 0, size = 0;
        for (int sample = 0; sample < 48; sample++) {
          const int64_t b = below(c.batch), i = below(c.queries);
          const int head = (int)below(c.heads);
          const std::vector<double> row = attention_row(c, q, k, v, scale, b, i, head, spanned);
          for (int j = 0; j < c.dv; j++) {
            difference += pow(out.get(b * c.queries + i, head * c.dv + j) - row[(size_t)j], 2);
            size += row[(size_t)j] * row[(size_t)j];
          }
        }
        printf("%44s   relative error %.2e (spread of logits %g)\n", "", sqrt(difference / size), c.spread);
      }
    }
  }
  OK(mg_set_precision(ctx, MG_PRECISE));
}

void time_prefill() {
  time_attention({{2, 2048, 2048, 2048, 32, 32, 128, 128, 0, 0, 1},
                  {2, 2048, 2048, 2048, 32, 32, 128, 128, 0, 0, 8},
                  {2, 2048, 2048, 2048, 32, 8, 128, 128, 0, 0, 1},
                  {2, 2048, 2048, 2048, 32, 32, 90, 84, 0, 0, 1},
                  {4, 2048, 2048, 2048, 9, 3, 64, 64, 0, 0, 1}});
}

void time_decoding() {
  time_attention({{32, 1, 1024, 1024, 32, 32, 128, 128, 0, 0, 1},
                  {32, 1, 1024, 1024, 32, 8, 128, 128, 0, 0, 1},
                  {1, 1, 1024, 1024, 32, 32, 128, 128, 0, 0, 1}});
  time_attention({{32, 1, 1024, 1024, 32, 32, 128, 128, 0, 0, 1},
                  {32, 1, 2048, 2048, 32, 32, 128, 128, 0, 0, 1},
                  {32, 1, 2048, 2048, 32, 8, 128, 128, 0, 0, 1}},
                 true);
}

void time_gradients() {
  const int64_t N = 4096, d = 4096, f = 11008;
  Mat x(N, d), dy(N, d), dx(N, d), w(1, d);
  spread(x), spread(dy), w.random();
  report("rms_norm_backward 4096x4096", 12.0 * N * d, 0, [&] { OK(mg_rms_norm_backward(ctx, x, w, EPS, dy, dx)); });
  report("layer_norm_backward", 12.0 * N * d, 0, [&] { OK(mg_layer_norm_backward(ctx, x, w, EPS, dy, dx)); });
  {
    Mat g(N, f), u(N, f), slope(N, f), dg(N, f), du(N, f);
    spread(g), spread(u), spread(slope);
    report("activation_backward SiLU 4096x11008", 20.0 * N * f, 0,
           [&] { OK(mg_activation_backward(ctx, g, u, MG_SILU, slope, dg, du)); });
  }
  for (int64_t V : {32000, 131072}) {
    const int64_t rows = 2048;
    Mat logits(rows, V), uniforms(1, rows), ids(1, rows, MG_I32);
    spread(logits);
    for (int64_t i = 0; i < rows; i++) uniforms.set(0, i, (double)below(1 << 24) / (1 << 24));
    uniforms.up();
    char name[80];
    snprintf(name, sizeof name, "sampled_gradient 2048x%d", (int)V);
    report(name, 12.0 * (double)(rows * V), 0, [&] { OK(mg_sampled_gradient(ctx, logits, 0, uniforms, ids)); });
  }
  for (const auto &[kv_heads, dim, v_dim] : {std::array<int, 3>{32, 128, 128}, {8, 128, 128}, {32, 90, 84}}) {
    const int64_t sequences = 8, length = 512, rows = sequences * length;
    Mat q(rows, 32 * dim), k(rows, kv_heads * dim), v(rows, kv_heads * v_dim), dout(rows, 32 * v_dim);
    Mat dq(rows, q.cols), dk(rows, k.cols), dv(rows, v.cols);
    spread(q), spread(k), spread(v), spread(dout);
    const mg_attention_params params = {sequences, length, length, length, 32, kv_heads, 0, 0, (float)(1 / sqrt(dim)), 0};
    char name[80];
    snprintf(name, sizeof name, "attention_backward 8 x 512, 32/%d heads x %d,%d", kv_heads, dim, v_dim);
    // five products of queries and keys are what a gradient needs; this one computes nine
    report(name, 0, (double)sequences * 32 * length * length * (3 * dim + 2 * v_dim),
           [&] { OK(mg_attention_backward(ctx, q, k, v, &params, dout, dq, dk, dv)); });
  }
}

} // namespace

// Arguments: parts of the names of what to run, by default all tests; "time" for the times.
int main(int argc, char **argv) {
  if (mg_device_count() == 0) {
    mg_context_create(0, 0, nullptr, &ctx);
    printf("SKIP: %s\n", mg_last_error(nullptr));
    return 77;
  }
  if (mg_context_create(0, 0, nullptr, &ctx) != MG_OK) {
    printf("FAIL: %s\n", mg_last_error(nullptr));
    return 1;
  }
  char description[200];
  OK(mg_describe(ctx, description, sizeof description));
  printf("%s\n", description);
  const std::pair<const char *, void (*)()> parts[] = {{"contract", test_contract},
                                                       {"norms", test_norms},
                                                       {"rope", test_rope},
                                                       {"activations", test_activations},
                                                       {"elementwise", test_elementwise},
                                                       {"formats", test_formats},
                                                       {"linear", test_linear},
                                                       {"linear group", test_linear_group},
                                                       {"scatter", test_scatter},
                                                       {"losses", test_losses},
                                                       {"statistics", test_statistics},
                                                       {"attention", test_attention},
                                                       {"gradients", test_gradients},
                                                       {"time kernels", time_kernels},
                                                       {"time linear", time_linear},
                                                       {"time prefill", time_prefill},
                                                       {"time decoding", time_decoding},
                                                       {"time gradients", time_gradients}};
  int ran = 0;
  for (const auto &[name, part] : parts) {
    bool wanted = argc == 1 && strncmp(name, "time", 4) != 0;
    for (int i = 1; i < argc; i++) wanted |= strncmp(name, argv[i], strlen(argv[i])) == 0;
    if (!wanted) continue;
    part();
    ran++;
  }
  if (!worst.empty()) printf("%-28s %10s %10s\n", "operation", "error", "bound");
  for (const auto &[op, errors] : worst) printf("%-28s %10.2e %10.2e\n", op.c_str(), errors.first, errors.second);
  printf("%s\n", failures || ran == 0 ? "FAILED" : "all passed");
  OK(mg_sync(ctx));
  mg_context_destroy(ctx);
  return failures || ran == 0 ? 1 : 0;
}
