#include "harness.h"

#include <stdarg.h>

test_context contexts[8];
int context_count;

enum { OPS = 64, BLOCKS = 4096 };

static struct {
  const char *op;
  double error, bound;
  char context[64];
} worst[OPS];
static int failures;
static void *blocks[BLOCKS];
static int block_count;
static const uint8_t GAP = 0xc3;

void expect(const test_context *t, bool ok, const char *format, ...) {
  if (ok || ++failures > 20) return;
  va_list list;
  va_start(list, format);
  printf("FAILED [%s] ", t ? t->name : "");
  vprintf(format, list);
  printf("\n");
  va_end(list);
}

void expect_ok(const test_context *t, int32_t status) {
  expect(t, status == MG_OK, "status %d: %s", status, mg_last_error(t->ctx));
}

void note(const test_context *t, const char *op, double error, double bound) {
  int i = 0;
  while (i < OPS - 1 && worst[i].op && strcmp(worst[i].op, op) != 0) i++;
  if (!worst[i].op) worst[i].op = op;
  worst[i].bound = bound;
  if (error > worst[i].error || error != error) {
    worst[i].error = error;
    snprintf(worst[i].context, sizeof worst[i].context, "%s", t->name);
  }
  expect(t, error <= bound, "%s: error %.3g is above %.3g", op, error, bound);
}

static uint64_t state = 0x9e3779b97f4a7c15u;

uint64_t random_bits(void) { /* splitmix64 */
  uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

double random_uniform(void) { return (double)(int64_t)random_bits() * 0x1p-63; }

int64_t element_bytes(int32_t dtype) { return dtype == MG_F64 ? 8 : dtype == MG_BF16 || dtype == MG_F16 ? 2 : 4; }

static void *keep(size_t bytes) {
  void *data = malloc(bytes > 0 ? bytes : 1);
  if (!data || block_count == BLOCKS) {
    printf("FAILED: out of memory for test data\n");
    exit(1);
  }
  blocks[block_count++] = data;
  return data;
}

void free_all(void) {
  while (block_count > 0) free(blocks[--block_count]);
}

mg_tensor matrix(int32_t dtype, int64_t rows, int64_t cols, int64_t gap) {
  int64_t elements = rows > 0 ? (rows - 1) * (cols + gap) + cols : 0;
  size_t bytes = (size_t)(elements * element_bytes(dtype));
  mg_tensor x = {.data = keep(bytes), .rows = rows, .cols = cols, .stride = cols + gap, .dtype = dtype};
  memset(x.data, GAP, bytes);
  return x;
}

void expect_gaps(const test_context *t, const char *op, const mg_tensor *x) {
  int64_t bytes = element_bytes(x->dtype);
  for (int64_t i = 0; i + 1 < x->rows; i++) {
    const uint8_t *gap = (const uint8_t *)x->data + (i * x->stride + x->cols) * bytes;
    for (int64_t j = 0; j < (x->stride - x->cols) * bytes; j++) {
      if (gap[j] == GAP) continue;
      expect(t, false, "%s wrote beyond the columns of row %lld", op, (long long)i);
      return;
    }
  }
}

mg_tensor random_matrix(int64_t rows, int64_t cols, int64_t gap, double scale) {
  mg_tensor x = matrix(MG_F32, rows, cols, gap);
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < cols; j++) *f32(&x, i, j) = (float)(scale * random_uniform());
  }
  return x;
}

mg_tensor integers(int64_t count, int64_t limit) {
  mg_tensor x = matrix(MG_I32, 1, count, 0);
  for (int64_t j = 0; j < count; j++) *i32(&x, j) = (int32_t)(random_bits() % (uint64_t)limit);
  return x;
}

static size_t byte_count(const mg_tensor *x) {
  return x->rows > 0 ? (size_t)(((x->rows - 1) * x->stride + x->cols) * element_bytes(x->dtype)) : 0;
}

mg_tensor copy_of(const mg_tensor *x) {
  mg_tensor y = *x;
  y.data = keep(byte_count(x));
  memcpy(y.data, x->data, byte_count(x));
  return y;
}

bool same_bytes(const mg_tensor *x, const mg_tensor *y) { return memcmp(x->data, y->data, byte_count(x)) == 0; }

static void open_contexts(void) {
  const char *isas[] = {"generic", "avx2", "avx512", "avx512bf16"};
  const int32_t threads[] = {1, 3};
  for (int i = 0; i < COUNT(isas); i++) {
    for (int j = 0; j < COUNT(threads); j++) {
      test_context *t = &contexts[context_count];
      int32_t status = mg_context_create(0, threads[j], isas[i], &t->ctx);
      if (status == MG_EUNSUPPORTED) {
        printf("skipped: %s\n", mg_last_error(NULL));
        break;
      }
      expect(NULL, status == MG_OK, "%s: %s", isas[i], mg_last_error(NULL));
      expect_ok(t, mg_describe(t->ctx, t->name, sizeof t->name));
      context_count++;
    }
  }
}

int main(void) {
  void (*const cases[])(const test_context *) = {test_casts,     test_rows,   test_products,
                                                 test_attention, test_losses, test_arguments};
  open_contexts();
  test_contexts();
  for (int i = 0; i < context_count; i++) {
    for (int j = 0; j < COUNT(cases); j++) {
      cases[j](&contexts[i]);
      free_all();
    }
  }
  test_threads();
  free_all();
  printf("%-28s %10s %10s  %s\n", "operation", "worst", "bound", "on");
  for (int i = 0; i < OPS && worst[i].op; i++) {
    printf("%-28s %10.3g %10.3g  %s\n", worst[i].op, worst[i].error, worst[i].bound, worst[i].context);
  }
  for (int i = 0; i < context_count; i++) mg_context_destroy(contexts[i].ctx);
  printf(failures ? "%d checks failed\n" : "all checks passed\n", failures);
  return failures > 0;
}
