#include "check.h"

/*
 * c[head] += x[head]ᵀ y[head]. Rows are taken in slabs whose packed form stays in the cache, every slab in panels of MG_PANEL
 * rows: products within a panel are float32, panels add up in float64.
 */
typedef struct {
  const mg_tensor *x, *y; /* y NULL: x */
  mg_tensor *c;
  int64_t heads;
  bool lower;
} product;

enum { SLAB_BYTES = 8 << 20, ROW_BLOCKS = 2 };

static int64_t blocks_of(int64_t width, int64_t nr) { return (width + nr - 1) / nr; }

static int64_t row_groups(int64_t blocks, int64_t first) { return (blocks - first + ROW_BLOCKS - 1) / ROW_BLOCKS; }

static int64_t count_tasks(const product *p, int64_t x_blocks, int64_t y_blocks) {
  int64_t n = 0;
  for (int64_t j = 0; j < y_blocks; j++) n += row_groups(x_blocks, p->lower ? j : 0);
  return n * p->heads;
}

static void list_tasks(const product *p, int64_t x_blocks, int64_t y_blocks, mg_gram_task *task) {
  for (int64_t head = 0; head < p->heads; head++) {
    for (int64_t j = 0; j < y_blocks; j++) {
      for (int64_t i = p->lower ? j : 0; i < x_blocks; i += ROW_BLOCKS) {
        int64_t last = i + ROW_BLOCKS < x_blocks ? i + ROW_BLOCKS : x_blocks;
        *task++ = (mg_gram_task){(int32_t)head, (int32_t)j, (int32_t)i, (int32_t)last};
      }
    }
  }
}

static int32_t pack(mg_context *ctx, const mg_tensor *x, int64_t heads, int64_t first, int64_t rows, float *packed) {
  mg_pack_args args = {.source = (const float *)x->data + first * x->stride,
                       .packed = packed,
                       .stride = x->stride,
                       .width = x->cols / heads,
                       .heads = heads,
                       .rows = rows};
  int64_t panels = (rows + MG_PANEL - 1) / MG_PANEL;
  return mg_run(ctx, ctx->kernels->gram_pack, &args, heads * blocks_of(args.width, ctx->kernels->nr) * panels, 1, 0);
}

static int32_t accumulate(mg_context *ctx, const product *p) {
  const mg_tensor *x = p->x, *y = p->y ? p->y : p->x;
  if (mg_empty(x) || mg_empty(y)) return MG_OK;
  const int64_t nr = ctx->kernels->nr;
  int64_t x_width = x->cols / p->heads, y_width = y->cols / p->heads;
  int64_t x_blocks = blocks_of(x_width, nr), y_blocks = blocks_of(y_width, nr);
  int64_t packed_x = p->heads * x_blocks * nr, packed_y = p->y ? p->heads * y_blocks * nr : 0; /* floats per row */
  int64_t tasks = count_tasks(p, x_blocks, y_blocks);

  /* Slabs of equal length, whole panels. */
  int64_t panels = (x->rows + MG_PANEL - 1) / MG_PANEL;
  int64_t most = SLAB_BYTES / (MG_PANEL * (packed_x + packed_y) * (int64_t)sizeof(float));
  int64_t slabs = most > 0 ? (panels + most - 1) / most : panels;
  int64_t slab_panels = (panels + slabs - 1) / slabs, slab_rows = slab_panels * MG_PANEL;

  float *packed = mg_space_get(ctx, MG_SPACE_PACKED, slab_rows * (packed_x + packed_y) * (int64_t)sizeof(float));
  mg_gram_task *list = mg_space_get(ctx, MG_SPACE_TASKS, tasks * (int64_t)sizeof *list);
  if (!packed || !list) return mg_fail(ctx, MG_ENOMEM, "no memory to pack %lld columns", (long long)(packed_x + packed_y));
  list_tasks(p, x_blocks, y_blocks, list);

  for (int64_t first = 0; first < x->rows; first += slab_rows) {
    int64_t rows = x->rows - first < slab_rows ? x->rows - first : slab_rows;
    int64_t padded_rows = (rows + MG_PANEL - 1) / MG_PANEL * MG_PANEL;
    float *second = p->y ? packed + padded_rows * packed_x : packed;
    MG_TRY(pack(ctx, x, p->heads, first, rows, packed));
    if (p->y) MG_TRY(pack(ctx, y, p->heads, first, rows, second));
    mg_gram_args args = {.packed_x = packed,
                         .packed_y = second,
                         .tasks = list,
                         .rows = rows,
                         .x_width = x_width,
                         .y_width = y_width,
                         .c = p->c->data,
                         .c_stride = p->c->stride,
                         .lower = p->lower};
    MG_TRY(mg_run(ctx, ctx->kernels->gram_tiles, &args, tasks, 1, 0));
  }
  return MG_OK;
}

int32_t mg_gram(mg_context *ctx, const mg_tensor *x, mg_tensor *c) {
  MG_TRY(mg_check(ctx, "x", x, MG_IS_F32));
  MG_TRY(mg_check_shape(ctx, "c", c, MG_IS_F64, x->cols, x->cols));
  product p = {.x = x, .c = c, .heads = 1, .lower = true};
  return accumulate(ctx, &p);
}

int32_t mg_cross_gram(mg_context *ctx, const mg_tensor *x, const mg_tensor *y, mg_tensor *c) {
  MG_TRY(mg_check(ctx, "x", x, MG_IS_F32));
  MG_TRY(mg_check(ctx, "y", y, MG_IS_F32));
  MG_REQUIRE(ctx, y->rows == x->rows, "y has %lld rows, x has %lld", (long long)y->rows, (long long)x->rows);
  MG_TRY(mg_check_shape(ctx, "c", c, MG_IS_F64, x->cols, y->cols));
  product p = {.x = x, .y = y, .c = c, .heads = 1};
  return accumulate(ctx, &p);
}

int32_t mg_head_gram(mg_context *ctx, const mg_tensor *x, int32_t heads, mg_tensor *c) {
  MG_TRY(mg_check(ctx, "x", x, MG_IS_F32));
  MG_REQUIRE(ctx, heads > 0 && x->cols % heads == 0, "x has %lld columns, not a multiple of %d heads", (long long)x->cols, heads);
  MG_TRY(mg_check_shape(ctx, "c", c, MG_IS_F64, x->cols, x->cols / heads));
  product p = {.x = x, .c = c, .heads = heads};
  return accumulate(ctx, &p);
}
